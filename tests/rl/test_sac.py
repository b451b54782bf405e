"""Tests of robofb.rl.sac."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from robofb.policies.squashed import SquashedActor
from robofb.rl.q_ensemble import QEnsemble
from robofb.rl.replay_buffer import ReplayBuffer
from robofb.rl.sac import SAC


def make_sac(seed: int = 0, obs_dim: int = 4, action_dim: int = 2, **settings: Any) -> SAC:
    generator = torch.Generator().manual_seed(seed)
    actor = SquashedActor(obs_dim, action_dim, hidden=[64, 64], generator=generator)
    critic = QEnsemble(obs_dim, action_dim, hidden=[64, 64], generator=generator)
    return SAC(actor, critic, generator, **settings)


def batch_of(count: int = 32, seed: int = 5) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(4, count, 4, generator=generator)
    return {
        "obs": draw[0],
        "next_obs": draw[1],
        "action": draw[2, :, :2].tanh(),
        "reward": draw[3, :, 0],
        "discount": torch.full((count,), 0.9),
    }


class Field:
    """B points on a plane: -(distance to the origin) as reward, no end but a time limit of 20 steps."""

    def __init__(self, num_envs: int, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.position = self._start(num_envs)
        self.elapsed = torch.zeros(num_envs, dtype=torch.int64)

    def _start(self, count: int) -> Tensor:
        return 2 * torch.rand(count, 2, generator=self.generator) - 1

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.position = (self.position + 0.2 * action).clamp(-1, 1)
        self.elapsed += 1
        reached, reward = self.position, -self.position.norm(dim=1)
        done = self.elapsed >= 20
        self.elapsed[done] = 0
        self.position = torch.where(done[:, None], self._start(len(done)), reached)
        return reached, reward, done


def mean_return(sac: SAC) -> float:
    field, total = Field(256, seed=9), torch.zeros(256)
    for _ in range(20):
        with torch.no_grad():
            _, reward, _ = field.step(sac.actor(field.position).mode)
        total += reward
    return float(total.mean())


def test_solves_a_small_problem():
    """At least 90 % of what an untrained walk loses to an ideal one, 0.2 along each axis a step, is gained.

    Over four times as many steps three seeds came to 97 to 99 %; the rest is the entropy's price.
    """
    sac = make_sac(
        obs_dim=2, actor_lr=2e-3, critic_lr=2e-3, temperature_lr=2e-3, init_temperature=0.1, tau=0.02
    )
    replay = ReplayBuffer(20_000, {"obs": (2,), "action": (2,), "next_obs": (2,)}, 32)
    field, generator, before = Field(32, seed=1), torch.Generator().manual_seed(2), mean_return(sac)
    for _ in range(300):
        obs = field.position
        with torch.no_grad():
            action, _ = sac.actor(obs).sample(torch.randn(32, 2, generator=generator))
        reached, reward, done = field.step(action)
        discount = torch.full((32,), 0.95)
        values = {"obs": obs, "action": action, "reward": reward, "discount": discount, "next_obs": reached}
        replay.add(torch.arange(32), values, done)
        for _ in range(2):
            sac.update(replay.sample(128, generator))
    field, ideal = Field(256, seed=9), torch.zeros(256)
    for _ in range(20):
        _, reward, _ = field.step((-field.position / 0.2).clamp(-1, 1))
        ideal += reward
    best = float(ideal.mean())
    assert before < 10 * best  # returns are negative
    assert mean_return(sac) - before > 0.9 * (best - before)


def test_targets_by_hand():
    """With every density and value known: r + d (q - alpha log pi), and without entropy r + d q."""
    batch = batch_of(3) | {"discount": torch.tensor([0.9, 0.0, 0.5])}
    for backup_entropy in (True, False):
        sac = make_sac(init_temperature=0.25, backup_entropy=backup_entropy)
        state = sac.generator.get_state()
        targets = sac.targets(batch)
        sac.generator.set_state(state)
        action, log_prob = sac.actor(batch["next_obs"]).sample(torch.randn(3, 2, generator=sac.generator))
        q = sac.target_critic(batch["next_obs"], action)
        for row in range(3):
            value = min(q[0, row].item(), q[1, row].item()) - 0.25 * backup_entropy * log_prob[row].item()
            expected = batch["reward"][row].item() + batch["discount"][row].item() * value
            assert targets[row].item() == pytest.approx(expected, abs=1e-5)


def test_temperature_is_adjusted_to_the_target_entropy():
    """The actor is held fixed: its entropy is above one target and below the other."""
    for target, risen in ((-20.0, False), (20.0, True)):
        sac = make_sac(actor_lr=0.0, temperature_lr=0.01, init_temperature=0.3, target_entropy=target)
        for _ in range(20):
            sac.update(batch_of())
        assert (sac.temperature > 0.3) == risen
        assert abs(math.log(sac.temperature / 0.3)) == pytest.approx(0.2, rel=0.02)  # Adam: 20 steps of 0.01


def test_the_slow_critic_takes_over_a_share():
    sac = make_sac(tau=0.25)
    before = [parameter.clone() for parameter in sac.target_critic.parameters()]
    sac.update(batch_of())
    for old, fast, slow in zip(before, sac.critic.parameters(), sac.target_critic.parameters()):
        torch.testing.assert_close(slow, 0.75 * old + 0.25 * fast)


def test_a_restored_learner_goes_on_exactly():
    first, second = make_sac(), make_sac(seed=3)
    for seed in range(3):
        first.update(batch_of(seed=seed))
    second.actor.load_state_dict(first.actor.state_dict())
    second.load_state_dict(first.state_dict())
    for seed in range(3, 6):
        metrics = [sac.update(batch_of(seed=seed)) for sac in (first, second)]
        assert metrics[0]["actor_loss"] == metrics[1]["actor_loss"]
    for mine, theirs in zip(first.actor.parameters(), second.actor.parameters()):
        assert torch.equal(mine, theirs)
    assert torch.equal(first.temperature, second.temperature)
