"""Show trials: each world on film, and under it which tasks the belief holds likely."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from robofb.interfaces import TaskEnv
from robofb.policies.trial_agents import BeliefAgent
from robofb.progress import progress_bar
from robofb.rl.borel.belief import Belief
from robofb.sim.render import write_video

SIZE_PX = 200
_MARGIN_PX, _GAP_PX = 20, 8
_PAPER, _INK, _TRUE = (250, 250, 248), (28, 92, 160), (214, 60, 46)
_FAINT = 0.06  # of a candidate that is certainly not the one

Chances = Callable[[Belief], Tensor]


def draw_map(
    params: np.ndarray, chances: np.ndarray, true: np.ndarray, downwards: bool = False
) -> np.ndarray:
    """Return a picture (200, 200, 3) uint8 of candidates' first two parameters, the darker the likelier.

    Of a single parameter there are bars side by side. What is true is marked in red.

    Args:
        params: (C, P).
        chances: (C,); the largest is drawn darkest.
        true: (P,).
        downwards: whether the second parameter grows down the picture, as cells are counted.
    """
    picture = np.full((SIZE_PX, SIZE_PX, 3), _PAPER, np.uint8)
    low, high = (end(np.vstack([params, true[None]]), axis=0) for end in (np.min, np.max))
    room = SIZE_PX - 2 * _MARGIN_PX
    share = (np.vstack([params, true[None]]) - low) / np.where(high > low, high - low, 1.0)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    strength = chances / chances.max()
    if params.shape[1] == 1:
        across = _MARGIN_PX + share[:, 0] * room
        half = max(1.0, 0.4 * room / max(1, len(params) - 1))
        for at, height in zip(across, strength, strict=False):
            bar = (abs(x - at) <= half) & (y <= SIZE_PX - _MARGIN_PX)
            picture[bar & (y >= SIZE_PX - _MARGIN_PX - max(2.0, height * room))] = _INK
        picture[(abs(x - across[-1]) <= 1) & (y > SIZE_PX - _MARGIN_PX)] = _TRUE
        return picture
    down = share[:, 1] if downwards else 1 - share[:, 1]
    across, down = _MARGIN_PX + share[:, 0] * room, _MARGIN_PX + down * room
    radius = min(9.0, 0.4 * room / max(1.0, len(params) ** 0.5 - 1))
    for index in np.argsort(strength):
        dot = np.hypot(x - across[index], y - down[index]) <= radius
        shade = _FAINT + (1 - _FAINT) * strength[index]
        picture[dot] = (1 - shade) * np.array(_PAPER) + shade * np.array(_INK)
    away = np.hypot(x - across[-1], y - down[-1])
    picture[(away > radius + 1) & (away <= radius + 4)] = _TRUE
    return picture


def film_trials(
    agent: BeliefAgent,
    env: TaskEnv,
    params: Tensor,
    candidates: Tensor,
    chances: Chances,
    episodes: int,
    seed: int,
    film: Path,
    picture: Path,
    downwards: bool = False,
) -> None:
    """Run a trial in every env and film them side by side; picture beliefs at the ends of episodes.

    Args:
        agent: acts.
        env: N envs, held to tasks.
        params: (N, P) of these.
        candidates: (C, P) tasks that beliefs are shown over.
        chances: returns how likely each is, (N, C).
        episodes: in a trial.
        seed: of start states.
        film: the mp4 that is written; worlds above, beliefs below.
        downwards: see `draw_map`.
        picture: the png that is written: a row for each trial, its belief at first and after each episode.

    Raises:
        UserError: this machine cannot render, or cannot write them.
    """
    import imageio.v2 as imageio  # imports slowly, and only pictures need it

    num = env.num_envs

    def maps() -> list[np.ndarray]:
        shown = chances(agent.belief)
        rows = zip(shown.numpy(), params.numpy(), strict=True)
        return [draw_map(candidates.numpy(), each, true, downwards) for each, true in rows]

    obs = env.reset(seed)
    agent.begin(env.episode_seed)
    finished = np.zeros(num, dtype=int)
    tiles = maps()
    columns, frames = [[tile] for tile in tiles], []
    with progress_bar(num * episodes, "film", "episode") as bar, env.renderer(SIZE_PX, SIZE_PX) as renderer:
        while (finished < episodes).any():
            worlds = [fitted(renderer.frame(row)) for row in range(num)]
            frames.append(stacked([stacked([w, t], 0) for w, t in zip(worlds, tiles, strict=True)], 1))
            action = agent.next(obs)
            step = env.step(action)
            agent.watch(obs, action, step)
            tiles, obs = maps(), step.obs
            for row in np.flatnonzero(step.done.cpu().numpy() & (finished < episodes)).tolist():
                finished[row] += 1
                columns[row].append(tiles[row])
                bar.update()
    write_video(film, frames, 1.0 / env.spec.control_dt)
    imageio.imwrite(picture, stacked([stacked(row, 1) for row in columns], 0))


def fitted(frame: np.ndarray) -> np.ndarray:
    """Return a picture (h, w, 3) of at most the tile's size in the middle of a tile."""
    tile = np.full((SIZE_PX, SIZE_PX, 3), _PAPER, np.uint8)
    height, width, _ = frame.shape
    top, left = (SIZE_PX - height) // 2, (SIZE_PX - width) // 2
    tile[top : top + height, left : left + width] = frame
    return tile


def stacked(pictures: list[np.ndarray], axis: int) -> np.ndarray:
    """Return pictures below (axis 0) or beside (1) each other, with gaps."""
    shape = list(pictures[0].shape)
    shape[axis] = _GAP_PX
    gap = np.full(shape, 255, np.uint8)
    return np.concatenate([part for each in pictures for part in (each, gap)][:-1], axis)
