"""The paper's table in our simulator: tasks x randomness x methods x seeds, from the same demonstrations.

python benchmarks/resip.py [--tasks one_leg_insert peg_hole] [--randomness low med] [--methods bc resip ...]
    [--seeds 0 1 2] [--demos 50 ...] [--pushed] [--episodes 1024] [--work runs/resip-benchmark] [--kept-only]
    [--engine mujoco] [--training num_envs=1024 preset=paper ...] [--env-steps N]

Each cell evaluates on start states that nothing else uses; checkpoints are chosen on others. A finished cell
is kept in the work folder and never done again; an interrupted one goes on. What was saved of other
cells stays saved. `levels` holds, for methods that learn from reward, the environment steps and minutes at
which the selection first reached each level. With --pushed the same episodes are played again under the
tasks' perturbation. --engine simulates all of it, --training says more to what learns from reward, and the
saved cell tells both. Several numbers of demonstrations give success against demonstrations; methods are
compared at the first of them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cells import call, kept, levels
from pages import save_page
from resip_figures import charts, levels_table, table
from results import save_result, with_known

from robofb.run import Run, is_run

EVALUATION_SEED, DEMONSTRATION_SEED = 50_000_000, 60_000_000
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.98)
PUSHES = 0.01  # chance per part and step, the paper's


@dataclass(frozen=True)
class Method:
    """How a policy is made.

    Attributes:
        title: for people.
        base: policy config of the behaviour cloning that it starts from.
        verb: of the training on top of it; none where empty.
        words: further settings of that training.
        expert: the method whose run this training imitates, instead of starting from the base.
    """

    title: str
    base: str
    verb: str = ""
    words: tuple[str, ...] = ()
    expert: str = ""


SELDOM = ("select_every=100",)  # short iterations: as many control steps between selections as for ResiP
METHODS = {
    "bc": Method("diffusion policy", "mlp_diffusion"),
    "resip": Method("ResiP", "mlp_diffusion", "residual"),
    "mlp": Method("MLP, chunks", "mlp_chunk"),
    "ppo": Method("MLP chunks + PPO", "mlp_chunk", "ppo"),
    "idql": Method("diffusion policy + IDQL", "mlp_diffusion", "idql", SELDOM),
    "chunked": Method("ResiP, one correction a chunk", "mlp_diffusion", "residual", ("chunked=true",)),
    "dsrl": Method("diffusion policy + DSRL", "mlp_diffusion", "dsrl", SELDOM),
    "dagger": Method(
        "DAgger from ResiP", "mlp_diffusion", "dagger", ("bc.steps=1000", "bc.lr=0.002"), expert="resip"
    ),
}
TITLES = {name: method.title for name, method in METHODS.items()}
PAPERS = 1_000_000_000  # control steps: for a GPU
BUDGETS = {
    "one_leg_insert": 1_500_000,
    "peg_hole": 2_000_000,
    **dict.fromkeys(("one_leg", "round_table", "lamp", "square_table", "mug_rack"), PAPERS),
}  # control steps of learning from reward, where --env-steps says nothing
LONGER = {("peg_hole", "low"): (2_000_000, 3_000_000)}
"""Budgets that are trained to one after the other, where one is not enough: exploration, which falls with the
share of the budget that is spent, grows once more in between."""
BC_WORDS = ("steps=2000", "lr=0.002", "precision=float32", "threads=1")  # the quickstart's


@dataclass(frozen=True)
class Cell:
    """One policy: a method on a task at a randomness, from one seed.

    Attributes:
        work: folder of everything made.
        demos: demonstrations.
        episodes: evaluated.
        pushed: whether also evaluated under perturbation.
        engine: that simulates.
        training: further settings of what learns from reward.
        env_steps: of it; the task's own where None.
    """

    work: Path
    task: str
    randomness: str
    method: str
    seed: int
    demos: int
    episodes: int
    pushed: bool = False
    engine: str = "mujoco"
    training: tuple[str, ...] = ()
    env_steps: int | None = None

    @property
    def shared(self) -> Path:
        """Folder of what several methods use."""
        return self.work / f"{self.task}-{self.randomness}-d{self.demos}-s{self.seed}"

    @property
    def folder(self) -> Path:
        """Where the method's own training and figures are kept."""
        return self.shared / self.method

    @property
    def is_kept(self) -> bool:
        """Whether the figures are there already."""
        return (self.folder / "cell.json").is_file()

    def result(self, kept_only: bool = False) -> dict[str, Any]:
        """Return the cell's figures, made now unless they were before; with `kept_only` none are made."""
        names = ("task", "randomness", "method", "seed", "demos", "episodes")
        facts = {name: getattr(self, name) for name in names} | {"env_steps": max(self._budgets, default=0)}
        if self.engine != "mujoco" or self.training:
            facts |= {"engine": self.engine, "training": list(self.training)}
        figures = kept(self.folder / "cell.json", facts, lambda: self._evaluate(self._sim_words()))
        if self.pushed and (not kept_only or (self.folder / "pushed.json").is_file()):
            words = (*self._sim_words(), f"task.perturbation={PUSHES}")
            facts["perturbation"] = PUSHES
            figures["pushed"] = kept(self.folder / "pushed.json", facts, lambda: self._evaluate(words))
        return figures

    def _evaluate(self, sim_words: tuple[str, ...]) -> dict[str, Any]:
        """Make the policy, judge it on the task, and return its figures."""
        run = self.trained()
        words = (f"episodes={self.episodes}", f"seed={EVALUATION_SEED + self.seed}", "num_envs=128")
        call("eval", f"run={run}", *sim_words, *words, "video=false")
        figures = Run.open(run).summary()["eval"]
        return {**figures, "evaluation_seed": figures["seed"], "levels": levels(run, LEVELS)}

    def trained(self) -> Path:
        """Train the policy, or go on, or find it done; return its run."""
        method = METHODS[self.method]
        if method.expert:
            start = f"expert={replace(self, method=method.expert).trained()}"
        else:
            start = f"base={self._base(method.base)}"
        if not method.verb:
            return self._base(method.base)
        run = self.folder / "run"
        words = (start, *method.words, *self.training, *self._sim_words())
        for budget in self._budgets:
            self._train(method.verb, run, words, (f"env_steps={budget}",))
        return run

    @property
    def _budgets(self) -> tuple[int, ...]:
        """Control steps of learning from reward, one stretch after the other; none where there is none."""
        if not METHODS[self.method].verb:
            return ()
        if self.env_steps:
            return (self.env_steps,)
        return LONGER.get((self.task, self.randomness), (BUDGETS[self.task],))

    def _base(self, policy: str) -> Path:
        """Clone the demonstrations, unless that is done; return the run."""
        run = self.shared / "bases" / policy
        data = f"data={self.demonstrations()}"
        self._train("bc", run, (data, f"policy={policy}", *self._task_words()), BC_WORDS)
        return run

    def _train(self, verb: str, run: Path, words: tuple[str, ...], length: tuple[str, ...]) -> None:
        """Train, or go on where it stopped; only `length` may differ from when it began."""
        fresh = (*words, f"seed={self.seed}", f"out={run}")
        call("train", verb, *((f"resume={run}",) if is_run(run) else fresh), *length)

    def _task_words(self) -> tuple[str, ...]:
        return f"task={self.task}", f"task.randomness={self.randomness}"

    def _sim_words(self) -> tuple[str, ...]:
        """Return what names the task where it is simulated."""
        return (*self._task_words(), f"engine={self.engine}")

    def demonstrations(self) -> Path:
        """Record the scripted demonstrations, if they are not there."""
        out = self.shared / "demonstrations"
        if not out.is_dir():
            seed = DEMONSTRATION_SEED + self.seed
            call("collect", *self._sim_words(), f"episodes={self.demos}", f"seed={seed}", f"out={out}")
        return out


