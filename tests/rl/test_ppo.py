"""Tests of robofb.rl.ppo."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from robofb.optimisation import NonFiniteError, learning_rate_factor
from robofb.policies.residual_networks import ResidualActorCritic
from robofb.rl.ppo import PPO
from robofb.rl.rollout_buffer import RolloutBuffer

TARGET = torch.tensor([0.6, -0.4])
NOBODY = torch.empty(0, dtype=torch.int64)


def make_ppo(num_steps: int = 8, num_envs: int = 32, seed: int = 0, **settings: Any) -> PPO:
    generator = torch.Generator().manual_seed(seed)
    networks = ResidualActorCritic(3, 2, hidden=(32,), learn_std=True, generator=generator)
    buffer = RolloutBuffer(num_steps, num_envs, 3, 3, 2)
    return PPO(networks, buffer, generator, **{"minibatch_size": 64, "actor_lr": 3e-3, **settings})


def rollout(ppo: PPO, observations: torch.Generator) -> float:
    """Play one-step episodes paid by the distance from TARGET; return the mean reward."""
    total = 0.0
    for _ in range(ppo.buffer.num_steps):
        obs = torch.randn(ppo.buffer.num_envs, 3, generator=observations)
        reward = -((ppo.act(obs, obs) - TARGET) ** 2).sum(1)
        total += float(reward.mean())
        ppo.record(reward, torch.ones(len(obs), dtype=torch.bool), NOBODY, obs[:0])
    ppo.compute_returns(torch.zeros(ppo.buffer.num_envs, 3))
    return total / ppo.buffer.num_steps


def weights(ppo: PPO) -> Tensor:
    return torch.nn.utils.parameters_to_vector(
        [*ppo.actor_critic.actor.parameters(), *ppo.actor_critic.critic.parameters()]
    ).detach()


def test_learns_where_to_aim() -> None:
    ppo, observations = make_ppo(), torch.Generator().manual_seed(1)
    first = rollout(ppo, observations)
    for _ in range(60):
        ppo.update()
        last = rollout(ppo, observations)
    assert first < -0.5
    assert last > -0.2
    assert torch.allclose(ppo.buffer.mean.mean((0, 1)), TARGET, atol=0.1)


def test_same_seed_same_weights() -> None:
    def trained(seed: int) -> Tensor:
        ppo, observations = make_ppo(seed=seed), torch.Generator().manual_seed(1)
        for _ in range(2):
            rollout(ppo, observations)
            ppo.update()
        return weights(ppo)

    assert torch.equal(trained(0), trained(0))
    assert not torch.equal(trained(0), trained(1))


def test_continues_from_its_state_dict() -> None:
    first, observations = make_ppo(scale_rewards=True), torch.Generator().manual_seed(1)
    rollout(first, observations)
    first.update()
    second = make_ppo(seed=9, scale_rewards=True)
    second.actor_critic.load_state_dict(first.actor_critic.state_dict())  # type: ignore[attr-defined]
    second.load_state_dict(first.state_dict())
    for ppo in (first, second):
        observations.manual_seed(2)
        rollout(ppo, observations)
        ppo.update()
    assert torch.equal(weights(first), weights(second))


def test_time_outs_are_worth_their_final_observation_and_terminations_nothing() -> None:
    ppo = make_ppo(num_steps=1, num_envs=3, gamma=0.5, lam=0.9)
    obs, final_obs = torch.randn(3, 3), torch.randn(1, 3)
    ppo.act(obs, obs)
    ended = torch.tensor([True, True, False])
    ppo.record(torch.tensor([1.0, 1.0, 0.0]), ended, torch.tensor([1]), final_obs)
    last = torch.randn(3, 3)
    ppo.compute_returns(last)
    with torch.no_grad():
        final_value, last_value = ppo.actor_critic.value(final_obs), ppo.actor_critic.value(last)
    expected = [1.0, 1.0 + 0.5 * float(final_value[0]), 0.5 * float(last_value[2])]
    assert ppo.buffer.returns[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_stops_an_update_once_the_policy_has_moved_far_enough() -> None:
    for target_kl, fewest, most in ((1e9, 20, 20), (0.02, 1, 10)):
        ppo = make_ppo(epochs=20, target_kl=target_kl, actor_lr=1e-2)
        rollout(ppo, torch.Generator().manual_seed(1))
        metrics = ppo.update()
        assert fewest <= metrics["epochs"] <= most


def test_the_first_gradient_step_starts_from_the_rollouts_policy() -> None:
    ppo = make_ppo(epochs=1, minibatch_size=None)
    rollout(ppo, torch.Generator().manual_seed(1))
    metrics = ppo.update()
    assert metrics["kl"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["clip_fraction"] == 0.0
    assert metrics["policy_loss"] == pytest.approx(0.0, abs=1e-5)  # ratio 1, advantages of mean zero
    assert metrics["entropy"] == pytest.approx(2 * (-1.0 + 0.5 * math.log(2 * math.pi * math.e)), rel=1e-5)
    assert metrics["std"] == pytest.approx(math.exp(-1.0), rel=0.05)


def test_only_the_critic_learns_while_it_warms_up() -> None:
    ppo, observations = make_ppo(critic_warmup_iterations=1), torch.Generator().manual_seed(1)

    def changed() -> tuple[bool, bool]:
        before = [[p.detach().clone() for p in network] for network in ppo._networks]
        rollout(ppo, observations)
        ppo.update()
        actor, critic = (
            any(not torch.equal(old, new) for old, new in zip(olds, network, strict=True))
            for olds, network in zip(before, ppo._networks, strict=True)
        )
        return actor, critic

    assert changed() == (False, True)
    assert changed() == (True, True)


def test_penalty_pulls_the_mean_towards_zero() -> None:
    magnitudes = []
    for l2_coef in (0.0, 10.0):
        ppo, observations = make_ppo(l2_coef=l2_coef), torch.Generator().manual_seed(1)
        for _ in range(10):
            rollout(ppo, observations)
            magnitude = ppo.update()["mean_magnitude"]
        magnitudes.append(magnitude)
    assert magnitudes[1] < 0.5 * magnitudes[0]


@pytest.mark.parametrize("broken", ["reward", "weight"])
def test_numbers_that_are_not_finite_stop_it_and_come_with_their_cause(broken: str) -> None:
    ppo, observations = make_ppo(), torch.Generator().manual_seed(1)
    if broken == "reward":
        rollout(ppo, observations)
        ppo.buffer.returns[3, 5] = torch.nan
        before = weights(ppo)
        with pytest.raises(NonFiniteError, match="loss is not finite") as caught:
            ppo.update()
        assert caught.value.state["inputs"]["returns"].isnan().any()
        assert weights(ppo).isfinite().all()
        assert before.isfinite().all()
    else:
        with torch.no_grad():
            ppo.actor_critic.actor.log_std[0] = torch.inf  # type: ignore[index, operator]
        with pytest.raises(NonFiniteError, match="an action is not finite") as caught:
            rollout(ppo, observations)
        assert caught.value.state["actor"]["log_std"].isinf().any()


def test_learning_rate_rises_linearly_and_falls_along_a_cosine() -> None:
    factors = [learning_rate_factor(i, warmup=2, total=6) for i in range(8)]
    half = math.sqrt(0.5) / 2
    assert factors == pytest.approx([0.5, 1.0, 1.0, 0.5 + half, 0.5, 0.5 - half, 0.0, 0.0])
    assert [learning_rate_factor(i, warmup=0, total=None) for i in (0, 9)] == [1.0, 1.0]
    assert [learning_rate_factor(i, warmup=0, total=4, end=0.2) for i in (0, 2, 4, 9)] == pytest.approx(
        [1.0, 0.6, 0.2, 0.2]
    )


def test_scaled_rewards_reach_the_buffer() -> None:
    ppo = make_ppo(num_steps=1, num_envs=2, scale_rewards=True)
    obs = torch.zeros(2, 3)
    ppo.act(obs, obs)
    ppo.record(torch.tensor([4.0, 0.0]), torch.tensor([True, True]), NOBODY, obs[:0])
    assert ppo.buffer.reward[0].tolist() == pytest.approx([2.0, 0.0])  # returns 4 and 0: deviation 2
