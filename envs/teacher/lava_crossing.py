"""Lava Crossing: find the gaps in rivers of lava by what is seen from within; a teacher sees the whole map.

After MiniGrid's task of that name (Chevalier-Boisvert et al., 2023, arXiv 2306.13831), in the size in which TGRL
(arXiv 2307.03186) takes it.
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
    one_hot_planes,
    turning_action_spec,
    view_cells,
)
from robofb.envs.teacher.lava_maps import GOAL, LAVA, WALL, Maps, draw_maps, steps_to_goal
from robofb.envs.teacher.shortest_path import ShortestPathTeacher, steps_after_names
from robofb.errors import UserError
from robofb.interfaces import Teacher
from robofb.rng import EpisodeRng
from robofb.sim.success import STAGES
from robofb.sim.torch_env import Outcome, State, TorchTask
from robofb.types import PRIVILEGED, ArraySpec, EnvSpec, Obs

VIEW = 5
PLANES = ("unseen", "wall", "free", "lava", "goal")  # in the order of the kinds in lava_maps
_RGB = ((0, 0, 0), WALL_RGB, FREE_RGB, LAVA_RGB, GOAL_RGB)
_FACTS = ("agent_x", "agent_y", "forward_x", "forward_y")
_LEAST_SIZE = 5


class LavaCrossing(TorchTask):
    """Walk from the upper left to the lower right corner; lava ends the episode.

    Observations: "grid" (5, 5, 5) uint8, the `PLANES` of what the agent sees, see `grid.view_cells`; nothing
    but the outer wall blocks its sight. `PRIVILEGED` (7,): the agent's cell and the direction it faces, and how
    many steps each action leaves.

    Args:
        size: cells along each side; odd.
        rivers: drawn from the (size - 3) that there is room for.
        max_steps: time limit [control steps].
        device: where the tensors live.

    Raises:
        UserError: the size is even or too small, or there is no room for the rivers.
    """

    def __init__(
        self, size: int = 15, rivers: int = 10, max_steps: int = 225, device: str = "cpu"
    ) -> None:
        if size < _LEAST_SIZE or size % 2 == 0:
            raise UserError(f"task.size={size}: needs an odd number of at least {_LEAST_SIZE}")
        if not 1 <= rivers <= size - 3:
            raise UserError(f"task.rivers={rivers}: needs 1 to {size - 3} for size {size}")
        self.size, self.rivers, self.device = size, rivers, torch.device(device)
        names = (*_FACTS, *steps_after_names(TURNS))
        grid = ArraySpec((len(PLANES), VIEW, VIEW), "uint8", f"1 where the cell is {', '.join(PLANES)}")
        self.spec = EnvSpec(
            "lava_crossing",
            {"grid": grid, PRIVILEGED: ArraySpec((len(names),), unit="cells and steps", names=names)},
            turning_action_spec(),
            control_dt=0.25,
            max_steps=max_steps,
            stages=STAGES,
        )
        self._shown = view_cells(size, size, VIEW).to(self.device)
        self._forward = torch.tensor(FORWARD, device=self.device)
        self._ahead = self._forward[:, 0] + size * self._forward[:, 1]
        self._turn = torch.tensor([-1, 1, 0], device=self.device)

    def start(self, rng: EpisodeRng) -> State:
        """Draw a map; the agent stands in the upper left corner and faces right."""
        cell = torch.full((len(rng),), self.size + 1, device=self.device)
        maps = draw_maps(rng, self.size, self.rivers)
        return {**maps._asdict(), "cell": cell, "heading": torch.zeros_like(cell)}

    def advance(self, state: State, action: Tensor, rng: EpisodeRng) -> Outcome:
        """Turn or go on; a wall is run against."""
        move = action[:, 0]
        heading = (state["heading"] + self._turn[move]) % 4
        cell = torch.where(move == 2, self._cell_ahead(state), state["cell"])
        kind = state["kinds"].gather(1, cell[:, None])[:, 0]
        success, failure = kind == GOAL, kind == LAVA
        reward = STEP_REWARD + GOAL_REWARD * success + FAILURE_REWARD * failure
        return Outcome({**state, "cell": cell, "heading": heading}, reward, success | failure, success)

    def _cell_ahead(self, state: State) -> Tensor:
        """Return the cell (B,) to which a step leads."""
        ahead = state["cell"] + self._ahead[state["heading"]]
        return torch.where(state["kinds"].gather(1, ahead[:, None])[:, 0] == WALL, state["cell"], ahead)

    def observe(self, state: State) -> Obs:
        """Show the student its view, the teacher how far it is from where each action leads."""
        cell, heading = state["cell"], state["heading"]
        shown = self._shown[cell * 4 + heading]
        view = state["kinds"].gather(1, shown).reshape(-1, VIEW, VIEW)
        forward = self._forward[heading]
        facts = torch.stack([cell % self.size, cell // self.size, forward[:, 0], forward[:, 1]], 1)
        privileged = torch.cat([facts, self._steps_after(state)], 1).to(torch.float32)
        return {"grid": one_hot_planes(view, len(PLANES)), PRIVILEGED: privileged}

    def _steps_after(self, state: State) -> Tensor:
        """Return (B, 3) int64 how many steps each action leaves; `max_steps` where it or a former one has failed."""
        maps = Maps(*(state[name] for name in Maps._fields))
        cell = torch.stack([state["cell"], state["cell"], self._cell_ahead(state)], 1)
        heading = state["heading"][:, None] + self._turn
        steps = steps_to_goal(maps, cell, heading % 4, self.size)
        kinds = maps.kinds.gather(1, torch.cat([state["cell"][:, None], cell[:, 2:]], 1))
        over = (kinds[:, :1] == LAVA) | (kinds[:, :1] == GOAL)
        lost = torch.cat([over, over, over | (kinds[:, 1:] == LAVA)], 1)
        return steps.masked_fill(lost, self.spec.max_steps)

    def teacher(self) -> Teacher:
        """Return who knows the shortest way."""
        return ShortestPathTeacher(self.spec)

    def picture(self, state: State) -> np.ndarray:
        """Return the map; what the agent sees is bright."""
        size, cell, heading = self.size, int(state["cell"]), int(state["heading"])
        kinds = state["kinds"][:-1].reshape(size, size).numpy()
        shown = self._shown[cell * 4 + heading].cpu()
        lit = torch.zeros(size * size + 1, dtype=torch.bool).index_fill(0, shown, True)[:-1]
        colours = np.array(_RGB, np.uint8)[kinds]
        return draw(colours, cell % size, cell // size, heading, lit.reshape(size, size).numpy())
