"""Compare JUICER's ways to more data on one_leg_insert: seeds x demonstrations x methods.

python benchmarks/juicer.py [--seeds 0 1 2] [--demos 10 50] [--methods none noise ...]
    [--episodes 256] [--steps 2000] [--work runs/juicer-benchmark]

Each cell trains the quickstart's small diffusion policy and evaluates it on start states that nothing
else uses. A finished cell is kept in the work folder and never done again; an interrupted one goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cells import call, kept, percent, pooled
from pages import save_page
from results import save_result

from robofb.charts import Bar, bars
from robofb.report import section
from robofb.run import Run, is_run

EVALUATION_SEED, ROLLOUT_SEED = 30_000_000, 40_000_000
NUM_SYNTHETIC = 90  # snippets, or rollouts, beside the demonstrations; as in the paper's "10 + 90"
DISTANCE_M = (0.02, 0.08)  # of the snippets' way out: our task spans a fifth of the paper's 0.2 to 0.5 m
NOISE = "state_noise={position_m:0.01,rotation_rad:0.1,share:0.2}"
METHODS = {
    "none": "demonstrations alone",
    "noise": "state noise",
    "trajectory": "trajectory augmentation",
    "collect": "collect-infer",
    "both": "trajectory augmentation and collect-infer",
}


@dataclass(frozen=True)
class Setting:
    """What all cells share.

    Attributes:
        work: folder of everything made.
        steps: optimiser steps of each training.
        episodes: evaluated in each cell.
        share: of the training samples that each synthetic dataset gets.
    """

    work: Path
    steps: int
    episodes: int
    share: float


class Cell:
    """One training and evaluation: `method` on `demos` demonstrations of `seed`."""

    def __init__(self, setting: Setting, seed: int, demos: int, method: str) -> None:
        self.setting, self.seed, self.demos, self.method = setting, seed, demos, method
        self.shared = setting.work / f"s{seed}-d{demos}"
        self.folder = self.shared / method

    def result(self) -> dict[str, Any]:
        """Return the cell's figures, made now unless they were before."""
        setting = self.setting
        facts = {
            "seed": self.seed,
            "demos": self.demos,
            "method": self.method,
            "episodes": setting.episodes,
            "steps": setting.steps,
            "share": setting.share,
        }
        return kept(self.folder / "cell.json", facts, self.evaluate)

    def evaluate(self) -> dict[str, Any]:
        """Train, evaluate on start states that nothing else uses, and return the figures."""
        run = self.train()
        words = (f"episodes={self.setting.episodes}", f"seed={EVALUATION_SEED + self.seed}")
        call("eval", f"run={run}", *words, "video=false")
        figures = Run.open(run).summary()["eval"]
        return {**figures, "evaluation_seed": figures["seed"]}

    def train(self) -> Path:
        """Train the cell's policy, or go on, or find it done; return its run."""
        run = self.folder / "bc"
        if is_run(run):
            call("train", "bc", f"resume={run}")
            return run
        folders = self.datasets()
        share = self.setting.share
        weights = [1 - share * (len(folders) - 1)] + [share] * (len(folders) - 1)
        words = [f"data=[{','.join(map(str, folders))}]", f"data_weights={weights}", f"out={run}"]
        words += [NOISE] if self.method == "noise" else []
        call("train", "bc", *words, f"seed={self.seed}", f"steps={self.setting.steps}", "task=one_leg_insert")
        return run

    def datasets(self) -> list[Path]:
        """Make the cell's datasets; return their folders, the demonstrations first."""
        folders = [self.demonstrations()]
        if self.method in ("trajectory", "both"):
            folders.append(self.snippets())
        if self.method in ("collect", "both"):
            folders.append(self.rollouts("trajectory" if self.method == "both" else "none"))
        return folders

    def demonstrations(self) -> Path:
        """Record the scripted demonstrations and mark their bottlenecks."""
        out = self.shared / "demonstrations"
        if not out.is_dir():
            made = out.with_suffix(".unmarked")
            call(
                "collect", "task=one_leg_insert", f"out={made}", f"episodes={self.demos}", f"seed={self.seed}"
            )
            call("data", "annotate", made, "--rule", "auto", "--out", out)
        return out

    def snippets(self) -> Path:
        """Make corrective snippets from the demonstrations."""
        out = self.shared / "snippets"
        words = ["--out", out, "--snippets", NUM_SYNTHETIC, "--seed", self.seed, "--distance-m", *DISTANCE_M]
        call("data", "augment", self.demonstrations(), *words)
        return out

    def rollouts(self, method: str) -> Path:
        """Record successes of another cell's policy."""
        policy = Cell(self.setting, self.seed, self.demos, method).train()
        out = self.folder / "rollouts"
        words = ["--out", out, "--episodes", NUM_SYNTHETIC, "--seed", ROLLOUT_SEED + self.seed]
        call("data", "rollouts", policy, *words, "--num-envs", 64, "--max-attempts", 200)
        return out


def table(cells: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table: one line a method, its seeds and all of them with their interval."""
    lines = ["| demonstrations | method | seeds, % | all, % [95 % interval] |", "|---|---|---|---|"]
    for (demos, method), rate in pooled(cells, ("demos", "method")).items():
        own = [cell for cell in cells if (cell["demos"], cell["method"]) == (demos, method)]
        seeds = " ".join(f"{100 * cell['successes'] / cell['episodes']:.1f}" for cell in own)
        lines.append(f"| {demos} | {METHODS[method]} | {seeds} | {percent(rate)} |")
    return "\n".join(lines)


def chart(cells: Sequence[dict[str, Any]]) -> str:
    """Return one bar a method; its whisker is the Wilson interval of all seeds together."""
    rows: list[Bar | str] = []
    heading = None
    for (demos, method), rate in pooled(cells, ("demos", "method")).items():
        if demos != heading:
            heading = demos
            rows.append(f"{demos} demonstrations")
        index = list(METHODS).index(method)
        rows.append(Bar(METHODS[method], rate.rate, str(rate), index, rate.low, rate.high))
    return section("Success on one_leg_insert", "", bars(rows))


def main() -> None:
    """Do what is missing, print the table, write the chart, then one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--demos", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--share", type=float, default=0.25, help="of samples from each synthetic dataset")
    parser.add_argument("--work", type=Path, default=Path("runs/juicer-benchmark"))
    parser.add_argument("--no-save", action="store_true", help="leave benchmarks/results as it is")
    args = parser.parse_args()
    setting = Setting(args.work, args.steps, args.episodes, args.share)
    cells = [
        Cell(setting, seed, demos, method).result()
        for demos in args.demos
        for method in args.methods
        for seed in args.seeds
    ]
    print(table(cells))
    save_page(args.work / "juicer.html", "JUICER on one_leg_insert", chart(cells))
    figures = {"cells": cells, "steps": args.steps, "share": args.share}
    if args.no_save:
        print(json.dumps(figures))
    else:
        save_result("juicer", figures)


if __name__ == "__main__":
    main()
