"""A point on its way to a known goal in a wind that is not (BOReL, arXiv 2008.02598)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robofb.envs.meta.point import PointFamily, StraightTeacher, draw_point, moved
from robofb.interfaces import Teacher
from robofb.rng import EpisodeRng
from robofb.sim.meta_task import PARAMS
from robofb.sim.torch_env import Outcome, State
from robofb.types import ArraySpec

GOAL_XY_M = (0.0, 1.0)
REACH_M = 0.03
MAX_WIND_M = 0.08


class Wind(PointFamily):
    """Be within 0.03 m of (0, 1): 1 for each step that ends there, else 0.

    Every step is blown aside by the task's wind, up to 0.08 m along each axis: tasks differ in how the world
    moves, and pay alike. The point starts at (0, 0); only the time limit ends an episode. Observations:
    "state" (2,): where the point is [m]. `PRIVILEGED` (4,): the wind of a step, and the same. Success is to
    be at the goal in the last step.

    Args:
        max_steps: of an episode [control steps].
        device: where the tensors live.
        dense: pay less the distance to the goal [m], as a help for agents that learn one task alone.
            `relabel`, and with it the logs, stay sparse.
    """

    moves_alike = False

    def __init__(self, max_steps: int = 75, device: str = "cpu", dense: bool = False) -> None:
        params = ArraySpec((2,), unit="m", names=("wind_w_x", "wind_w_y"))
        super().__init__("wind", params, max_steps, device)
        self._goal, self.dense = torch.tensor(GOAL_XY_M, device=self.device), dense

    def draw_params(self, rng: EpisodeRng) -> Tensor:
        """Draw a wind, each axis by itself and evenly."""
        return MAX_WIND_M * (2 * rng.uniform(2) - 1)

    def advance(self, state: State, action: Tensor, rng: EpisodeRng) -> Outcome:
        """Move by up to 0.1 m along each axis, and be blown."""
        place = moved(state["place"], action) + state[PARAMS]
        outcome = self.arrive(state, action, place)
        if not self.dense:
            return outcome
        return outcome._replace(reward=outcome.reward - (place - self._goal).norm(dim=-1))

    def relabel(self, params: Tensor, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return what any wind pays for steps that end in places `next_obs` (..., 2)."""
        near = (next_obs - self._goal).norm(dim=-1) <= REACH_M
        return near.float().expand(torch.broadcast_shapes(near.shape, params.shape[:-1]))

    def teacher(self) -> Teacher:
        """Return who knows the wind."""
        return StraightTeacher(GOAL_XY_M)

    def picture(self, state: State) -> np.ndarray:
        """Return the plane with the goal green."""
        return draw_point(state["place"], self._goal, REACH_M)
