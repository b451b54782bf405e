"""A point that seeks a goal on a half circle and is paid only near it (BOReL, arXiv 2008.02598)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from robofb.envs.meta.point import PointFamily, StraightTeacher, draw_point, moved
from robofb.interfaces import Teacher
from robofb.rng import EpisodeRng
from robofb.sim.meta_task import PARAMS
from robofb.sim.torch_env import Outcome, State
from robofb.types import ArraySpec

REACH_M = 0.2


class PointRobotSparse(PointFamily):
    """Be within 0.2 m of a goal on the unit half circle y >= 0: 1 for each step that ends there, else 0.

    The point starts in the circle's centre; only the time limit ends an episode. Success is to be there in
    its last step. Observations: "state" (2,): where the point is [m]. `PRIVILEGED` (4,): goal and point.

    Args:
        max_steps: of an episode [control steps].
        device: where the tensors live.
    """

    moves_alike = True

    def __init__(self, max_steps: int = 60, device: str = "cpu") -> None:
        params = ArraySpec((2,), unit="m", names=("goal_pos_w_x", "goal_pos_w_y"))
        super().__init__("point_robot_sparse", params, max_steps, device)

    def draw_params(self, rng: EpisodeRng) -> Tensor:
        """Draw a goal on the half circle, each angle as likely."""
        angle = math.pi * rng.uniform()
        return torch.stack([angle.cos(), angle.sin()], -1)

    def advance(self, state: State, action: Tensor, rng: EpisodeRng) -> Outcome:
        """Move by up to 0.1 m along each axis."""
        return self.arrive(state, action, moved(state["place"], action))

    def relabel(self, params: Tensor, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return what goals (..., 2) pay for steps that end in places `next_obs` (..., 2)."""
        return ((next_obs - params).norm(dim=-1) <= REACH_M).float()

    def teacher(self) -> Teacher:
        """Return who sees the goal."""
        return StraightTeacher()

    def picture(self, state: State) -> np.ndarray:
        """Return the plane with the goal green."""
        return draw_point(state["place"], state[PARAMS], REACH_M)
