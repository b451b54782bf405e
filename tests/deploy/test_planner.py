"""What is left of a chunk is planned too."""

from __future__ import annotations

import torch
from fakes import CountingPolicy, PointEnv

from robofb.deploy.planner import Planner
from robofb.policies.executor import ChunkExecutor


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
