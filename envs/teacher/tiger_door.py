"""Tiger Door: the goal and the lava look the same until a button, off the way, is stepped on.

Shenfeld et al., "TGRL: An Algorithm for Teacher Guided Reinforcement Learning" (arXiv 2307.03186).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robofb.envs.teacher.grid import (
    BUTTON_RGB,
    FAILURE_REWARD,
    FREE_RGB,
    GOAL_REWARD,
    GOAL_RGB,
    LAVA_RGB,
    STEP_REWARD,
    WALL_RGB,
    draw,
    grid_spec,
    one_hot_planes,
)
from robofb.envs.teacher.tabular import Tables, TabularTask, steps_after
from robofb.sim.torch_env import State
from robofb.types import PRIVILEGED

SIZE = 7
START, BUTTON = (1, 1), (1, 4)
DOORS = ((5, 2), (5, 4))
CELLS = ((1, 1), (1, 2), (1, 3), BUTTON, (2, 3), (3, 2), (3, 3), (3, 4), (4, 2), (4, 4), *DOORS)  # free ones
ACTIONS = ("up", "right", "down", "left")
_MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))

PLANES = ("wall", "free", "button", "unknown", "goal", "lava", "agent")
_WALL, _FREE, _BUTTON, _UNKNOWN, _GOAL, _LAVA, _AGENT = range(len(PLANES))
_FACTS = ("goal_door", "revealed", "agent_x", "agent_y")


class TigerDoor(TabularTask):
    """Walk to the right one of two doors, which only a detour by the button tells apart.

    Observations: "grid" (7, 7, 7) uint8, the `PLANES` of the map as the student knows it; `PRIVILEGED` (8,):
    which of `DOORS` is the goal, whether the button was pressed, the agent's cell, and how many steps each
    action leaves. A move against a wall stays where it is. The other door is lava: it ends the episode too.

    Args:
        max_steps: time limit [control steps].
        device: where the tensors live.
    """

    def __init__(self, max_steps: int = 100, device: str = "cpu") -> None:
        spec = grid_spec("tiger_door", PLANES, SIZE, _FACTS, ACTIONS, max_steps)
        super().__init__(spec, _tables(float(max_steps)), device)

    def picture(self, state: State) -> np.ndarray:
        """Return the true map, with the door that is the goal green, and greyed while unknown."""
        goal, revealed, cell = _facts(state["index"])
        colours = np.full((SIZE, SIZE, 3), WALL_RGB, np.uint8)
        for x, y in CELLS:
            colours[y, x] = FREE_RGB
        lit = np.ones((SIZE, SIZE), bool)
        colours[BUTTON[1], BUTTON[0]] = BUTTON_RGB
        for door, (x, y) in enumerate(DOORS):
            colours[y, x] = GOAL_RGB if door == goal else LAVA_RGB
            lit[y, x] = bool(revealed)
        x, y = CELLS[int(cell)]
        return draw(colours, x, y, None, lit)


def _facts(index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return which door is the goal, whether the button was pressed, and which of `CELLS` the agent is in."""
    return index // (2 * len(CELLS)), index // len(CELLS) % 2, index % len(CELLS)


def _tables(never: float) -> Tables:
    """Return the rules; a state is (goal * 2 + revealed) * len(CELLS) + cell."""
    index = torch.arange(4 * len(CELLS))
    goal, revealed, cell = _facts(index)
    place = {xy: number for number, xy in enumerate(CELLS)}
    moved = torch.tensor(
        [[place.get((x + dx, y + dy), place[x, y]) for dx, dy in _MOVES] for x, y in CELLS]
    )  # (cells, 4)
    there = moved[cell]  # (S, 4)
    pressed = torch.maximum(revealed[:, None], (there == place[BUTTON]).to(torch.int64))
    door_cells = torch.tensor([place[xy] for xy in DOORS])
    success, failure = there == door_cells[goal][:, None], there == door_cells[1 - goal][:, None]
    reward = STEP_REWARD + GOAL_REWARD * success + FAILURE_REWARD * failure
    next_index = (goal[:, None] * 2 + pressed) * len(CELLS) + there
    steps = steps_after(next_index, success | failure, success, never)
    xy = torch.tensor(CELLS)[cell]
    known = torch.stack([goal, revealed, xy[:, 0], xy[:, 1]], 1)
    obs = {"grid": _grids(goal, revealed, xy), PRIVILEGED: torch.cat([known.to(steps.dtype), steps], 1)}
    starts = index[(revealed == 0) & (cell == place[START])]
    return Tables(next_index, reward, success | failure, success, obs, starts)


def _grids(goal: Tensor, revealed: Tensor, xy: Tensor) -> Tensor:
    """Return what the student sees in states (S,), (S, 7, 7, 7) uint8."""
    kinds = torch.full((len(goal), SIZE, SIZE), _WALL)
    for x, y in CELLS:
        kinds[:, y, x] = _FREE
    kinds[:, BUTTON[1], BUTTON[0]] = _BUTTON
    for door, (x, y) in enumerate(DOORS):
        truth = torch.where(goal == door, _GOAL, _LAVA)
        kinds[:, y, x] = torch.where(revealed == 1, truth, _UNKNOWN)
    planes = one_hot_planes(kinds, len(PLANES))
    planes[torch.arange(len(goal)), _AGENT, xy[:, 1], xy[:, 0]] = 1
    return planes
