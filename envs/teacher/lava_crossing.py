"""Lava Crossing: find the gaps in rivers of lava by what is seen from within; a teacher has the whole map.

After MiniGrid's task of that name (Chevalier-Boisvert et al., 2023, arXiv 2306.13831), in the size that TGRL
(arXiv 2307.03186) takes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robofb.envs.teacher.grid import (
    FAILURE_REWARD,
    FORWARD,
    FREE_RGB,
    GOAL_REWARD,
    GOAL_RGB,
    LAVA_RGB,
    STEP_REWARD,
    TURNS,
    WALL_RGB,
    draw,
    grid_spec,
    one_hot_planes,
    view_cells,
)
from robofb.envs.teacher.lava_maps import GOAL, LAVA, Maps, draw_maps, steps_to_goal, turns_left
from robofb.envs.teacher.shortest_path import ShortestPathTeacher
from robofb.errors import UserError
from robofb.interfaces import Teacher
from robofb.rng import EpisodeRng
from robofb.sim.torch_env import Outcome, State, TorchTask
from robofb.types import PRIVILEGED, Obs

VIEW = 5
PLANES = ("unseen", "wall", "free", "lava", "goal")  # in the order of the kinds in lava_maps
_RGB = ((0, 0, 0), WALL_RGB, FREE_RGB, LAVA_RGB, GOAL_RGB)
_FACTS = ("agent_x", "agent_y", "forward_x", "forward_y")
_SIZES = range(5, 65, 2)


class LavaCrossing(TorchTask):
    """Walk from the upper left to the lower right corner; lava ends the episode.

    Observations: "grid" (5, 5, 5) uint8, the `PLANES` of what the agent sees, see `grid.view_cells`; nothing
    but the outer wall blocks its sight. `PRIVILEGED` (7,): the agent's cell and the direction it faces, and
    how many steps each action leaves.

    Args:
        size: cells along each side; odd.
        rivers: drawn from the (size - 3) that there is room for.
        max_steps: time limit [control steps].
        device: where the tensors live.

    Raises:
        UserError: the size is even, too small or too large, or there is no room for the rivers.
    """

    def __init__(self, size: int = 15, rivers: int = 10, max_steps: int = 225, device: str = "cpu") -> None:
        if size not in _SIZES:
            raise UserError(f"task.size={size}: needs an odd number from {_SIZES[0]} to {_SIZES[-1]}")
        if not 1 <= rivers <= size - 3:
            raise UserError(f"task.rivers={rivers}: needs 1 to {size - 3} for size {size}")
        self.size, self.rivers, self.device = size, rivers, torch.device(device)
        self.spec = grid_spec("lava_crossing", PLANES, VIEW, _FACTS, TURNS, max_steps)
        self._shown = view_cells(size, size, VIEW).to(self.device)
        self._forward = torch.tensor(FORWARD, device=self.device)
        self._turn = torch.tensor([-1, 1, 0], device=self.device)

    def start(self, rng: EpisodeRng) -> State:
        """Draw a map; the agent stands in the upper left corner and faces right."""
        at = torch.ones(len(rng), dtype=torch.int64, device=self.device)
        maps = draw_maps(rng, self.size, self.rivers)
        return {**maps._asdict(), "x": at, "y": at.clone(), "heading": torch.zeros_like(at)}

    def advance(self, state: State, action: Tensor, rng: EpisodeRng) -> Outcome:
        """Turn or go on; a wall is run against."""
        move = action[:, 0]
        heading = (state["heading"] + self._turn[move]) & 3
        x_ahead, y_ahead = self._cell_ahead(state)
        goes = move == 2
        x, y = torch.where(goes, x_ahead, state["x"]), torch.where(goes, y_ahead, state["y"])
        kind = self._kind(state, x, y)
        success, failure = kind == GOAL, kind == LAVA
        reward = STEP_REWARD + GOAL_REWARD * success + FAILURE_REWARD * failure
        following = {**state, "x": x, "y": y, "heading": heading}
        return Outcome(following, reward, success | failure, success)

    def _cell_ahead(self, state: State) -> tuple[Tensor, Tensor]:
        """Return x and y (B,) to which a step leads: only the outer wall stops it."""
        forward = self._forward[state["heading"]]
        x, y = state["x"] + forward[:, 0], state["y"] + forward[:, 1]
        return x.clamp(1, self.size - 2), y.clamp(1, self.size - 2)

    def _kind(self, state: State, x: Tensor, y: Tensor) -> Tensor:
        """Return (B,) uint8, what the cells at x and y (B,) are."""
        return state["kinds"].gather(1, (y * self.size + x)[:, None])[:, 0]

    def observe(self, state: State) -> Obs:
        """Show the student its view, the teacher how far it is from where each action leads."""
        x, y, heading = state["x"], state["y"], state["heading"]
        shown = self._shown.index_select(0, (y * self.size + x) * 4 + heading)
        view = state["kinds"].gather(1, shown).reshape(-1, VIEW, VIEW)
        facts = torch.cat([torch.stack([x, y], 1), self._forward[heading], self._steps_after(state)], 1)
        return {"grid": one_hot_planes(view, len(PLANES)), PRIVILEGED: facts.to(torch.float32)}

    def _steps_after(self, state: State) -> Tensor:
        """Return (B, 3) int64 how many steps each action leaves; `max_steps` where none leads to the goal."""
        x, y, heading = state["x"], state["y"], state["heading"]
        x_ahead, y_ahead = self._cell_ahead(state)
        maps = Maps(*(state[name] for name in Maps._fields))
        way = steps_to_goal(maps, torch.stack([x, x_ahead], 1), torch.stack([y, y_ahead], 1), self.size)
        moves, case = (each[:, [0, 0, 1]] for each in way)  # by action
        steps = moves + turns_left(case, (heading[:, None] + self._turn) & 3)
        here, ahead = self._kind(state, x, y), self._kind(state, x_ahead, y_ahead)
        over = (here == LAVA) | (here == GOAL)
        lost = torch.stack([over, over, over | (ahead == LAVA)], 1)
        return steps.masked_fill(lost, self.spec.max_steps)

    def teacher(self) -> Teacher:
        """Return who knows the shortest way."""
        return ShortestPathTeacher(self.spec)

    def picture(self, state: State) -> np.ndarray:
        """Return the map; what the agent sees is bright."""
        size, x, y, heading = self.size, int(state["x"]), int(state["y"]), int(state["heading"])
        kinds = state["kinds"][:-1].reshape(size, size).numpy()
        shown = self._shown[(y * size + x) * 4 + heading].cpu()
        lit = torch.zeros(size * size + 1, dtype=torch.bool).index_fill(0, shown, True)[:-1]
        colours = np.array(_RGB, np.uint8)[kinds]
        return draw(colours, x, y, heading, lit.reshape(size, size).numpy())
