"""TGRL against what it is compared with: success against environment steps, and the balance over time.

python benchmarks/tgrl.py [--tasks tiger_door ...] [--methods tgrl imitation reward ...] [--seeds 0 1 2 3 4]
    [--episodes 512] [--work runs/tgrl-benchmark] [--kept-only]

Each cell trains with the task's settings, configs/settings, and judges the last weights, not the best ones,
on episodes that nothing else uses. A finished cell is kept in the work folder and never done again; an
interrupted one goes on. `curve` is the success of every selection, which chooses nothing here.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cells import call, kept
from pages import save_page
from results import save_result
from tgrl_figures import binned, charts, table

from robofb.run import Run, is_run

EVALUATION_SEED = 70_000_000
CURVES = ("curve", "coefficient", "return_student", "return_reward")
FIXED = (0.01, 0.03, 0.1, 0.3, 1.0)


# What imitation needs in a task besides its settings: who is torn between two doors stands still if it takes
# the likeliest step, so it draws its steps.
TASKS: dict[str, tuple[str, ...]] = {
    "tiger_door": ("greedy=false",),
    "lava_crossing": (),
    "hidden_hole": (),
}
METHODS: dict[str, tuple[str, ...]] = {
    "tgrl": (),
    "tgrl, log steps": ("balance=log_steps",),
    "tgrl, steps by sign": ("balance=sign_steps",),
    "tgrl, gap from returns": ("gap_from=returns",),
    "imitation (DAgger)": ("balance=imitation", "collect=student"),
    "behaviour cloning": ("balance=imitation", "collect=teacher"),
    "reward alone (SAC)": ("balance=reward", "collect=student"),
    **{f"fixed {c:g}": ("balance=fixed", f"balance.coefficient={c}") for c in FIXED},
    "COSIL": ("balance=cosil",),
    "ADVISOR": ("balance=advisor",),
    "shaping": ("balance=shaping",),
    **{f"tgrl, rate {lr:g}": (f"balance.lr={lr:g}",) for lr in (0.03, 3.0)},
    **{f"tgrl, from {c:g}": (f"balance.coefficient={c:g}",) for c in (0.01, 1.0)},
    "tgrl, random teacher": ("teacher=random",),
    "tgrl, teacher errs at 85 %": ("teacher_errors=0.85",),
}


@dataclass(frozen=True)
class Cell:
    """One student: a method on a task, from one seed.

    Attributes:
        work: folder of everything made.
        episodes: evaluated.
    """

    work: Path
    task: str
    method: str
    seed: int
    episodes: int

    @property
    def folder(self) -> Path:
        """Where the run and its figures are kept."""
        name = "".join(letter if letter.isalnum() else "-" for letter in self.method)
        return self.work / f"{self.task}-s{self.seed}" / name

    @property
    def is_kept(self) -> bool:
        """Whether the figures are there already."""
        return (self.folder / "cell.json").is_file()

    def result(self) -> dict[str, Any]:
        """Return the cell's figures, made now unless they were before."""
        names = ("task", "method", "seed", "episodes")
        return kept(self.folder / "cell.json", {n: getattr(self, n) for n in names}, self._evaluate)

    def _evaluate(self) -> dict[str, Any]:
        """Train, judge the last weights, and return figures and curves."""
        run, method = self.folder / "run", METHODS[self.method]
        words = [f"task={self.task}", f"seed={self.seed}", f"out={run}", *method]
        if "balance=imitation" in method:
            words += TASKS[self.task]
        call("train", "tgrl", *((f"resume={run}",) if is_run(run) else words))
        seed = EVALUATION_SEED + self.seed
        which = ("checkpoint=latest", f"episodes={self.episodes}", f"seed={seed}", "video=false")
        call("eval", f"run={run}", *which)
        done = Run.open(run)
        return {**done.summary()["eval"], "evaluation_seed": seed, **curves(done)}


def curves(run: Run) -> dict[str, list[Any]]:
    """Return rows (environment steps, value) of success, and binned of coefficient and policies' returns."""
    rows = run.metrics()
    keys = {
        "coefficient": "balance/coefficient",
        "return_student": "train/return_student",
        "return_reward": "train/return_reward",
    }
    found = {name: [[row["step"], row[key]] for row in rows if key in row] for name, key in keys.items()}
    success = [[row["step"], row["select/success"]] for row in rows if "select/success" in row]
    return {"curve": success, **{name: binned(column) for name, column in found.items()}}


def short(cell: dict[str, Any]) -> dict[str, Any]:
    """Return a cell with what the charts show: curves to four digits, and the balance of TGRL alone."""
    shown = CURVES if cell["method"] == "tgrl" else CURVES[:1]
    curves = {name: [[x, float(f"{y:.4g}")] for x, y in cell[name]] for name in shown}
    return {**{key: value for key, value in cell.items() if key not in CURVES}, **curves}


def main() -> None:
    """Do what is missing, print the table, write the charts, then one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--episodes", type=int, default=512)
    parser.add_argument("--work", type=Path, default=Path("runs/tgrl-benchmark"))
    parser.add_argument("--kept-only", action="store_true", help="make no cell: show those that are there")
    parser.add_argument("--no-save", action="store_true", help="leave results and docs as they are")
    args = parser.parse_args()
    asked = [
        Cell(args.work, task, method, seed, args.episodes)
        for task in args.tasks
        for seed in args.seeds
        for method in args.methods
    ]
    cells = [short(cell.result()) for cell in asked if cell.is_kept or not args.kept_only]
    print(table(cells))
    save_page(args.work / "tgrl.html", "TGRL", charts(cells), "" if args.no_save else "tgrl")
    if args.no_save:
        print(json.dumps(cells))
    else:
        save_result("tgrl", {"cells": cells})


if __name__ == "__main__":
    main()
