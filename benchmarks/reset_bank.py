"""A residual on a weak base: with a reset bank against without, the same budget and seed.

python benchmarks/reset_bank.py [--demos 10] [--env-steps 300000] [--states 4000] [--bank-share 0.5]
    [--seeds 0] [--episodes 256] [--work runs/bank-benchmark]

One base policy of one_leg_insert is cloned from a few scripted demonstrations; the bank is made backwards
from the assembled pose, without them. Evaluation is on the task's own start states, which nothing else uses.
A finished part is kept in the work folder and an interrupted one goes on.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from cells import call, kept, percent, pooled
from results import save_result

from robofb.run import Run, is_run

TASK = "one_leg_insert"
EVALUATION_SEED, DEMONSTRATION_SEED = 50_000_000, 60_000_000
BC_WORDS = ("policy=mlp_diffusion", "steps=2000", "lr=0.002", "precision=float32", "threads=1")
METHODS = ("base", "without", "with")


def weak_base(work: Path, demos: int) -> Path:
    """Clone the base policy, unless it is there; return its run."""
    data, run = work / "demonstrations", work / "base"
    if not data.is_dir():
        call("collect", f"task={TASK}", f"episodes={demos}", f"seed={DEMONSTRATION_SEED}", f"out={data}")
    fresh = (f"task={TASK}", f"data={data}", "seed=0", *BC_WORDS, f"out={run}")
    call("train", "bc", *((f"resume={run}",) if is_run(run) else fresh))
    return run


def bank_of(work: Path, states: int) -> Path:
    """Make the bank, unless it is there; return its file."""
    path = work / "bank.npz"
    if not path.is_file():
        call("data", "bank", "--task", TASK, "--states", states, "--out", path)
    return path


def trained(args: argparse.Namespace, method: str, seed: int) -> Path:
    """Return the run of a method, trained now unless it was before."""
    base = weak_base(args.work, args.demos)
    if method == "base":
        return base
    run = args.work / f"{method}-s{seed}"
    words = [f"base={base}", f"task={TASK}", f"env_steps={args.env_steps}", f"seed={seed}", f"out={run}"]
    if method == "with":
        words += [f"bank={bank_of(args.work, args.states)}", f"bank_share={args.bank_share}"]
    call("train", "residual", *([f"resume={run}"] if is_run(run) else words))
    return run


def evaluated(args: argparse.Namespace, method: str, seed: int) -> dict[str, Any]:
    """Judge a method on held-out episodes, with the course of its selections."""
    run = trained(args, method, seed)
    chosen = EVALUATION_SEED + seed
    call("eval", f"run={run}", f"episodes={args.episodes}", f"seed={chosen}", "num_envs=128", "video=false")
    rows = [row for row in Run.open(run).metrics() if "select/success" in row]
    course = [{"env_steps": row["step"], "success": row["select/success"]} for row in rows]
    return {**Run.open(run).summary()["eval"], "selections": course}


def main() -> None:
    """Do what is missing, print a line for each method, then one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demos", type=int, default=10)
    parser.add_argument("--env-steps", type=int, default=300_000)
    parser.add_argument("--states", type=int, default=4000)
    parser.add_argument("--bank-share", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--work", type=Path, default=Path("runs/bank-benchmark"))
    parser.add_argument("--no-save", action="store_true", help="leave benchmarks/results as it is")
    args = parser.parse_args()
    names = ("demos", "env_steps", "states", "bank_share", "episodes")
    settings = {name: getattr(args, name) for name in names}
    cells = []
    for method in METHODS:
        for seed in args.seeds:
            facts = {"method": method, "seed": seed, **settings}
            path = args.work / f"{method}-s{seed}.json"
            cells.append(kept(path, facts, partial(evaluated, args, method, seed)))
    for (method,), rate in pooled(cells, ("method",)).items():
        print(f"{method:8} {percent(rate)}")
    if args.no_save:
        print(json.dumps(cells))
    else:
        save_result("reset_bank", {"cells": cells, **settings})


if __name__ == "__main__":
    main()
