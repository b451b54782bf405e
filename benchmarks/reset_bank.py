"""A residual on weak bases: with a reset bank against without, the same budget and seeds.

python benchmarks/reset_bank.py [--bases 200 400] [--demos 50] [--states 800] [--bank-share 0.5]
    [--seeds 0 1] [--episodes 256] [--env-steps N] [--kinds grasped=1,near_goal=1]
    [--work runs/bank-benchmark] [--no-save]

The bases are cloned from scripted demonstrations of one_leg_insert, in too few gradient steps. The bank is
made backwards from the assembled pose, without the demonstrations. Evaluation is on the task's own start
states, which nothing else uses. A finished part is kept in the work folder; an interrupted one goes on.
What was saved of other bases, budgets, kinds and seeds stays saved.
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
from results import save_result, with_known

from robofb.charts import Line, line_chart
from robofb.report import section
from robofb.run import Run, is_run
from robofb.stats import SuccessRate

TASK = "one_leg_insert"
EVALUATION_SEED, DEMONSTRATION_SEED = 50_000_000, 60_000_000
BC_WORDS = ("policy=mlp_diffusion", "lr=0.002", "precision=float32", "threads=1")
BUDGETS = {200: 120_000, 400: 150_000}  # control steps of PPO by the base's gradient steps, if not said
BETWEEN_SELECTIONS = 200_000  # control steps, or half a budget that is short
SELECT_EPISODES = 64
ITERATION_STEPS = 64 * 80
KINDS = "grasped=1,near_goal=1"
METHODS = ("base", "without", "with")
KEYS = ("bc_steps", "env_steps", "kinds", "method", "seed")
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SELECTION = "select/success"
EPISODES = {
    "own": ("train/success", "train/episodes"),
    "bank": ("train/success_bank", "train/episodes_bank"),
}  # share and number in the metrics, by where the episodes start
TOGETHER = 5  # iterations


def weak_base(args: argparse.Namespace, steps: int) -> Path:
    """Clone a base policy, unless it is there; return its run."""
    data, run = args.work / "demonstrations", args.work / f"bc{steps}" / "base"
    if not data.is_dir():
        call("collect", f"task={TASK}", f"episodes={args.demos}", f"seed={DEMONSTRATION_SEED}", f"out={data}")
    fresh = (f"task={TASK}", f"data={data}", "seed=0", f"steps={steps}", *BC_WORDS, f"out={run}")
    call("train", "bc", *((f"resume={run}",) if is_run(run) else fresh))
    return run


def bank_of(args: argparse.Namespace) -> Path:
    """Make the bank, unless it is there; return its file."""
    path: Path = args.work / f"bank-{folder_of(args.kinds)}.npz"
    if not path.is_file():
        call("data", "bank", "--task", TASK, "--states", args.states, "--kinds", args.kinds, "--out", path)
    return path


def folder_of(kinds: str) -> str:
    """Return kinds and weights as part of a folder's name that needs no quotes."""
    return kinds.replace("=", "").replace(",", "-")


def budget_of(args: argparse.Namespace, steps: int) -> int:
    """Return the control steps of PPO on a base of so many gradient steps."""
    return args.env_steps or BUDGETS[steps]


