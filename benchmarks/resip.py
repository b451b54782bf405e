"""The paper's table in our simulator: tasks x randomness x methods x seeds, from the same demonstrations.

python benchmarks/resip.py [--tasks one_leg_insert peg_hole] [--randomness low med] [--methods bc resip ...]
    [--seeds 0 1 2] [--demos 50] [--episodes 1024] [--work runs/resip-benchmark]

Each cell evaluates on start states that nothing else uses; checkpoints are chosen on others. A finished cell
is kept in the work folder and never done again; an interrupted one goes on. `levels` holds, for methods that
learn from reward, the environment steps and minutes at which the selection first reached each level.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from cells import call, kept, percent, pooled
from results import save_result

from robofb.charts import Bar, bars
from robofb.files import write_atomically
from robofb.run import Run, is_run

EVALUATION_SEED, DEMONSTRATION_SEED = 50_000_000, 60_000_000
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.98)


@dataclass(frozen=True)
class Method:
    """How a policy is made.

    Attributes:
        title: for people.
        base: policy config of the behaviour cloning that it starts from.
        verb: of the training on top of it; none where empty.
        words: further settings of that training.
    """

    title: str
    base: str
    verb: str = ""
    words: tuple[str, ...] = ()


METHODS = {
    "bc": Method("diffusion policy", "mlp_diffusion"),
    "mlp": Method("MLP, chunks", "mlp_chunk"),
    "ppo": Method("MLP chunks + PPO", "mlp_chunk", "ppo"),
    "idql": Method("diffusion policy + IDQL", "mlp_diffusion", "idql"),
    "resip": Method("ResiP", "mlp_diffusion", "residual"),
}
BUDGETS = {"one_leg_insert": 1_500_000, "peg_hole": 2_000_000}  # control steps of learning from reward
BC_WORDS = ("steps=2000", "lr=0.002", "precision=float32", "threads=1")  # the quickstart's


@dataclass(frozen=True)
class Cell:
    """One policy: a method on a task at a randomness, from one seed.

    Attributes:
        work: folder of everything made.
        demos: demonstrations.
        episodes: evaluated.
    """

    work: Path
    task: str
    randomness: str
    method: str
    seed: int
    demos: int
    episodes: int

    @property
    def shared(self) -> Path:
        """Folder of what several methods use."""
        return self.work / f"{self.task}-{self.randomness}-s{self.seed}"

    def result(self) -> dict[str, Any]:
        """Return the cell's figures, made now unless they were before."""
        names = ("task", "randomness", "method", "seed", "demos", "episodes")
        return kept(
            self.shared / self.method / "cell.json", {n: getattr(self, n) for n in names}, self.evaluate
        )

    def evaluate(self) -> dict[str, Any]:
        """Make the policy, judge it, and return its figures."""
        run = self.trained()
        seed = EVALUATION_SEED + self.seed
        call("eval", f"run={run}", f"episodes={self.episodes}", f"seed={seed}", "num_envs=128", "video=false")
        figures = Run.open(run).summary()["eval"]
        return {**figures, "evaluation_seed": seed, "levels": levels(run)}

    def trained(self) -> Path:
        """Train the policy, or go on, or find it done; return its run."""
        method = METHODS[self.method]
        base = self.shared / "bases" / method.base
        self._train(
            "bc",
            base,
            f"data={self.demonstrations()}",
            f"policy={method.base}",
            *self._task_words(),
            *BC_WORDS,
        )
        if not method.verb:
            return base
        run = self.shared / self.method / "run"
        budget = BUDGETS[self.task]
        self._train(
            method.verb, run, f"base={base}", f"env_steps={budget}", *method.words, *self._task_words()
        )
        return run

    def _train(self, verb: str, run: Path, *words: str) -> None:
        """Train, or go on where it stopped."""
        fresh = (*words, f"seed={self.seed}", f"out={run}")
        call("train", verb, *((f"resume={run}",) if is_run(run) else fresh))

    def _task_words(self) -> tuple[str, ...]:
        return f"task={self.task}", f"task.randomness={self.randomness}"

    def demonstrations(self) -> Path:
        """Record the scripted demonstrations, if they are not there."""
        out = self.shared / "demonstrations"
        if not out.is_dir():
            seed = DEMONSTRATION_SEED + self.seed
            call("collect", *self._task_words(), f"episodes={self.demos}", f"seed={seed}", f"out={out}")
        return out


def levels(run: Path) -> dict[str, dict[str, float]]:
    """Return env steps and minutes at which the selection of a run first reached each level."""
    reached: dict[str, dict[str, float]] = {}
    for row in Run.open(run).metrics():
        for level in LEVELS:
            if row.get("select/success", -1.0) >= level and f"{level:g}" not in reached:
                reached[f"{level:g}"] = {"env_steps": row["step"], "minutes": row["seconds"] / 60}
    return reached


def table(cells: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table: a line for each task, randomness and method."""
    lines = ["| task | randomness | method | seeds, % | all, % [95 % interval] |", "|---|---|---|---|---|"]
    keys = ("task", "randomness", "method")
    for key, rate in pooled(cells, keys).items():
        own = [cell for cell in cells if tuple(cell[name] for name in keys) == key]
        seeds = " ".join(f"{100 * cell['successes'] / cell['episodes']:.1f}" for cell in own)
        lines.append(f"| {key[0]} | {key[1]} | {METHODS[key[2]].title} | {seeds} | {percent(rate)} |")
    return "\n".join(lines)


def chart(cells: Sequence[dict[str, Any]]) -> str:
    """Return a page with one bar a method; its whisker is the Wilson interval of all seeds together."""
    rows: list[Bar | str] = []
    for (task, randomness, method), rate in pooled(cells, ("task", "randomness", "method")).items():
        heading = f"{task}, {randomness}"
        if heading not in rows:
            rows.append(heading)
        index = list(METHODS).index(method)
        rows.append(Bar(METHODS[method].title, rate.rate, str(rate), index, rate.low, rate.high))
    style = resources.files("robofb").joinpath("report.css").read_text()
    head = f'<!doctype html><meta charset="utf-8"><title>ResiP</title><style>{style}</style>'
    return f"{head}<main><section><h2>Success by method</h2>{bars(rows)}</section></main>\n"


def main() -> None:
    """Do what is missing, print the table, write the chart, then one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=list(BUDGETS), default=list(BUDGETS))
    parser.add_argument("--randomness", nargs="+", choices=["low", "med", "high"], default=["low", "med"])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=["bc", "resip"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--demos", type=int, default=50)
    parser.add_argument("--episodes", type=int, default=1024)
    parser.add_argument("--work", type=Path, default=Path("runs/resip-benchmark"))
    parser.add_argument("--no-save", action="store_true", help="leave benchmarks/results as it is")
    args = parser.parse_args()
    cells = [
        Cell(args.work, task, randomness, method, seed, args.demos, args.episodes).result()
        for task in args.tasks
        for randomness in args.randomness
        for method in args.methods
        for seed in args.seeds
    ]
    print(table(cells))
    write_atomically(args.work / "resip.html", chart(cells))
    print(f"chart {args.work / 'resip.html'}")
    if args.no_save:
        print(json.dumps(cells))
    else:
        save_result("resip", {"cells": cells, "demos": args.demos})


if __name__ == "__main__":
    main()
