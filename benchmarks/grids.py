"""Env steps/s of the gridworlds, auto-resets included, with random actions.

python benchmarks/grids.py [--num-envs 256 1024 4096 16384] [--processes 2] [--budget-s 10]

Each process runs one env on one thread, and all run at once; `steps_per_s` is of all. Random actions
end episodes of Lava Crossing after some 14 steps, where a teacher takes 31: resets are more than paid for.
`cpu_us` is process time per env step and `steps_per_cpu_s` its inverse: other programs disturb them less.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from typing import Any

import torch
from results import save_result

from robofb.envs import make_task

NAMES = ("tiger_door", "memory", "lava_crossing")
_ROUNDS = 50


def measure(name: str, num_envs: int, budget_s: float, seed: int) -> dict[str, float]:
    """Step one env for a while; return env steps, wall and process seconds, and episodes."""
    torch.set_num_threads(1)
    env = make_task(name).make_env(num_envs)
    env.reset(seed)
    generator = torch.Generator().manual_seed(seed)
    shape, choices = (_ROUNDS, num_envs, 1), int(env.spec.action.high[0]) + 1
    actions = torch.randint(0, choices, shape, generator=generator)
    for action in actions:
        env.step(action)
    first, steps = int(env.episode.max()), 0
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall_s < budget_s:
        for action in actions:
            env.step(action)
        steps += _ROUNDS * num_envs
    seconds = {"wall_s": time.perf_counter() - wall_s, "cpu_s": time.process_time() - cpu_s}
    return {"steps": steps, "episodes": int(env.episode.max()) - first, **seconds}


def together(name: str, num_envs: int, processes: int, budget_s: float) -> dict[str, float]:
    """Return the figures of several processes that run at once."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        parts = pool.starmap(measure, [(name, num_envs, budget_s, seed) for seed in range(processes)])
    total: dict[str, float] = {key: sum(part[key] for part in parts) for key in parts[0]}
    return {
        "steps_per_s": sum(part["steps"] / part["wall_s"] for part in parts),
        "steps_per_cpu_s": total["steps"] / total["cpu_s"],
        "cpu_us": 1e6 * total["cpu_s"] / total["steps"],
        "steps_per_episode": total["steps"] / max(total["episodes"], 1),
        "share_of_a_core": total["cpu_s"] / total["wall_s"],
    }


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-envs", type=int, nargs="+", default=[256, 1024, 4096, 16384])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--budget-s", type=float, default=10.0, help="of each measurement")
    args = parser.parse_args()
    figures: dict[str, Any] = {
        name: {str(size): together(name, size, args.processes, args.budget_s) for size in args.num_envs}
        for name in NAMES
    }
    best = {name: max(size["steps_per_s"] for size in sizes.values()) for name, sizes in figures.items()}
    best_cpu = {
        name: max(size["steps_per_cpu_s"] for size in sizes.values()) for name, sizes in figures.items()
    }
    save_result(
        "grids",
        {
            "least_steps_per_s": min(best.values()),
            "least_steps_per_cpu_s": min(best_cpu.values()),
            "processes": args.processes,
            "num_envs": figures,
        },
    )


if __name__ == "__main__":
    main()
