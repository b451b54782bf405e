"""A point in batched torch that must reach a goal, pushed by a wind that is drawn anew in every step."""

from __future__ import annotations

import torch
from torch import Tensor

from robofb.rng import EpisodeRng
from robofb.sim.torch_env import Outcome, State, TorchTask
from robofb.types import ArraySpec, EnvSpec, Obs

REACH_M = 0.05
SPEED_M = 0.1  # per control step
WIND_M = 0.02


class TorchPoint(TorchTask):
    """Shows position and goal; a success ends the episode and pays 1."""

    def __init__(self, max_steps: int = 50) -> None:
        self.device = torch.device("cpu")
        self.spec = EnvSpec(
            "torch_point",
            {"state": ArraySpec((4,), unit="m")},
            ArraySpec((2,), low=(-1.0, -1.0), high=(1.0, 1.0)),
            control_dt=0.1,
            max_steps=max_steps,
            stages=("success",),
        )

    def start(self, rng: EpisodeRng) -> State:
        goal = rng.uniform(2) - 0.5
        return {"position": goal + 1.0 + rng.uniform(2), "goal": goal}

    def advance(self, state: State, action: Tensor, rng: EpisodeRng) -> Outcome:
        position = state["position"] + SPEED_M * action + WIND_M * (rng.uniform(2) - 0.5)
        success = (position - state["goal"]).norm(dim=1) < REACH_M
        return Outcome({**state, "position": position}, success.float(), success, success)

    def observe(self, state: State) -> Obs:
        return {"state": torch.cat([state["position"], state["goal"]], 1)}