def main() -> None:
    """Do what is missing, print the table, write the chart, then one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=list(BUDGETS), default=["one_leg_insert", "peg_hole"])
    parser.add_argument("--randomness", nargs="+", choices=["low", "med", "high"], default=["low", "med"])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=["bc", "resip"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--demos", type=int, nargs="+", default=[50])
    parser.add_argument("--pushed", action="store_true", help="also under perturbation")
    parser.add_argument("--episodes", type=int, default=1024)
    parser.add_argument("--work", type=Path, default=Path("runs/resip-benchmark"))
    parser.add_argument("--engine", choices=["mujoco", "warp"], default="mujoco")
    parser.add_argument("--training", nargs="+", metavar="KEY=VALUE", default=[])
    parser.add_argument("--env-steps", type=int, help="budget of what learns from reward")
    parser.add_argument("--kept-only", action="store_true", help="make no cell: show those that are there")
    parser.add_argument("--no-save", action="store_true", help="leave results and docs as they are")
    args = parser.parse_args()
    asked = [
        Cell(
            args.work,
            task,
            randomness,
            method,
            seed,
            demos,
            args.episodes,
            args.pushed,
            args.engine,
            tuple(args.training),
            args.env_steps,
        )
        for task in args.tasks
        for randomness in args.randomness
        for demos in args.demos
        for method in args.methods
        for seed in args.seeds
    ]
    cells = [cell.result(args.kept_only) for cell in asked if cell.is_kept or not args.kept_only]
    if not args.no_save:
        cells = with_known("resip", "cells", cells, ("task", "randomness", "demos", "method", "seed"))
    print(table(cells, TITLES))
    print(levels_table(cells, TITLES, LEVELS))
    body = charts(cells, TITLES, args.demos[0])
    save_page(args.work / "resip.html", "ResiP and its baselines", body, "" if args.no_save else "resip")
    if args.no_save:
        print(json.dumps(cells))
    else:
        save_result("resip", {"cells": cells})


if __name__ == "__main__":
    main()
