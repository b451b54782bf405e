"""Distil a teacher that sees the state into students that see cameras, on one_leg_insert.

python benchmarks/vision.py --teacher runs/residual [--rollouts 400] [--steps 1500]
    [--students plain dagger ...] [--looks own varied] [--episodes 256] [--seeds 0]
    [--work runs/vision-benchmark]

Each student is evaluated on start states that nothing else uses, in the scene's own looks and in varied
ones. A finished cell is kept in the work folder and never done again; an interrupted one goes on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cells import call, kept, percent, pooled
from results import save_result

from robofb.run import Run, is_run

EVALUATION_SEED, DEMONSTRATION_SEED, ROLLOUT_SEED = 80_000_000, 81_000_000, 82_000_000
CAMERAS, IMAGE_PX, NUM_DEMONSTRATIONS = "front,wrist", 96, 50
POLICY = "small_image_mlp_chunk"
SIZE = f"image_size=[{IMAGE_PX},{IMAGE_PX}]"


@dataclass(frozen=True)
class Student:
    """How a student is taught.

    Attributes:
        title: for people.
        data: its datasets, by the names of the methods of `Bench` that record them.
        weights: share of the training samples from each; all windows alike where None.
        rounds: of DAgger on top of the data; 0 for behaviour cloning alone.
        words: further ones of its training.
    """

    title: str
    data: tuple[str, ...]
    weights: tuple[float, ...] | None = None
    rounds: int = 0
    words: tuple[str, ...] = ()


STUDENTS = {
    "plain": Student("rollouts", ("recorded",)),
    "unguided": Student("rollouts, parts not guessed", ("recorded",), words=("policy.guess=null",)),
    "dagger": Student("half of the rollouts, DAgger for the rest", ("half",), rounds=3),
    "varied": Student("rollouts in varied looks", ("varied",)),
    "demonstrations": Student(f"{NUM_DEMONSTRATIONS} scripted demonstrations", ("demonstrations",)),
    "both": Student("demonstrations and rollouts in varied looks", ("demonstrations", "varied"), (0.5, 0.5)),
}
LOOKS = {"own": "the scene's looks", "varied": "varied looks"}


@dataclass(frozen=True)
class Bench:
    """What all cells share.

    Attributes:
        work: folder of everything made.
        teacher: run folder.
        seed: of training, episodes and looks.
        rollouts: successes of the teacher that a student learns from.
        steps: optimiser steps of each training.
        episodes: evaluated in each cell.
    """

    work: Path
    teacher: Path
    seed: int
    rollouts: int
    steps: int
    episodes: int

    @property
    def folder(self) -> Path:
        """Of what this seed makes."""
        return self.work / f"s{self.seed}"

    def cell(self, student: str, looks: str) -> dict[str, Any]:
        """Return the figures of a student, or of the teacher, in some looks; made now unless they were."""
        facts = {"student": student, "looks": looks, "seed": self.seed, "episodes": self.episodes}
        facts |= {"rollouts": self.rollouts, "steps": self.steps}
        return kept(self.folder / student / f"{looks}.json", facts, lambda: self.evaluate(student, looks))

    def evaluate(self, student: str, looks: str) -> dict[str, Any]:
        """Train a student where that is not done, evaluate it, and return the figures."""
        run = self.teacher if student == "teacher" else self.train(student)
        words = [f"episodes={self.episodes}", f"seed={EVALUATION_SEED + self.seed}", "video=false"]
        call("eval", f"run={run}", *words, *(["visuals=varied"] if looks == "varied" else []))
        summary = Run.open(run).summary()
        training = summary.get("bc_training") or summary.get("dagger_training") or {}
        figures = summary["eval"]
        return {**figures, "evaluation_seed": figures["seed"], "training_seconds": training.get("seconds")}

    def train(self, name: str) -> Path:
        """Train a student, or go on, or find it done; return its run."""
        student, run = STUDENTS[name], self.folder / name / "run"
        verb = "dagger" if student.rounds else "bc"
        if is_run(run):
            call("train", verb, f"resume={run}")
            return run
        folders = ",".join(str(getattr(self, data)()) for data in student.data)
        words = [f"data=[{folders}]", f"policy={POLICY}", f"seed={self.seed}", f"out={run}", "threads=1"]
        words += ["task=one_leg_insert", *student.words]
        learning = [f"steps={self.steps}", "batch_size=64", "precision=bfloat16"]
        if student.rounds:
            new = (self.rollouts - self.rollouts // 2) // student.rounds
            words += [f"expert={self.teacher}", f"rounds={student.rounds}", f"episodes={new}", SIZE]
            words += [
                "beta_decay=0",
                "select_episodes=32",
                "num_envs=32",
                *(f"bc.{word}" for word in learning),
            ]
        else:
            words += learning + ([f"data_weights={list(student.weights)}"] if student.weights else [])
        call("train", verb, *words)
        return run

    def rollouts_in(self, name: str, episodes: int, *words: str) -> Path:
        """Record successes of the teacher with images."""
        out = self.folder / name
        named = [
            "--out",
            out,
            "--episodes",
            episodes,
            "--seed",
            ROLLOUT_SEED + self.seed,
            "--cameras",
            CAMERAS,
        ]
        call("data", "rollouts", self.teacher, *named, "--image-size", IMAGE_PX, IMAGE_PX, *words)
        return out

    def recorded(self) -> Path:
        """Record the teacher in the scene's own looks."""
        return self.rollouts_in("rollouts", self.rollouts)

    def half(self) -> Path:
        """Record half as much of it."""
        return self.rollouts_in("half", self.rollouts // 2)

    def varied(self) -> Path:
        """Record the teacher in varied looks."""
        return self.rollouts_in("varied", self.rollouts, "--visuals", "varied")

    def demonstrations(self) -> Path:
        """Record scripted demonstrations in the scene's own looks."""
        out = self.folder / "demonstrations"
        words = [f"episodes={NUM_DEMONSTRATIONS}", f"seed={DEMONSTRATION_SEED + self.seed}", f"out={out}"]
        call("collect", "task=one_leg_insert", *words, f"cameras=[{CAMERAS}]", SIZE)
        return out


def table(cells: list[dict[str, Any]]) -> str:
    """Return a Markdown table: one line for each student and looks, all seeds together."""
    lines = ["| student | evaluated in | success, % [95 % interval] |", "|---|---|---|"]
    for (name, looks), rate in pooled(cells, ("student", "looks")).items():
        title = STUDENTS[name].title if name in STUDENTS else "the teacher, which sees the state"
        lines.append(f"| {title} | {LOOKS[looks]} | {percent(rate)} |")
    return "\n".join(lines)


def main() -> None:
    """Do what is missing, print the table, then one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", type=Path, required=True, help="run folder of a state policy")
    parser.add_argument("--students", nargs="+", choices=list(STUDENTS), default=list(STUDENTS))
    parser.add_argument("--looks", nargs="+", choices=list(LOOKS), default=list(LOOKS))
    parser.add_argument("--rollouts", type=int, default=400)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--work", type=Path, default=Path("runs/vision-benchmark"))
    parser.add_argument("--no-save", action="store_true", help="leave benchmarks/results as it is")
    args = parser.parse_args()
    cells = []
    for seed in args.seeds:
        bench = Bench(args.work, args.teacher, seed, args.rollouts, args.steps, args.episodes)
        cells.append(bench.cell("teacher", "own"))
        cells += [bench.cell(student, looks) for student in args.students for looks in args.looks]
    print(table(cells))
    figures = {"cells": cells, "rollouts": args.rollouts, "steps": args.steps}
    if args.no_save:
        print(json.dumps(figures))
    else:
        save_result("vision", figures)


if __name__ == "__main__":
    main()
