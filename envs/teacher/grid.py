"""What worlds on a grid share: directions, what is seen of them, and pictures.

Cells are (x, y) with x to the right and y down; flat, y * width + x. Headings: 0 right, 1 down, 2 left, 3 up.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from robofb.envs.teacher.shortest_path import steps_after_names
from robofb.sim.success import STAGES
from robofb.types import PRIVILEGED, ArraySpec, EnvSpec

FORWARD = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""One cell ahead, by heading."""

STEP_REWARD, GOAL_REWARD, FAILURE_REWARD = -2.0, 100.0, -100.0
"""Every step costs; those that end the episode pay on top of it."""

CONTROL_DT_S = 0.25
"""Nothing here takes time; films show four moves a second."""

TURNS = ("turn_left", "turn_right", "forward")
"""The actions of an agent that looks where it goes."""

CELL_PX = 16  # films need multiples of 8

FREE_RGB, WALL_RGB, AGENT_RGB = (235, 235, 230), (70, 74, 82), (200, 50, 50)
GOAL_RGB, LAVA_RGB, BUTTON_RGB = (60, 160, 90), (240, 140, 40), (60, 110, 200)


def grid_spec(
    task: str,
    planes: tuple[str, ...],
    size: int,
    facts: tuple[str, ...],
    actions: tuple[str, ...],
    max_steps: int,
) -> EnvSpec:
    """Return the spec of a world on a grid.

    Args:
        planes: what the cells of "grid", (planes, size, size) uint8, can be.
        facts: names of what `PRIVILEGED` holds before the steps that each action leaves.
    """
    names = (*facts, *steps_after_names(actions))
    obs = {
        "grid": ArraySpec((len(planes), size, size), "uint8", f"1 where the cell is {', '.join(planes)}"),
        PRIVILEGED: ArraySpec((len(names),), unit="cells and steps", names=names),
    }
    said = ", ".join(f"{choice} {action}" for choice, action in enumerate(actions))
    action = ArraySpec((1,), "int64", said, (0,), (len(actions) - 1,), ("move",))
    return EnvSpec(task, obs, action, CONTROL_DT_S, max_steps, STAGES)


def view_cells(width: int, height: int, view: int) -> Tensor:
    """Return (width * height * 4, view * view) int64: the cell that each square of an agent's view shows.

    Rows are flat cell * 4 + heading. A view is `view` cells square, row by row: the agent stands in the
    middle of its last row and looks towards the first. What lies beyond the grid has number width * height.
    """
    cell, heading = torch.arange(width * height).repeat_interleave(4), torch.arange(4).repeat(width * height)
    ahead = torch.arange(view - 1, -1, -1).repeat_interleave(view)  # (view * view,)
    right = torch.arange(view).repeat(view) - view // 2
    forward = torch.tensor(FORWARD)[heading]  # (N, 2); to the right of (x, y) lies (-y, x)
    x = (cell % width)[:, None] + ahead * forward[:, :1] - right * forward[:, 1:]
    y = (cell // width)[:, None] + ahead * forward[:, 1:] + right * forward[:, :1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return torch.where(inside, y * width + x, width * height)


def seen(opaque: Tensor) -> Tensor:
    """Return which squares of views (N, V, V) an agent in the middle of the last row sees, (N, V, V) bool.

    Sight spreads from it through squares that are not `opaque`, from side to side, as far as the view goes;
    the squares that touch these, also by a corner, are seen, opaque or not.
    """
    size = opaque.shape[-1]
    reached = torch.zeros(opaque.shape)[:, None]
    reached[..., size - 1, size // 2] = 1.0
    clear = (~opaque)[:, None].to(reached.dtype)
    for _ in range(size * size):
        upright, level = F.max_pool2d(reached, (3, 1), 1, (1, 0)), F.max_pool2d(reached, (1, 3), 1, (0, 1))
        reached = torch.maximum(reached, torch.maximum(upright, level) * clear)
    return F.max_pool2d(reached, 3, 1, 1)[:, 0].to(torch.bool)


def one_hot_planes(kinds: Tensor, count: int) -> Tensor:
    """Return kinds (B, H, W) of cells as planes (B, count, H, W) uint8, 1 where a cell is of that kind."""
    kind = torch.arange(count, dtype=kinds.dtype, device=kinds.device).repeat_interleave(kinds[0].numel())
    planes = kinds.flatten(1).repeat(1, count) == kind  # twice as fast as broadcasting
    return planes.view(torch.uint8).reshape(len(kinds), count, *kinds.shape[1:])  # bools are bytes


def draw(
    colours: np.ndarray, x: int, y: int, heading: int | None, lit: np.ndarray | None = None
) -> np.ndarray:
    """Return a picture (H * CELL_PX, W * CELL_PX, 3) uint8 of a grid and the agent on it.

    Args:
        colours: (H, W, 3) uint8 of the cells.
        x, y: the agent's cell.
        heading: to which its wedge points; None draws a disc.
        lit: (H, W) bool, cells that the agent sees; the others are darker. None: no difference.
    """
    shade = np.ones(colours.shape[:2]) if lit is None else np.where(lit, 1.0, 0.65)
    picture = (colours * shade[..., None]).astype(np.uint8).repeat(CELL_PX, 0).repeat(CELL_PX, 1)
    picture[::CELL_PX] = picture[:, ::CELL_PX] = 150  # lines between cells
    centre = np.arange(CELL_PX) - (CELL_PX - 1) / 2
    right, down = np.meshgrid(centre, centre)
    if heading is None:
        agent = np.hypot(right, down) < 0.36 * CELL_PX
    else:
        dx, dy = FORWARD[heading]
        ahead, aside = right * dx + down * dy, right * -dy + down * dx
        agent = (ahead > -0.36 * CELL_PX) & (2 * np.abs(aside) < 0.36 * CELL_PX - ahead)
    tile = picture[y * CELL_PX : (y + 1) * CELL_PX, x * CELL_PX : (x + 1) * CELL_PX]
    tile[agent] = AGENT_RGB
    return picture
