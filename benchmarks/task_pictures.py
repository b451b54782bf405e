"""Make docs/images/<task>.png: each furniture task some way through an episode of its expert.

python benchmarks/task_pictures.py [--tasks one_leg ...] [--share 0.3]

Shadows and anti-aliasing are asked for here alone: they cost many times the frame where OpenGL is software.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import imageio.v2 as imageio
import torch

from robofb.envs import make_task, task_names
from robofb.interfaces import ScriptedTask
from robofb.rng import derive_seeds
from robofb.sim.render import Renderer
from robofb.sim.vec_env import SimVecEnv

HEIGHT, WIDTH = 480, 640
SAMPLES, SHADOW_PX = 8, 4096
FOLDER = Path(__file__).parents[1] / "docs/images"


def draw(name: str, share: float, seed: int) -> Path:
    """Play an episode twice: to learn its length, and to the moment of the picture."""
    task = make_task(name)
    assert isinstance(task, ScriptedTask)
    env = SimVecEnv(task, 1, autoreset=False)
    seeds = derive_seeds(seed, torch.tensor([0]))
    moment = int(share * _play(env, seeds, task.spec.max_steps))
    _play(env, seeds, moment)
    quality = env.engine.model.vis.quality
    quality.offsamples, quality.shadowsize = SAMPLES, SHADOW_PX
    with Renderer(env.engine, HEIGHT, WIDTH) as renderer:
        picture = renderer.frame(0, "front")
    env.close()
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.png"
    imageio.imwrite(path, picture)
    return path


def _play(env: SimVecEnv, seeds: torch.Tensor, steps: int) -> int:
    """Let the expert play up to `steps`, without noise; return how many it took."""
    task = env.task
    assert isinstance(task, ScriptedTask)
    agent = task.expert(1, 0.0)
    obs = env.repeat(seeds)
    agent.reset(torch.ones(1, dtype=torch.bool), env.episode_seed)
    for index in range(steps):
        step = env.step(agent.next(obs))
        obs = step.obs
        if step.done.any():
            return index + 1
    return steps


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
