"""What the worlds of a point in the plane share: how it moves, what is seen of it, and pictures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robofb.envs.teacher.grid import AGENT_RGB, FREE_RGB, GOAL_RGB
from robofb.errors import UserError
from robofb.rng import EpisodeRng
from robofb.sim.meta_task import PARAMS, MetaTorchTask
from robofb.sim.torch_env import Outcome, State
from robofb.types import PRIVILEGED, ArraySpec, EnvSpec, Obs

STEP_M = 0.1
"""Furthest that an action moves the point along each axis."""

ACTION = ArraySpec((2,), unit=f"{STEP_M} m", low=(-1.0, -1.0), high=(1.0, 1.0), names=("step_x", "step_y"))
CONTROL_DT_S = 0.1  # nothing here takes time; films show ten steps a second
_PX, _HALF_M = 96, 1.5


def point_spec(task: str, params: ArraySpec, max_steps: int) -> EnvSpec:
    """Return the spec of a point whose task has parameters that only a teacher sees.

    Raises:
        UserError: `max_steps` is below 1.
    """
    if max_steps < 1:
        raise UserError(f"max_steps={max_steps}: needs at least 1")
    names = ("point_pos_w_x", "point_pos_w_y")
    told = (*params.names, *names)
    obs = {
        "state": ArraySpec((2,), unit="m", names=names),
        PRIVILEGED: ArraySpec((len(told),), unit="m", names=told),
    }
    return EnvSpec(task, obs, ACTION, CONTROL_DT_S, max_steps, ("reach",))


class PointFamily(MetaTorchTask):
    """Tasks of a point that starts at (0, 0) and is seen, (2,) [m]; nothing but time ends an episode.

    `PRIVILEGED` (4,): the task's two parameters, and the same.

    Args:
        name: of the family.
        params: its two parameters.
        max_steps: of an episode [control steps].
        device: where the tensors live.
    """

    start_distribution = "point at (0, 0) m"

    def __init__(self, name: str, params: ArraySpec, max_steps: int, device: str) -> None:
        self.device = torch.device(device)
        self.params, self.spec = params, point_spec(name, params, max_steps)

    def begin(self, rng: EpisodeRng) -> State:
        """Start at (0, 0)."""
        return {"place": torch.zeros(len(rng), 2, device=self.device)}

    def arrive(self, state: State, action: Tensor, place: Tensor) -> Outcome:
        """Return that a step ends in places (B, 2), which succeeds where it pays."""
        reward = self.relabel(state[PARAMS], state["place"], action, place)
        near = reward > 0
        return Outcome({**state, "place": place}, reward, torch.zeros_like(near), near)

    def observe(self, state: State) -> Obs:
        """Return {"state": (B, 2) float32, PRIVILEGED: (B, 4) float32}."""
        place = state["place"].clone()
        return {"state": place, PRIVILEGED: torch.cat([state[PARAMS], place], -1)}


def moved(place: Tensor, action: Tensor) -> Tensor:
    """Return places (B, 2) [m] after actions (B, 2), which are taken as the bounds allow."""
    return place + STEP_M * action.clamp(-1.0, 1.0)


class StraightTeacher:
    """Walk straight to a goal and stay there, against a drift; implements `interfaces.Teacher`.

    Args:
        goal_xy_m: None: the goal is what the first two elements of `PRIVILEGED` say, and nothing drifts;
            else these say the drift of each step.
    """

    def __init__(self, goal_xy_m: tuple[float, float] | None = None) -> None:
        self._goal = goal_xy_m

    def answer(self, obs: dict[str, Tensor]) -> Tensor:
        """Return actions (B, 2)."""
        known, place = obs[PRIVILEGED][:, :2], obs["state"]
        way = known - place if self._goal is None else place.new_tensor(self._goal) - place - known
        return (way / STEP_M).clamp(-1.0, 1.0)


def draw_point(place: Tensor, goal: Tensor, reach_m: float) -> np.ndarray:
    """Return a picture (96, 96, 3) uint8 of the plane within 1.5 m: the goal's disc, and the point (2,)."""
    axis = (np.arange(_PX) + 0.5) / _PX * 2 * _HALF_M - _HALF_M
    x, y = np.meshgrid(axis, -axis)
    picture = np.full((_PX, _PX, 3), FREE_RGB, np.uint8)
    for centre, radius_m, colour in ((goal, max(reach_m, 0.05), GOAL_RGB), (place, 0.06, AGENT_RGB)):
        cx, cy = torch.as_tensor(centre).tolist()
        picture[np.hypot(x - cx, y - cy) <= radius_m] = colour
    return picture
