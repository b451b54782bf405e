"""BOReL: return by episode in tasks that nobody trained on, beside an oracle and simpler ways to act.

python benchmarks/borel.py [--tasks grid_navi ...] [--methods relabelled ...] [--seeds 0 1 2]
    [--work runs/borel-benchmark] [--kept-only] [--no-save]

A seed trains its own agents, whose logs all methods share, and judges the last weights, not the best ones, on
tasks that chose nothing; `grid_navi` has but 21 tasks, all of them trained on and judged. A finished cell is
kept in the work folder and never done again; an interrupted one goes on. Saved results of other cells stay.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import Any

from cells import call, kept
from pages import save_page
from results import save_result, with_known
from tgrl_figures import half_width

from robofb.charts import Line, curve_chart
from robofb.families import build_family
from robofb.loading import task_node
from robofb.report import section
from robofb.run import Run, is_run

EVALUATION_SEED, EVALUATION_TRIALS = 80_000_000, 512
# Words for the agents, beside their settings.
TASKS: dict[str, tuple[str, ...]] = {
    "grid_navi": (),
    "point_robot_sparse": (),
    "wind": ("task.dense=true",),
    "hidden_holes": ("task.dense=true",),
    "arc_by_touch": (),
    "half_cheetah_vel": (),
    "ant_semi_circle_sparse": ("task.dense=true",),
}
_FRESH = ("fresh_trials=0", "redraw_every=0")
_NO_MIXTURES = (*_FRESH, "mixture_episodes=null", "piece=null", "early=1", "drawn_tasks=0")
_LOGS_ALONE = (*_NO_MIXTURES, "own_trials=true", "common_trials=false", "asked_steps=0")
_HALVES = ("whole=false", "mixed=0.7", *_LOGS_ALONE)
METHODS: dict[str, tuple[str, ...]] = {
    "relabelled": (),
    "not relabelled": ("mixed=0", *_LOGS_ALONE),
    "paper's halves": _HALVES,
    "released code": ("compat=released", *_HALVES),
}
AGENTS = ("belief", "posterior sampling", "no adaptation", "oracle")


@dataclass(frozen=True)
class Cell:
    """One policy: a method on a family of tasks, from one seed.

    Attributes:
        work: folder of everything made.
    """

    work: Path
    task: str
    method: str
    seed: int

    @property
    def folder(self) -> Path:
        """Where the run and its figures are kept."""
        return self.work / f"{self.task}-s{self.seed}" / self.method.replace(" ", "-").replace("'", "")

    @property
    def is_kept(self) -> bool:
        """Whether the figures are there already."""
        return (self.folder / "cell.json").is_file()

    def result(self) -> dict[str, Any]:
        """Return the cell's figures, made now unless they were before."""
        names = ("task", "method", "seed")
        return kept(self.folder / "cell.json", {n: getattr(self, n) for n in names}, self._evaluate)

    def _evaluate(self) -> dict[str, Any]:
        """Train agents and policy, judge the last weights, and return figures."""
        agents, run = self.folder.parent / "agents", self.folder / "run"
        shared = (f"task={self.task}", f"seed={self.seed}")
        if not (is_run(agents) and "agents_training" in Run.open(agents).summary()):
            resume = (
                (f"resume={agents}",) if is_run(agents) else (*shared, f"out={agents}", *TASKS[self.task])
            )
            call("train", "agents", *resume)
        words = (*shared, f"logs={agents / 'logs'}", f"out={run}", *METHODS[self.method])
        call("train", "borel", *((f"resume={run}",) if is_run(run) else words))
        seed = EVALUATION_SEED + self.seed
        which = ("checkpoint=latest", f"episodes={EVALUATION_TRIALS}", f"seed={seed}", "video=false")
        call("eval", f"run={run}", *which)
        done = Run.open(run).summary()
        seconds = done["borel_training"]["seconds_by_stage"]
        return {**done["eval"], "seconds_by_stage": seconds, "date": f"{date.today()}"}


def returns_of(cell: Mapping[str, Any], agent: str) -> list[float]:
    """Return an agent's mean return of each episode, and of all together; nothing where it was not there."""
    facts = cell if agent == "belief" else cell.get(agent)
    return [] if facts is None else [*facts["returns"], facts["total"]]


def figure(values: Sequence[float]) -> str:
    """Return the mean of the seeds, with half of its interval where there are several."""
    spread = f"+-{half_width(values):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):.2f}{spread}"


def table(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table: a line for each task, method and agent; mean of seeds +- half the interval."""
    lines = [
        "| task | method | who acts | seeds | return by episode, then together | second, of the oracle's |",
        "|---|---|---|---|---|---|",
    ]
    for task, method in dict.fromkeys((cell["task"], cell["method"]) for cell in cells):
        own = [cell for cell in cells if (cell["task"], cell["method"]) == (task, method)]
        best = [returns_of(cell, "oracle") for cell in own]
        for agent in AGENTS:
            rows = [row for cell in own if (row := returns_of(cell, agent))]
            if not rows:
                continue
            columns = zip(*rows, strict=True)
            text = " ".join(figure(column) for column in columns)
            share = fmean(row[1] / top[1] for row, top in zip(rows, best, strict=True)) if all(best) else None
            shown = "" if share is None else f"{100 * share:.0f} %"
            lines.append(f"| {task} | {method} | {agent} | {len(rows)} | {text} | {shown} |")
    return "\n".join(lines)


def charts(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return the body of a page: mean return by episode of who acts, for each task and method."""
    parts = []
    for task, method in dict.fromkeys((cell["task"], cell["method"]) for cell in cells):
        own = [cell for cell in cells if (cell["task"], cell["method"]) == (task, method)]
        lines = []
        for agent in AGENTS:
            rows = [row[:-1] for cell in own if (row := returns_of(cell, agent))]
            if rows:
                means = [fmean(column) for column in zip(*rows, strict=True)]
                lines.append(Line(agent, list(range(1, len(means) + 1)), means))
        parts.append(section(f"{task}, {method}", "mean over seeds", curve_chart(lines, "episode", "return")))
    return "".join(parts)


def main() -> None:
    """Do what is missing, print the table, write the charts, then one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path("runs/borel-benchmark"))
    parser.add_argument("--kept-only", action="store_true", help="make no cell: show those that are there")
    parser.add_argument("--no-save", action="store_true", help="leave results and docs as they are")
    args = parser.parse_args()
    asked = [
        Cell(args.work, task, method, seed)
        for task in args.tasks
        for seed in args.seeds
        for method in args.methods
        if method == "relabelled" or build_family(task_node(task)).moves_alike  # else nothing can be
    ]
    cells = [cell.result() for cell in asked if cell.is_kept or not args.kept_only]
    if not args.no_save:
        cells = with_known("borel", "cells", cells, ("task", "method", "seed"))
    print(table(cells))
    save_page(args.work / "borel.html", "BOReL", charts(cells), "" if args.no_save else "borel")
    if args.no_save:
        print(json.dumps(cells))
    else:
        save_result("borel", {"cells": cells})


if __name__ == "__main__":
    main()
