"""Success of every task's scripted expert, from low to high randomness.

python benchmarks/experts.py [--tasks one_leg ...] [--levels low med high] [--episodes 256] [--noise 1.0]

Episodes 0 .. N-1 of the seed, each played once to its end; intervals are Wilson 95 %. What was measured
before of other tasks and levels stays in the saved file. Speed counts the steps of these episodes alone.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from results import add_row

from robofb.envs import make_task, scripted_task_names
from robofb.evaluate import evaluate
from robofb.interfaces import ScriptedTask
from robofb.provenance import machine
from robofb.sim.vec_env import SimVecEnv

LEVELS = ("low", "med", "high")


def measure(name: str, level: str, episodes: int, num_envs: int, noise: float, seed: int) -> dict[str, Any]:
    """Return the figures of one task at one level."""
    task = make_task(name, randomness=level)
    assert isinstance(task, ScriptedTask)
    env = SimVecEnv(task, num_envs)
    started = time.process_time()
    result = evaluate(task.expert(num_envs, noise), env, episodes, seed)
    seconds = time.process_time() - started
    env.close()
    won = result.length[result.success]
    return {
        "task": name,
        "randomness": level,
        "noise": noise,
        "episodes": episodes,
        "seed": seed,
        "successes": result.rate.successes,
        "percent": 100 * result.rate.rate,
        "low": 100 * result.rate.low,
        "high": 100 * result.rate.high,
        "length_mean": float(won.mean()) if len(won) else None,
        "length_max": int(won.max()) if len(won) else None,
        "stages_of_failures": result.failures,
        "part_overlap_max_mm": 1000 * float(result.metrics["part_overlap"][result.success].max(initial=0.0)),
        "env_steps_per_cpu_s": float(result.length.sum()) / seconds,
        "num_envs": num_envs,
        "machine": machine(),
    }


def row(figures: dict[str, Any]) -> str:
    """Return a line of the table."""
    length = f"{figures['length_mean']:.0f} ({figures['length_max']})" if figures["length_mean"] else "-"
    return (
        f"| {figures['task']} | {figures['randomness']} | {figures['noise']:g} | "
        f"{figures['percent']:.1f} [{figures['low']:.1f}, {figures['high']:.1f}] | {length} | "
        f"{figures['env_steps_per_cpu_s']:.0f} |"
    )


def main() -> None:
    """Measure, print the table, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", default=scripted_task_names(), choices=scripted_task_names())
    parser.add_argument("--levels", nargs="+", default=list(LEVELS), choices=LEVELS)
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| task | randomness | noise | success, % | steps (longest) | env steps per CPU second |")
    print("|---|---|---|---|---|---|")
    for name in args.tasks:
        for level in args.levels:
            figures = measure(name, level, args.episodes, args.num_envs, args.noise, args.seed)
            print(row(figures), flush=True)
            add_row("experts", "experts", figures, ("task", "randomness", "noise"))


if __name__ == "__main__":
    main()
