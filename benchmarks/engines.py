"""The same scripted episodes on every engine: do they succeed equally often?

python benchmarks/engines.py [--task one_leg_insert] [--episodes 256] [--noise 1.0] [--seed 0] [--device auto]

Closed loop: the expert watches what happens. Start states and the expert's errors are the same on all
engines, episode by episode; whatever hangs on a contact's rounding is not, so outcomes are compared as
rates with Wilson 95 % intervals, which must overlap, and pair by pair. Physics runs in float64 on MuJoCo
and float32 on MuJoCo Warp; Warp compiles for up to a minute on a fresh machine, which is not timed. What
was measured of other tasks and devices stays saved.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np
import torch
from results import add_row

from robofb.envs import make_task
from robofb.evaluate import Evaluation, evaluate
from robofb.interfaces import ScriptedTask
from robofb.sim.mujoco_engine import MujocoEngine
from robofb.sim.vec_env import SimVecEnv
from robofb.sim.warp_engine import WarpEngine


def play(engine: Any, task_name: str, episodes: int, num_envs: int, noise: float, seed: int) -> Evaluation:
    """Let the expert play `episodes` on an engine."""
    env = SimVecEnv(make_task(task_name), num_envs, engine)
    assert isinstance(env.task, ScriptedTask)
    env.engine.step(1)  # compiles
    result = evaluate(env.task.expert(num_envs, noise), env, episodes, seed)
    env.close()
    return result


def main() -> None:
    """Play, compare and save the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="one_leg_insert")
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="of MuJoCo Warp")
    args = parser.parse_args()
    torch.set_num_threads(1)
    engines = {"mujoco": MujocoEngine, "warp": partial(WarpEngine, device=args.device)}
    played = {
        name: play(engine, args.task, args.episodes, args.num_envs, args.noise, args.seed)
        for name, engine in engines.items()
    }
    rates = [result.rate for result in played.values()]
    same = np.logical_and.reduce([result.success == played["mujoco"].success for result in played.values()])
    facts = {
        "task": args.task,
        "intervals_overlap": max(rate.low for rate in rates) <= min(rate.high for rate in rates),
        "same_outcome": int(same.sum()),
        "engines": {name: result.to_dict() for name, result in played.items()},
        "noise": args.noise,
        "device": args.device,
    }
    add_row("engines", "tasks", facts, ("task", "device"))


if __name__ == "__main__":
    main()
