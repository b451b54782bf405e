"""Tests of robofb.policies.residual."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes import BiasedPolicy, NetPolicy, PointEnv
from torch import Tensor

from robofb.errors import UserError
from robofb.interfaces import Agent
from robofb.normalize import Normalizer
from robofb.policies.executor import ChunkExecutor
from robofb.policies.residual import ResidualPolicy
from robofb.policies.residual_agent import ResidualAgent
from robofb.policies.residual_networks import ResidualActorCritic


def everyone(num_envs: int) -> Tensor:
    return torch.ones(num_envs, dtype=torch.bool)


def trained(policy: ResidualPolicy) -> ResidualPolicy:
    """Give the actor a last layer that is not zero."""
    torch.nn.init.normal_(
        policy.actor_critic.actor.mean[-1].weight, generator=torch.Generator().manual_seed(1)
    )
    return policy


def actions_of(agent: Any, env: PointEnv, num_steps: int = 40) -> Tensor:
    obs = env.reset(3)
    agent.reset(everyone(env.num_envs), env.episode_seed)
    actions = []
    for _ in range(num_steps):
        actions.append(agent.next(obs))
        step = env.step(actions[-1])
        agent.reset(step.done, env.episode_seed)
        obs = step.obs
    return torch.stack(actions)


def test_untrained_residual_equals_its_base_bit_for_bit() -> None:
    base = NetPolicy()
    agent = ResidualAgent(ResidualPolicy(base), 7)
    assert isinstance(agent, Agent)
    assert torch.equal(actions_of(agent, PointEnv(7)), actions_of(ChunkExecutor(base, 7), PointEnv(7)))
    assert not torch.equal(
        actions_of(ResidualAgent(trained(ResidualPolicy(base)), 7), PointEnv(7)),
        actions_of(ChunkExecutor(base, 7), PointEnv(7)),
    )


def test_evaluation_is_deterministic_and_does_not_depend_on_batch_or_slot() -> None:
    policy = trained(ResidualPolicy(NetPolicy()))
    large, small = ResidualAgent(policy, 40), ResidualAgent(policy, 2)
    slots = torch.tensor([37, 4])
    seeds = torch.arange(40) + 100
    large.reset(everyone(40), seeds)
    small.reset(everyone(2), seeds[slots])
    state = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    for _ in range(10):
        action = large.next({"state": state})
        assert torch.equal(small.next({"state": state[slots]}), action[slots])
        state = state * 0.9


def test_correction_is_the_scaled_residual_in_normalised_units() -> None:
    base = BiasedPolicy()
    limits = {"min": [0.0, -1.0], "max": [1.0, 3.0], "mean": [0.5, 1.0], "std": [1.0, 1.0]}
    base.normalizer = Normalizer({"action": limits})
    policy = ResidualPolicy(base, scale=0.1)
    corrected = policy.correct(torch.tensor([[0.5, 0.0]]), torch.tensor([[1.0, -2.0]]))
    assert corrected[0].tolist() == pytest.approx([0.5 + 0.1 * 0.5, 0.0 - 0.2 * 2.0])
    # the same, the long way round
    normalised = base.normalizer(torch.tensor([[0.5, 0.0]]), "action") + 0.1 * torch.tensor([[1.0, -2.0]])
    assert torch.allclose(corrected, base.normalizer.inverse(normalised, "action"))


def test_correction_in_environment_units_by_hand() -> None:
    policy = ResidualPolicy(NetPolicy(), correction=[0.01, 0.2])
    corrected = policy.correct(torch.tensor([[0.5, 0.0]]), torch.tensor([[1.0, -2.0]]))
    assert corrected[0].tolist() == pytest.approx([0.51, -0.4])
    rebuilt = ResidualPolicy(NetPolicy(), **policy.settings)
    assert torch.equal(rebuilt.correct(torch.zeros(1, 2), torch.ones(1, 2)), torch.tensor([[0.01, 0.2]]))
    with pytest.raises(UserError, match="correction has 3 numbers for 2 actions"):
        ResidualPolicy(NetPolicy(), correction=[1.0, 1.0, 1.0])


def test_features_hold_clamped_state_base_action_phase_and_time_left() -> None:
    policy = ResidualPolicy(BiasedPolicy(execute=4))
    agent = ResidualAgent(policy, 2)
    agent.reset(everyone(2), torch.tensor([1, 2]))
    obs = {"state": torch.tensor([[0.1, 0.2, 0.3, 0.4], [9.0, -9.0, 0.0, 0.0]])}
    for _ in range(3):
        agent.observe(obs)
    agent.reset(torch.tensor([False, True]), torch.tensor([1, 2]))
    agent.observe(obs)
    features = agent.features
    assert features.actor[0, :4].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert features.actor[1, :4].tolist() == [3.0, -3.0, 0.0, 0.0]
    assert torch.equal(features.actor[:, 4:6], agent.base_action)  # the action's range is +-1
    assert features.actor[:, 6].tolist() == [0.75, 0.0]
    assert torch.equal(features.critic[:, :7], features.actor)
    assert features.critic[:, 7].tolist() == [1 - 3 / 16, 1.0]
    blind = ResidualPolicy(BiasedPolicy(), critic_sees_time=False)
    assert torch.equal(
        blind.features(obs, agent.base_action, agent.phase, agent.phase).critic, features.actor
    )


def test_final_features_are_those_that_the_next_observation_would_have_had() -> None:
    agent = ResidualAgent(ResidualPolicy(NetPolicy(execute=3)), 4)
    agent.reset(everyone(4), torch.arange(4))
    for t in range(8):
        obs = {"state": torch.full((4, 4), 0.1 * t)}
        rows = torch.tensor([2, 0])
        peeked = agent.final_features(obs, rows)
        agent.observe(obs)
        assert torch.equal(peeked.critic, agent.features.critic[rows])


def test_heads_start_as_the_paper_has_them() -> None:
    networks = ResidualActorCritic(7, 2, critic_obs_dim=8, hidden=(16, 16))
    head = networks.critic[-1]
    assert head.bias.tolist() == [0.25]
    assert head.weight.norm().item() == pytest.approx(0.25)  # orthogonal with one row: its norm is the gain
    assert networks.actor.mean[-1].bias is None
    assert not networks.actor.mean[-1].weight.any()
    assert not set(networks.actor.parameters()) & set(networks.critic.parameters())


def test_another_replanning_horizon_than_trainings_is_refused() -> None:
    policy = ResidualPolicy(NetPolicy(horizon=8, execute=4))
    assert ResidualAgent(policy, 1, execute=4).execute == 4
    with pytest.raises(UserError, match=r"execute=8.*every 4 actions.*use execute=4"):
        ResidualAgent(policy, 1, execute=8)


def test_base_is_frozen_and_the_residual_is_not() -> None:
    policy = ResidualPolicy(NetPolicy()).train()
    assert not policy.base.training
    assert not any(parameter.requires_grad for parameter in policy.base.parameters())
    assert all(parameter.requires_grad for parameter in policy.actor_critic.critic.parameters())


def test_settings_and_weights_rebuild_it() -> None:
    first = trained(ResidualPolicy(NetPolicy(execute=2), scale=0.3, hidden=[8], execute=3, init_log_std=-2.0))
    second = ResidualPolicy(NetPolicy(execute=2), **first.settings)
    second.load_state_dict(first.state_dict())
    assert second.execute == 3
    env = PointEnv(3)
    assert torch.equal(actions_of(ResidualAgent(first, 3), env), actions_of(ResidualAgent(second, 3), env))


class FourStepPolicy(BiasedPolicy):
    """Chunk row h is (h / 10, -h / 10), whatever it sees."""

    def act(self, obs: dict[str, Tensor], rng: Any) -> Tensor:
        rows = torch.arange(self.horizon) / 10.0
        return torch.stack([rows, -rows], dim=1).expand(len(rng), -1, -1).clone()


def test_a_chunked_residual_decides_at_the_start_of_a_chunk_and_holds_for_it() -> None:
    policy = ResidualPolicy(FourStepPolicy(execute=4), chunked=True, correction=[1.0, 1.0])
    assert policy.residual_dim == 8
    agent = ResidualAgent(policy, 2)
    agent.reset(everyone(2), torch.arange(2))
    decided, actions = [], []
    for t in range(6):
        agent.observe({"state": torch.full((2, 4), 0.1 * t)})
        assert agent.decides is not None
        decided.append(agent.decides.tolist())
        drawn = torch.arange(8.0).expand(2, 8) + 100 * t  # every step draws; only decisions count
        actions.append(agent.apply(drawn)[0].tolist())
        if t == 0:
            assert agent.features.actor[0].tolist() == pytest.approx(
                [0.0] * 4 + [0, 0, 0.1, -0.1, 0.2, -0.2, 0.3, -0.3] + [0.0]
            )
        if t == 4:
            agent.reset(torch.tensor([False, True]), torch.arange(2))
    assert decided == [[True, True], [False] * 2, [False] * 2, [False] * 2, [True, True], [False, True]]
    expected = [[0, 1], [2.1, 2.9], [4.2, 4.8], [6.3, 6.7], [400, 401], [402.1, 402.9]]
    assert torch.allclose(torch.tensor(actions), torch.tensor(expected))
    agent.replan()
    agent.observe({"state": torch.zeros(2, 4)})
    assert agent.decides.tolist() == [True, True]  # type: ignore[union-attr]


def test_a_chunked_residuals_final_features_begin_a_chunk() -> None:
    agent = ResidualAgent(ResidualPolicy(NetPolicy(execute=3), chunked=True), 4)
    agent.reset(everyone(4), torch.arange(4))
    for t in range(5):
        obs = {"state": torch.full((4, 4), 0.1 * t)}
        peeked = agent.final_features(obs, torch.tensor([2, 0]))
        assert agent.final_features(obs, torch.tensor([], dtype=torch.int64)).critic.shape == (0, 12)
        agent.replan()
        agent.observe(obs)
        assert torch.equal(peeked.critic, agent.features.critic[[2, 0]])


def test_an_open_loop_actor_sees_the_start_of_its_chunk_and_its_critic_the_present() -> None:
    agent = ResidualAgent(ResidualPolicy(FourStepPolicy(execute=4), open_loop=True), 2)
    agent.reset(everyone(2), torch.arange(2))
    seen, present = [], []
    for t in range(6):
        agent.observe({"state": torch.full((2, 4), 0.1 * t)})
        seen.append(agent.features.actor[:, 0].tolist())
        present.append(agent.features.critic[:, 0].tolist())
        assert agent.features.actor[0, 4:7].tolist() == pytest.approx(
            [t % 4 / 10, -(t % 4) / 10, t % 4 / 4]  # the present base action and phase
        )
        if t == 1:
            agent.reset(torch.tensor([False, True]), torch.arange(2))
    assert torch.allclose(
        torch.tensor(seen), torch.tensor([[0, 0], [0, 0], [0, 0.2], [0, 0.2], [0.4, 0.2], [0.4, 0.2]])
    )
    assert torch.allclose(torch.tensor(present), torch.arange(6.0)[:, None].expand(6, 2) / 10)


OPTIONS: list[dict[str, Any]] = [
    *({"chunked": True}, {"open_loop": True}, {"running_obs_stats": True}),
    {"base_precision": "bfloat16"},
]


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_options_rebuild_resume_and_do_not_depend_on_the_batch(option: dict[str, Any]) -> None:
    policy = trained(ResidualPolicy(NetPolicy(execute=3), **option))
    rebuilt = ResidualPolicy(NetPolicy(execute=3), **policy.settings)
    rebuilt.load_state_dict(policy.state_dict())
    large, small = ResidualAgent(policy, 40), ResidualAgent(rebuilt, 2)
    slots = torch.tensor([37, 4])
    large.reset(everyone(40), torch.arange(40))
    small.reset(everyone(2), slots)
    state = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    for _ in range(7):
        action = large.next({"state": state})
        assert torch.equal(small.next({"state": state[slots]}), action[slots])
        state = state * 0.9
        resumed = ResidualAgent(policy, 2)
        resumed.load_state_dict(small.state_dict())
        small = resumed


def test_divergence_from_the_base_by_hand() -> None:
    """A residual of (0.3, -0.4) with deviations 1/e: (0.09 + 0.16) e^2 / 2 nats."""
    for chunked in (False, True):
        policy = ResidualPolicy(FourStepPolicy(execute=4), chunked=chunked, init_log_std=-1.0)
        agent = ResidualAgent(policy, 1)
        agent.reset(everyone(1), torch.zeros(1, dtype=torch.int64))
        agent.observe({"state": torch.zeros(1, 4)})
        agent.apply(torch.tensor([[0.3, -0.4] * (4 if chunked else 1)]))
        assert agent.kl_to_base.tolist() == pytest.approx([0.125 * 2.718281828**2])
        normal = torch.distributions.Normal(torch.tensor([0.3, -0.4]), 2.718281828**-1)
        base = torch.distributions.Normal(torch.zeros(2), 2.718281828**-1)
        oracle = torch.distributions.kl_divergence(normal, base).sum()
        assert agent.kl_to_base.item() == pytest.approx(oracle.item())


def test_a_base_without_a_normaliser_is_refused() -> None:
    base = NetPolicy()
    del base.normalizer
    with pytest.raises(UserError, match="base policy NetPolicy has no `normalizer`"):
        ResidualPolicy(base)


def test_a_base_in_bfloat16_plans_nearly_the_same() -> None:
    """Eight bits of mantissa: actions of size 1 within a hundredth, and not the same."""
    actions = []
    for precision in ("float32", "bfloat16"):
        agent = ResidualAgent(ResidualPolicy(NetPolicy(), base_precision=precision), 5)
        agent.reset(everyone(5), torch.arange(5))
        actions.append(agent.next({"state": torch.linspace(-1, 1, 20).reshape(5, 4)}))
        assert actions[-1].dtype == torch.float32
    assert not torch.equal(*actions)
    assert torch.allclose(*actions, atol=0.01)
