"""What is left of a chunk is planned too."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from fakes import CountingPolicy, PointEnv

from robofb.deploy.planner import MOST_RESIDUAL, Planner
from robofb.policies.executor import ChunkExecutor
from robofb.policies.residual import ResidualPolicy
from robofb.policies.residual_agent import ResidualAgent


def obs_of(x: float) -> dict[str, torch.Tensor]:
    return {"state": torch.tensor([[x, 0.0, 0.0, 0.0]])}


def test_a_plan_is_what_is_left_of_the_chunk() -> None:
    planner = Planner(ChunkExecutor(CountingPolicy(obs_history=1, horizon=4, execute=3), 1))
    planner.begin(5)
    first = [planner.plan(obs_of(x))[:, 0].tolist() for x in (10.0, 20.0, 30.0, 40.0)]
    assert first == [[10.0, 11.0, 12.0], [11.0, 12.0], [12.0], [40.0, 41.0, 42.0]]
    planner.begin(6)
    assert planner.plan(obs_of(7.0))[:, 0].tolist() == [7.0, 8.0, 9.0]


def test_who_plans_no_chunk_gives_one_action() -> None:
    class Steady:
        def reset(self, mask: torch.Tensor, seeds: torch.Tensor) -> None: ...

        def next(self, obs: dict[str, torch.Tensor]) -> torch.Tensor:
            return torch.full((1, 2), 3.0)

    assert Planner(Steady()).plan(PointEnv(1).reset(0)).tolist() == [[3.0, 3.0]]


def residual_planner(wanted: float) -> Planner:
    """Return one whose residual wants `wanted` units of 0.01 each, in every number and state."""
    base = CountingPolicy(obs_history=1, horizon=4, execute=3)
    action_dim = base.spec.action.shape[0]
    policy = ResidualPolicy(base, correction=[0.01] * action_dim, hidden=[4])
    policy.actor_critic.actor.mean.forward = lambda seen: torch.full((len(seen), action_dim), wanted)
    return Planner(ResidualAgent(policy, 1))


def test_a_residual_corrects_the_next_action_alone() -> None:
    planner = residual_planner(2.0)
    planner.begin(5)
    plans = [planner.plan(obs_of(x))[:, 0].tolist() for x in (10.0, 20.0)]
    assert plans == [pytest.approx([10.02, 11.0, 12.0]), pytest.approx([11.02, 12.0])]
    assert planner.cut == 0


def test_a_wild_residual_is_cut_and_said_once_an_episode(caplog: pytest.LogCaptureFixture) -> None:
    planner = residual_planner(-50.0)
    with caplog.at_level(logging.WARNING):
        for seed in (5, 6):
            planner.begin(seed)
            for phase in range(2):
                assert planner.plan(obs_of(10.0))[0, 0] == pytest.approx(10.0 + phase - 0.01 * MOST_RESIDUAL)
    assert planner.cut == 4 and len(caplog.records) == 2


def test_no_number_of_a_residual_is_left_for_the_gate_to_refuse() -> None:
    planner = residual_planner(math.nan)
    planner.begin(5)
    assert math.isnan(planner.plan(obs_of(10.0))[0, 0]) and planner.cut == 1
