"""Make docs/images/<task>.png: each task some way through an episode of its expert or its teacher.

python benchmarks/task_pictures.py [--tasks one_leg ...] [--share 0.3]

Shadows and anti-aliasing are asked for here alone: they cost many times the frame where OpenGL is software.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import torch

from robofb.envs import make_task, task_names
from robofb.interfaces import ScriptedTask, TaughtTask
from robofb.rng import derive_seeds
from robofb.sim.render import Renderer
from robofb.sim.vec_env import SimVecEnv
from robofb.types import Obs

HEIGHT, WIDTH = 480, 640
SAMPLES, SHADOW_PX = 8, 4096
FOLDER = Path(__file__).parents[1] / "docs/images"


def draw(name: str, share: float, seed: int) -> Path:
    """Play an episode twice: to learn its length, and to the moment of the picture."""
    task = make_task(name)
    if hasattr(task, "make_env"):
        return _save(name, _taught(task, share, seed))
    env = SimVecEnv(task, 1, autoreset=False)
    seeds = derive_seeds(seed, torch.tensor([0]))
    moment = int(share * _play(env, seeds, task.spec.max_steps))
    _play(env, seeds, moment)
    quality = env.engine.model.vis.quality
    quality.offsamples, quality.shadowsize = SAMPLES, SHADOW_PX
    with Renderer(env.engine, HEIGHT, WIDTH) as renderer:
        picture = renderer.frame(0, "front")
    env.close()
    return _save(name, picture)


def _save(name: str, picture: np.ndarray) -> Path:
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.png"
    imageio.imwrite(path, picture)
    return path


def _taught(task: Any, share: float, seed: int) -> np.ndarray:
    """Let the teacher play an episode; return the picture of its moment `share`."""
    teacher, env = task.teacher(), task.make_env(1)
    obs, pictures, done = env.reset(seed), [], False
    with env.renderer(HEIGHT, WIDTH) as renderer:
        while not done:
            pictures.append(renderer.frame(0))
            step = env.step(teacher.answer(obs).argmax(-1, keepdim=True))
            obs, done = step.obs, bool(step.done)
    return pictures[int(share * len(pictures))]


def _play(env: SimVecEnv, seeds: torch.Tensor, steps: int) -> int:
    """Let the expert, without noise, or the teacher play up to `steps`; return how many it took."""
    obs = env.repeat(seeds)
    choose = _player(env)
    for index in range(steps):
        step = env.step(choose(obs))
        obs = step.obs
        if step.done.any():
            return index + 1
    return steps


def _player(env: SimVecEnv) -> Callable[[Obs], torch.Tensor]:
    """Return what answers observations with the actions of the task's expert, or else of its teacher."""
    if isinstance(env.task, TaughtTask):
        return env.task.teacher().answer
    assert isinstance(env.task, ScriptedTask)
    agent = env.task.expert(1, 0.0)
    agent.reset(torch.ones(1, dtype=torch.bool), env.episode_seed)
    return agent.next


def main() -> None:
    """Draw the pictures asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", default=task_names(), choices=task_names())
    parser.add_argument("--share", type=float, default=0.3, help="of the episode, at which to look")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in args.tasks:
        print(draw(name, args.share, args.seed))


if __name__ == "__main__":
    main()
