"""Memory: look at the object behind you, then walk to its like at the other end of a hallway.

After MiniGrid's task of that name (Chevalier-Boisvert et al., 2023, arXiv 2306.13831). Where it starts and
what it pays differ: see docs/teacher_environments.md.
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
    STEP_REWARD,
    TURNS,
    WALL_RGB,
    draw,
    grid_spec,
    one_hot_planes,
    seen,
    view_cells,
)
from robofb.envs.teacher.tabular import Tables, TabularTask, steps_after
from robofb.errors import UserError
from robofb.sim.torch_env import State
from robofb.types import PRIVILEGED

VIEW = 5
PLANES = ("unseen", "wall", "free", "round", "square")
_UNSEEN, _WALL, _FREE, _ROUND, _SQUARE = range(len(PLANES))
_RGB = ((0, 0, 0), WALL_RGB, FREE_RGB, (60, 110, 200), (220, 170, 40))  # by plane
_FACTS = ("object", "goal_end", "agent_x", "agent_y", "forward_x", "forward_y")
_LEAST_SIZE = 7


class Memory(TabularTask):
    """Turn and look which object lies in the room, then go to the same at an end of the crossing.

    Observations: "grid" (5, 5, 5) uint8, the `PLANES` of what the agent sees, see `grid.view_cells`;
    `PRIVILEGED` (9,): the object (0 round, 1 square), at which end its like is (0 upper, 1 lower), the
    agent's cell and the direction it faces, and how many steps each action leaves. To step onto an object at
    an end ends the episode, onto the right one with success; the one in the room is in the way like a wall.

    Args:
        size: cells along each side; odd.
        max_steps: time limit [control steps].
        device: where the tensors live.

    Raises:
        UserError: the size is even or too small.
    """

    def __init__(self, size: int = 11, max_steps: int = 100, device: str = "cpu") -> None:
        if size < _LEAST_SIZE or size % 2 == 0:
            raise UserError(f"task.size={size}: needs an odd number of at least {_LEAST_SIZE}")
        self.size = size
        spec = grid_spec("memory", PLANES, VIEW, _FACTS, TURNS, max_steps)
        super().__init__(spec, _tables(size, float(max_steps)), device)

    def picture(self, state: State) -> np.ndarray:
        """Return the map; what the agent sees is bright."""
        object_, goal_end, cell, heading = (fact[None] for fact in _facts(state["index"], self.size**2))
        kinds = _maps(object_, goal_end, self.size)
        shown = view_cells(self.size, self.size, VIEW)[cell * 4 + heading]
        visible = shown[0, _visible(kinds, shown)[0].flatten()]
        lit = torch.zeros(self.size**2 + 1, dtype=torch.bool).index_fill(0, visible, True)[:-1]
        colours = np.array(_RGB, np.uint8)[kinds[0].reshape(self.size, self.size).numpy()]
        x, y = int(cell) % self.size, int(cell) // self.size
        return draw(colours, x, y, int(heading), lit.reshape(self.size, self.size).numpy())


def _facts(index: Tensor, num_cells: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return object, end of the goal, flat cell and heading of states."""
    rest = index // 4
    return rest // (2 * num_cells), rest // num_cells % 2, rest % num_cells, index % 4


def _ends(size: int) -> tuple[int, int]:
    """Return the flat cells of the upper and the lower object at the crossing."""
    middle = size // 2
    return (middle - 2) * size + size - 2, (middle + 2) * size + size - 2


def _maps(object_: Tensor, goal_end: Tensor, size: int) -> Tensor:
    """Return the kinds of all cells (N, size * size) by the object (N,) and the end of its like (N,)."""
    middle = size // 2
    kinds = torch.full((len(object_), size, size), _WALL)
    kinds[:, middle - 1 : middle + 2, 1:4] = _FREE  # the room
    kinds[:, middle, 4 : size - 2] = _FREE  # the hallway
    kinds[:, middle - 2 : middle + 3, size - 2] = _FREE  # the crossing
    like = torch.where(object_ == 0, _ROUND, _SQUARE)
    other = _ROUND + _SQUARE - like
    kinds[:, middle - 1, 1] = like
    kinds = kinds.flatten(1)
    for end, cell in enumerate(_ends(size)):
        kinds[:, cell] = torch.where(goal_end == end, like, other)
    return kinds


def _visible(kinds: Tensor, shown: Tensor) -> Tensor:
    """Return (N, VIEW, VIEW) bool, what is seen of the cells `shown` (N, VIEW * VIEW) of maps (N, cells)."""
    beyond = torch.full((len(kinds), 1), _WALL)
    view = torch.cat([kinds, beyond], 1).gather(1, shown)
    return seen((view == _WALL).reshape(-1, VIEW, VIEW)) & (shown < kinds.shape[1]).reshape(-1, VIEW, VIEW)


def _tables(size: int, never: float) -> Tables:
    """Return the rules; a state is ((object * 2 + goal_end) * size**2 + cell) * 4 + heading."""
    index = torch.arange(16 * size**2)
    object_, goal_end, cell, heading = _facts(index, size**2)
    kinds = _maps(object_, goal_end, size)
    forward = torch.tensor(FORWARD)[heading]
    ahead = (cell + forward[:, 1] * size + forward[:, 0]).clamp(0, size**2 - 1)
    in_room = (size // 2 - 1) * size + 1
    kind_ahead = kinds.gather(1, ahead[:, None])[:, 0]
    there = torch.where((kind_ahead == _WALL) | (ahead == in_room), cell, ahead)
    world = (object_ * 2 + goal_end) * size**2
    turned = [(world + cell) * 4 + (heading + turn) % 4 for turn in (-1, 1)]
    following = torch.stack([*turned, (world + there) * 4 + heading], 1)  # (S, 3)
    ends = torch.tensor(_ends(size))
    success, failure = torch.zeros(2, len(index), 3, dtype=torch.bool)
    success[:, 2], failure[:, 2] = there == ends[goal_end], there == ends[1 - goal_end]
    reward = STEP_REWARD + GOAL_REWARD * success + FAILURE_REWARD * failure
    steps = steps_after(following, success | failure, success, never)
    x, y = cell % size, cell // size
    known = torch.stack([object_, goal_end, x, y, forward[:, 0], forward[:, 1]], 1)
    obs = {
        "grid": _grids(kinds, cell, heading, size),
        PRIVILEGED: torch.cat([known.to(steps.dtype), steps], 1),
    }
    starts = index[(y == size // 2) & (x >= 2) & (x <= size - 3) & (heading == 0)]
    return Tables(following, reward, success | failure, success, obs, starts)


def _grids(kinds: Tensor, cell: Tensor, heading: Tensor, size: int) -> Tensor:
    """Return what the student sees in states (S,), (S, 5, 5, 5) uint8."""
    shown = view_cells(size, size, VIEW)[cell * 4 + heading]
    beyond = torch.full((len(kinds), 1), _UNSEEN)
    view = torch.cat([kinds, beyond], 1).gather(1, shown).reshape(-1, VIEW, VIEW)
    return one_hot_planes(view.masked_fill(~_visible(kinds, shown), _UNSEEN), len(PLANES))
