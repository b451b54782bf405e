"""Make docs/images/<task>.png: each task some way through an episode of its expert or its teacher, if any.

python benchmarks/task_pictures.py [--tasks one_leg ...] [--share 0.5]

A figure for a paper, with the arm and the parts from the user's assets where `--looks` asks for them:

python benchmarks/task_pictures.py --tasks one_leg --camera figure --size 1200 1600 --looks meshes --out plots

Shadows, anti-aliasing and fine curves are asked for here alone: they cost many times the frame where OpenGL
is software. Shadows are soft because a picture is the mean of several, each with the light from elsewhere.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import torch

from robofb.envs import engine_task_names, make_task, task_names
from robofb.envs.looks.show import LOOKS
from robofb.interfaces import ScriptedTask, TaughtTask
from robofb.rng import derive_seeds
from robofb.sim.render import Renderer
from robofb.sim.vec_env import SimVecEnv
from robofb.types import Obs

SAMPLES, SHADOW_PX = 8, 4096
CURVES = (64, 32, 8)  # slices, stacks and quads of round and flat shapes
LIGHT_RADIUS = 0.06  # of the light as seen from the scene [rad]: 12 times the sun's
FOLDER = Path(__file__).parents[1] / "docs/images"
SHARE = 0.3  # of the episode
SHARES = {"one_leg": 0.75}  # where the arm hides the parts then
BY_OTHERS = ("pen_by_touch",)  # tasks whose scene another package brings: drawn where asked for


def draw(name: str, args: argparse.Namespace) -> Path:
    """Play an episode twice: to learn its length, and to the moment of the picture."""
    if name not in engine_task_names():
        return _save(name, _taught(make_task(name), args), args.out)
    task = make_task(name, **({} if args.looks == "primitive" else {"looks": args.looks}))
    env = SimVecEnv(task, 1, autoreset=False)
    seeds = derive_seeds(args.seed, torch.tensor([0]))
    share = SHARES.get(name, SHARE) if args.share is None else args.share
    moment = int(share * _play(env, seeds, task.spec.max_steps))
    _play(env, seeds, moment)
    height, width = args.size
    picture = _picture(env, args.camera, height, width, args.light)
    env.close()
    return _save(name, picture, args.out)


def _save(name: str, picture: np.ndarray, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    imageio.imwrite(path, picture)
    return path


def _picture(env: SimVecEnv, camera: str, height: int, width: int, lights: int) -> np.ndarray:
    """Return the mean of pictures (H, W, 3) in each of which the first light stands elsewhere in its disc."""
    visual, model = env.engine.model.vis, env.engine.model
    visual.quality.offsamples, visual.quality.shadowsize = SAMPLES, SHADOW_PX
    visual.quality.numslices, visual.quality.numstacks, visual.quality.numquads = CURVES
    visual.global_.offheight, visual.global_.offwidth = height, width
    middle = model.light_dir[0] / np.linalg.norm(model.light_dir[0])
    aside = np.cross(middle, [0.0, 0.0, 1.0])
    aside /= np.linalg.norm(aside)
    total = np.zeros((height, width, 3))
    with Renderer(env.engine, height, width) as renderer:
        for index in range(lights):
            reach = LIGHT_RADIUS * math.sqrt((index + 0.5) / lights)  # a sunflower's seeds fill the disc
            angle = index * math.pi * (3 - math.sqrt(5))
            offset = math.cos(angle) * aside + math.sin(angle) * np.cross(aside, middle)
            model.light_dir[0] = middle + reach * offset
            total += renderer.frame(0, camera)
    model.light_dir[0] = middle
    mean: np.ndarray = (total / lights).round().astype(np.uint8)
    return mean


def _taught(task: Any, args: argparse.Namespace) -> np.ndarray:
    """Let the teacher play an episode; return the picture of its moment `share`."""
    teacher, env = task.teacher(), task.make_env(1)
    obs, pictures, done = env.reset(args.seed), [], False
    height, width = args.size
    with env.renderer(height, width) as renderer:
        while not done:
            pictures.append(renderer.frame(0))
            step = env.step(teacher.answer(obs).argmax(-1, keepdim=True))
            obs, done = step.obs, bool(step.done)
    return pictures[int((SHARE if args.share is None else args.share) * len(pictures))]


def _play(env: SimVecEnv, seeds: torch.Tensor, steps: int) -> int:
    """Let the expert, without noise, or the teacher play up to `steps`; return how many the episode took."""
    obs = env.repeat(seeds)
    choose = _player(env)
    for index in range(steps):
        step = env.step(choose(obs))
        obs = step.obs
        if step.done.any():
            return index + 1
    return steps


def _player(env: SimVecEnv) -> Callable[[Obs], torch.Tensor]:
    """Return what answers observations with the actions of the task's expert or teacher, or with zeros."""
    if isinstance(env.task, TaughtTask):
        return env.task.teacher().answer
    if not isinstance(env.task, ScriptedTask):
        return lambda obs: torch.zeros(1, *env.spec.action.shape)
    agent = env.task.expert(1, 0.0)
    agent.reset(torch.ones(1, dtype=torch.bool), env.episode_seed)
    return agent.next


def main() -> None:
    """Draw the pictures asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tasks", nargs="+", default=sorted({*task_names()} - {*BY_OTHERS}), choices=task_names()
    )
    parser.add_argument(
        "--share", type=float, help="of the episode, at which to look; each task's own if not said"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--camera", default="front", help="front, wrist or figure")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), help="height and width [px]")
    parser.add_argument("--light", type=int, default=64, help="pictures that one is the mean of")
    parser.add_argument("--looks", default="primitive", choices=LOOKS)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the pictures")
    args = parser.parse_args()
    for name in args.tasks:
        print(draw(name, args))


if __name__ == "__main__":
    main()