def trained(args: argparse.Namespace, steps: int, method: str, seed: int) -> Path:
    """Return the run of a method, trained now unless it was before."""
    base = weak_base(args, steps)
    if method == "base":
        return base
    budget = budget_of(args, steps)
    kinds = f"-{folder_of(args.kinds)}" if method == "with" else ""
    run = base.parent / f"{method}{kinds}-{budget}-s{seed}"
    words = [f"base={base}", f"task={TASK}", f"env_steps={budget}", f"seed={seed}", f"out={run}"]
    between = min(BETWEEN_SELECTIONS, budget // 2)
    words += [f"select_every={-(-between // ITERATION_STEPS)}", f"select_episodes={SELECT_EPISODES}"]
    if method == "with":
        words += [f"bank={bank_of(args)}", f"bank_share={args.bank_share}"]
    call("train", "residual", *([f"resume={run}"] if is_run(run) else words))
    return run


def evaluated(args: argparse.Namespace, steps: int, method: str, seed: int) -> dict[str, Any]:
    """Judge a method on held-out episodes, with the course of its training."""
    run = trained(args, steps, method, seed)
    chosen = EVALUATION_SEED + seed
    call("eval", f"run={run}", f"episodes={args.episodes}", f"seed={chosen}", "num_envs=128", "video=false")
    figures = {**Run.open(run).summary()["eval"], "levels": levels(run, LEVELS)}
    if method != "base":
        figures["course"] = course(Run.open(run).metrics())
    return figures


def course(rows: Sequence[Mapping[str, float]]) -> dict[str, list[list[float]]]:
    """Return of a training its selections, as (env steps, success), and what its episodes came to.

    Those from the task's own starts and those from the bank, as (env steps, successes, episodes) of
    `TOGETHER` iterations each, and the last of the rest as well.
    """
    found = {"selections": [[row["step"], row[SELECTION]] for row in rows if SELECTION in row]}
    for kind, (share, count) in EPISODES.items():
        counted = [row for row in rows if count in row]
        groups = [counted[first : first + TOGETHER] for first in range(0, len(counted), TOGETHER)]
        if len(groups) > 1 and len(groups[-1]) < TOGETHER:
            groups[-2:] = [groups[-2] + groups[-1]]
        wins = [sum(row[count] * row.get(share, 0.0) for row in group) for group in groups]
        found[kind] = [
            [group[-1]["step"], round(won), round(sum(row[count] for row in group))]
            for group, won in zip(groups, wins, strict=True)
        ]
    return found


def curves(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return a chart for each base: success in training, with exploration, from the task's own starts."""
    parts = []
    for steps, budget in dict.fromkeys((cell["bc_steps"], cell["env_steps"]) for cell in cells):
        lines = []
        for method in ("with", "without"):
            settings = steps, budget, method
            own = [
                cell["course"]["own"]
                for cell in cells
                if (cell["bc_steps"], cell["env_steps"], cell["method"]) == settings
            ]
            points = [
                [sum(column) for column in zip(*point, strict=True)] for point in zip(*own, strict=False)
            ]
            where = [at / len(own) for at, _, _ in points]
            lines.append(Line(f"{method} bank", where, [won / max(1, count) for _, won, count in points]))
        note = (
            f"{TASK}, from its own starts while exploring; {TOGETHER} iterations a point, all seeds together"
        )
        title = f"Base of {steps} gradient steps, {budget:,} env steps"
        parts.append(section(title, note, line_chart(lines, "env steps")))
    return "".join(parts)


def selections(cells: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], SuccessRate]:
    """Return the success of the selections of all seeds together, by settings, method and env steps."""
    rows = [
        {**cell, "at": at, "successes": round(share * SELECT_EPISODES), "episodes": SELECT_EPISODES}
        for cell in cells
        for at, share in cell.get("course", {}).get("selections", ())
    ]
    return pooled(rows, (*KEYS[:-1], "at"))


def main() -> None:
    """Do what is missing, print success at the end and on the way, write the chart, then one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bases", type=int, nargs="+", choices=list(BUDGETS), default=list(BUDGETS))
    parser.add_argument("--demos", type=int, default=50)
    parser.add_argument("--states", type=int, default=800)
    parser.add_argument("--bank-share", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--env-steps", type=int, help="budget of PPO; the base's own if not said")
    parser.add_argument("--kinds", default=KINDS, help="of the bank's states, and their weights")
    parser.add_argument("--work", type=Path, default=Path("runs/bank-benchmark"))
    parser.add_argument(
        "--no-save", action="store_true", help="leave benchmarks/results and docs as they are"
    )
    args = parser.parse_args()
    settings = {name: getattr(args, name) for name in ("demos", "states", "kinds", "bank_share", "episodes")}
    cells = []
    for steps, method in ((steps, method) for steps in args.bases for method in METHODS):
        for seed in args.seeds:
            facts = {
                "bc_steps": steps,
                "env_steps": budget_of(args, steps),
                "method": method,
                "seed": seed,
                **settings,
            }
            name = f"{method}-{facts['env_steps']}-{folder_of(args.kinds)}-s{seed}.json"
            path = args.work / f"bc{steps}" / name
            cells.append(kept(path, facts, partial(evaluated, args, steps, method, seed)))
    if not args.no_save:
        cells = with_known("reset_bank", "cells", cells, KEYS)
    for (steps, budget, kinds, method), rate in pooled(cells, KEYS[:-1]).items():
        print(f"base of {steps} gradient steps, {budget:,} env steps, {kinds}, {method:8} {percent(rate)}")
    for (steps, budget, _, method, at), rate in selections(cells).items():
        where = f"base of {steps} gradient steps, {budget:,} env steps"
        print(f"{where}, {method:8} selected at {at:>9,}: {percent(rate)}")
    save_page(
        args.work / "reset_bank.html", "Reset banks", curves(cells), "" if args.no_save else "reset_bank"
    )
    if args.no_save:
        print(json.dumps(cells))
    else:
        save_result("reset_bank", {"cells": cells})


if __name__ == "__main__":
    main()
