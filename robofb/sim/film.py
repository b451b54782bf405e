"""Film the first episodes of an agent as one grid of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from robofb.interfaces import Agent, TaskEnv
from robofb.progress import progress_bar
from robofb.sim.render import write_video

_BORDER_PX = 4
_RUNNING, _SUCCESS, _FAILURE = (120, 125, 132), (46, 160, 90), (205, 60, 60)
_HOLD_S = 1.5


def film_episodes(
    agent: Agent,
    env: TaskEnv,
    seed: int,
    path: Path,
    *,
    camera: str = "front",
    columns: int = 3,
    height: int = 208,
    width: int = 272,
) -> Path:
    """Run one episode in every env of `env` and film all of them in a grid.

    A tile freezes when its episode ends; its border turns green for success, red for failure.

    Returns:
        The path of the mp4.
    """
    num = env.num_envs
    obs = env.reset(seed)
    agent.reset(torch.ones(num, dtype=torch.bool, device=env.device), env.episode_seed)
    running = np.ones(num, dtype=bool)
    frames: list[np.ndarray] = []
    with progress_bar(num, "film", "episode") as bar, env.renderer(height, width) as renderer:
        tiles = [_bordered(renderer.frame(world, camera), _RUNNING) for world in range(num)]
        while running.any():
            frames.append(_grid(tiles, columns))
            step = env.step(agent.next(obs))
            obs = step.obs
            for world in np.flatnonzero(running).tolist():
                if step.done[world]:  # the world is reset already: keep its last picture
                    colour = _SUCCESS if step.info["success"][world] else _FAILURE
                    tiles[world] = _bordered(
                        tiles[world][_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX], colour
                    )
                    running[world] = False
                    bar.update()
                else:
                    tiles[world] = _bordered(renderer.frame(world, camera), _RUNNING)
            agent.reset(step.done, env.episode_seed)
    rate = 1.0 / env.spec.control_dt
    frames += [_grid(tiles, columns)] * max(1, round(_HOLD_S * rate))
    return write_video(path, frames, rate)


def _bordered(frame: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    height, width, _ = frame.shape
    tile = np.empty((height + 2 * _BORDER_PX, width + 2 * _BORDER_PX, 3), np.uint8)
    tile[:] = colour
    tile[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX] = frame
    return tile


def _grid(tiles: list[np.ndarray], columns: int) -> np.ndarray:
    """Lay tiles (H, W, 3) out in rows of `columns`, the last row filled with black."""
    blank = np.zeros_like(tiles[0])
    filled = tiles + [blank] * (-len(tiles) % columns)
    rows = [np.concatenate(filled[start : start + columns], 1) for start in range(0, len(filled), columns)]
    return np.concatenate(rows, 0)
