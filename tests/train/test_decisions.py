"""Tests of robofb.train.decisions."""

from __future__ import annotations

import pytest
import torch
from fakes import POINT_SPEC, FakePolicy, ResumablePointEnv
from torch import Tensor

from robofb.rng import EpisodeRng
from robofb.train.decisions import DecisionCollector, encoded_size
from robofb.train.episodes import EpisodeCount
from robofb.train.stopwatch import Stopwatch
from robofb.types import Obs, Step

TIMED_OUT, FAILED = 5, 3  # steps after which env 0's episodes time out and env 1's terminate


class ScriptedEnv:
    """Env 0 times out after 5 steps, env 1 terminates after 3; step k of an episode pays 2^k."""

    spec, num_envs, device = POINT_SPEC, 2, torch.device("cpu")

    def reset(self, seed: int) -> Obs:
        self.episode_seed = torch.tensor([1, 2])
        self.elapsed = torch.zeros(2, dtype=torch.int64)
        return self._obs()

    def _obs(self) -> Obs:
        return {"state": torch.stack([self.elapsed / 10, torch.arange(2.0)], 1).repeat(1, 2)}

    def step(self, action: Tensor) -> Step:
        reward = 2.0**self.elapsed
        self.elapsed = self.elapsed + 1
        truncated, terminated = torch.tensor([[5, 99], [99, 3]]) == self.elapsed
        final_obs = self._obs()
        info = {"success": terminated, "length": self.elapsed.clone()}
        self.elapsed = self.elapsed * ~(truncated | terminated)
        return Step(self._obs(), reward, terminated, truncated, final_obs, info)


class Seeing(FakePolicy):
    """Sees the state as it is."""

    def encode(self, obs: Obs) -> Tensor:
        return obs["state"].flatten(1)

    def decide(self, obs: Obs, rng: EpisodeRng) -> tuple[Tensor, dict[str, Tensor]]:
        noise = rng.normal(2)
        return noise[:, None].expand(-1, self.horizon, -1), {"obs": self.encode(obs), "action": noise}


def collect(collector: DecisionCollector, steps: int) -> list[dict[str, Tensor]]:
    return [collector.step(EpisodeCount(torch.device("cpu")), Stopwatch()) for _ in range(steps)]


def test_each_env_decides_in_its_own_time():
    """Chunks of 2, gamma 0.5. Env 0: steps 1-2, 3-4, 5 (time-out); env 1: steps 1-2, 3 (terminated), ..."""
    policy = Seeing(execute=2)
    steps = collect(DecisionCollector(ScriptedEnv(), policy, policy.decide, gamma=0.5, seed=0), 5)
    assert [step["env"].tolist() for step in steps] == [[], [0, 1], [1], [0], [0, 1]]
    second, third, fourth, fifth = steps[1:]
    assert second["reward"].tolist() == [2.0, 2.0]  # 1 + 0.5 * 2
    assert second["discount"].tolist() == [0.25, 0.25]
    assert second["obs"][:, 0].tolist() == [0.0, 0.0]
    assert second["next_obs"][:, 0].tolist() == pytest.approx([0.2, 0.2])
    assert third["reward"].tolist() == [4.0]
    assert third["discount"].tolist() == [0.0]  # nothing follows a termination
    assert third["done"].tolist() == [True]
    assert third["next_obs"][:, 0].tolist() == pytest.approx([0.3])  # not the next episode's first
    assert fourth["reward"].tolist() == [8.0]  # 4 + 0.5 * 8
    assert fifth["reward"].tolist() == [16.0, 2.0]
    assert fifth["discount"].tolist() == [0.5, 0.25]  # something would have followed the time-out
    assert fifth["done"].tolist() == [True, False]
    assert fifth["next_obs"][:, 0].tolist() == pytest.approx([0.5, 0.2])
    assert fifth["length"].tolist() == [5, 2]
    assert fifth["steps"].tolist() == [1, 2]


def test_histories_go_up_to_the_final_observation():
    """With two observations each, what follows ends with the newest and begins with the one before."""
    policy = Seeing(execute=2, obs_history=2)
    assert encoded_size(policy) == 8
    steps = collect(DecisionCollector(ScriptedEnv(), policy, policy.decide, gamma=0.5, seed=0), 3)
    assert steps[2]["obs"][0, [0, 4]].tolist() == pytest.approx([0.1, 0.2])
    assert steps[2]["next_obs"][0, [0, 4]].tolist() == pytest.approx([0.2, 0.3])


def test_a_restored_collector_goes_on_exactly():
    policy = Seeing(execute=4)

    def collector() -> DecisionCollector:
        return DecisionCollector(ResumablePointEnv(6), policy, policy.decide, gamma=0.9, seed=3)

    whole, first, second = collector(), collector(), collector()
    expected = collect(whole, 40)[23:]
    collect(first, 23)
    second.load_state_dict(first.state_dict(), stretch=1)
    for one, other in zip(expected, collect(second, 17)):
        for name, values in one.items():
            assert torch.equal(values, other[name]), name
