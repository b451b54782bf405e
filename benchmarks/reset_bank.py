"""A residual on a weak base: with a reset bank against without, the same budget and seeds.

python benchmarks/reset_bank.py [--demos 50] [--bc-steps 600] [--env-steps 300000] [--states 2000]
    [--bank-share 0.5] [--kinds grasped=1,near_goal=1] [--seeds 0 1] [--episodes 256]
    [--work runs/bank-benchmark] [--no-save]

One base policy of one_leg_insert is cloned too briefly; the bank is made backwards from the assembled pose,
without the demonstrations. Evaluation is on the task's own start states, which nothing else uses. A finished
part is kept in the work folder and an interrupted one goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cells import call, kept, levels, percent, pooled
from pages import save_page
from results import save_result

from robofb.charts import Line, line_chart
from robofb.report import section
from robofb.run import Run, is_run

TASK = "one_leg_insert"
EVALUATION_SEED, DEMONSTRATION_SEED = 50_000_000, 60_000_000
BC_WORDS = ("policy=mlp_diffusion", "lr=0.002", "precision=float32", "threads=1")
METHODS = ("base", "without", "with")
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def weak_base(args: argparse.Namespace) -> Path:
    """Clone the base policy, unless it is there; return its run."""
    data, run = args.work / "demonstrations", args.work / "base"
    if not data.is_dir():
        call("collect", f"task={TASK}", f"episodes={args.demos}", f"seed={DEMONSTRATION_SEED}", f"out={data}")
    fresh = (f"task={TASK}", f"data={data}", "seed=0", f"steps={args.bc_steps}", *BC_WORDS, f"out={run}")
    call("train", "bc", *((f"resume={run}",) if is_run(run) else fresh))
    return run


def bank_of(args: argparse.Namespace) -> Path:
    """Make the bank, unless it is there; return its file."""
    path: Path = args.work / "bank.npz"
    if not path.is_file():
        words = ("--states", args.states, "--kinds", args.kinds, "--out", path)
        call("data", "bank", "--task", TASK, *words)
    return path


def trained(args: argparse.Namespace, method: str, seed: int) -> Path:
    """Return the run of a method, trained now unless it was before."""
    base = weak_base(args)
    if method == "base":
        return base
    run = args.work / f"{method}-s{seed}"
    words = [f"base={base}", f"task={TASK}", f"env_steps={args.env_steps}", f"seed={seed}", f"out={run}"]
    if method == "with":
        words += [f"bank={bank_of(args)}", f"bank_share={args.bank_share}"]
    call("train", "residual", *([f"resume={run}"] if is_run(run) else words))
    return run


def evaluated(args: argparse.Namespace, method: str, seed: int) -> dict[str, Any]:
    """Judge a method on held-out episodes, with the course of its training."""
    run = trained(args, method, seed)
    chosen = EVALUATION_SEED + seed
    call("eval", f"run={run}", f"episodes={args.episodes}", f"seed={chosen}", "num_envs=128", "video=false")
    return {
        **Run.open(run).summary()["eval"],
        "levels": levels(run, LEVELS),
        **{name: _course(run, f"{name}/success") for name in ("select", "train")},
        "train_bank": _course(run, "train/success_bank"),
    }


def _course(run: Path, name: str) -> list[tuple[int, float]]:
    """Return what a run logged by that name: env steps and value."""
    return [(row["step"], row[name]) for row in Run.open(run).metrics() if name in row]


def curves(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return a chart of selections against env steps, a line for each training."""
    lines = [
        Line(f"{cell['method']} bank, seed {cell['seed']}", *map(list, zip(*cell["select"], strict=True)))
        for cell in cells
        if cell["method"] != "base"
    ]
    note = "the policy without exploration, on the episodes that choose the best checkpoint"
    return section(f"{TASK} from a weak base", note, line_chart(lines, "env steps"))


def main() -> None:
    """Do what is missing, print a line for each method, write the chart, then one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demos", type=int, default=50)
    parser.add_argument("--bc-steps", type=int, default=600)
    parser.add_argument("--env-steps", type=int, default=300_000)
    parser.add_argument("--states", type=int, default=2000)
    parser.add_argument("--bank-share", type=float, default=0.5)
    parser.add_argument("--kinds", default="grasped=1,near_goal=1")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--work", type=Path, default=Path("runs/bank-benchmark"))
    parser.add_argument(
        "--no-save", action="store_true", help="leave benchmarks/results and docs as they are"
    )
    args = parser.parse_args()
    names = ("demos", "bc_steps", "env_steps", "states", "bank_share", "kinds", "episodes")
    settings = {name: getattr(args, name) for name in names}
    cells = []
    for method in METHODS:
        for seed in args.seeds:
            facts = {"method": method, "seed": seed, **settings}
            path = args.work / f"{method}-s{seed}.json"
            cells.append(kept(path, facts, partial(evaluated, args, method, seed)))
            print(f"{method} {seed}: reached after env steps {cells[-1]['levels']}")
    for (method,), rate in pooled(cells, ("method",)).items():
        print(f"{method:8} {percent(rate)}")
    picture = "" if args.no_save else "reset_bank"
    save_page(args.work / "reset_bank.html", "Reset banks", curves(cells), picture)
    if args.no_save:
        print(json.dumps(cells))
    else:
        save_result("reset_bank", {"cells": cells, **settings})


if __name__ == "__main__":
    main()
