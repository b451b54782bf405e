"""Success of a policy alone over rounds in which a person corrects it (HG-DAgger, arXiv 1810.02890).

python benchmarks/hg_dagger.py --expert runs/quickstart-resip/.../residual [--rounds 3] [--demos 50]
    [--episodes 50] [--evaluated 256] [--methods corrections demonstrations] [--seed 0] [--work ...]
    [--no-save]

Round 0 clones scripted demonstrations of one_leg_insert. Each further round rehearses the last policy on the
whole way of deployment, in simulated time, while `deploy/corrector.py` watches, takes over, and steers after
the expert: a trained residual. A policy is then trained from scratch on the demonstrations and on what was
driven by hand in all rounds, which counts double; what the policy did itself is left out. The control gets as
many further demonstrations instead, by the same expert, all of whose steps a person would drive: the chart
is of success against what a person drove. All policies act alone, straight in the simulation,
in the same episodes, whose starts nothing else uses; intervals are Wilson 95 %. Rounds are kept in the work
folder: what was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from cells import call, kept, percent
from pages import save_page
from results import save_result

from robofb import config
from robofb.build import build, build_whole
from robofb.charts import Line, line_chart
from robofb.deploy.controller import Controller
from robofb.deploy.corrector import Corrector, Habits
from robofb.deploy.planner import Planner
from robofb.deploy.rehearsal import rehearse
from robofb.deploy.timeline import Timeline
from robofb.loading import load_agent, make_env, make_sim_env
from robofb.report import section
from robofb.run import Run, is_run
from robofb.sim.record import record_episodes
from robofb.stats import SuccessRate
from robofb.store.episodes import EpisodeStore
from robofb.types import SOURCE_POLICY, SOURCE_SCRIPTED

TASK = "one_leg_insert"
EVALUATION_SEED, DEMONSTRATION_SEED, ROUND_SEED = 50_000_000, 60_000_000, 70_000_000
HABITS = Habits(patience_steps=(30, 28, 12), astray_m=0.015, most_steps=40)
MOST_STEPS = 150  # of an episode with a person, who has time; alone the policy has the task's own 90
BC_WORDS = ("policy=mlp_diffusion", "lr=0.002", "precision=float32", "threads=1")  # the quickstart's
WEIGHTS = ("source_weights.intervention=2", "source_weights.policy=0")
CONTROL_ENVS = 16


@dataclass(frozen=True)
class Settings:
    """What all rounds share.

    Attributes:
        work: folder of everything made.
        expert: run folder of a residual.
        demos: scripted demonstrations of round 0.
        episodes: collected in each further round.
        evaluated: episodes that each policy is judged in.
        steps: optimiser steps of each training.
        seed: of everything random.
    """

    work: Path
    expert: Path
    demos: int
    episodes: int
    evaluated: int
    steps: int
    seed: int

    def round_seed(self, number: int) -> int:
        """Return the seed of the episodes that a round collects."""
        return ROUND_SEED + 1000 * self.seed + number


def corrections(settings: Settings, number: int, last: Path, out: Path) -> dict[str, Any]:
    """Rehearse the last policy while a person corrects it; return what they did."""
    cfg = config.compose("deploy", [f"run={last}", f"task={TASK}", f"task.max_steps={MOST_STEPS}"])
    limits, watch = build_whole("limits", cfg.limits), build_whole("watch", cfg.watch)
    person = Corrector(load_agent(Run.open(settings.expert), 1), HABITS)
    env = make_sim_env(cfg.task, cfg.engine, 1, sim_state=True, autoreset=False)
    with closing(build(cfg.arm, env)) as arm, EpisodeStore.create(out, env.spec, {"round": number}) as store:

        def controller() -> Controller:
            timeline = Timeline(1, fade_s=cfg.fade_s, patience_s=cfg.patience_s)
            return Controller(arm, limits, arm.dt_s, env.spec.control_dt, timeline, watch)

        planner = Planner(load_agent(Run.open(last), 1))
        seed = settings.round_seed(number)
        found = rehearse(planner, arm, controller, settings.episodes, seed, person=person, store=store)
    return {
        "driven_share": sum(found.driven_steps) / sum(found.steps),
        "takeovers": dict(Counter(person.reasons)),
        "corrected_successes": sum(found.success),
        "gave_up": found.ended,
    }


def demonstrations(settings: Settings, number: int, last: Path, out: Path) -> dict[str, Any]:
    """Let the expert demonstrate alone: the control."""
    cfg = config.compose("collect", [f"task={TASK}"])
    agent = load_agent(Run.open(settings.expert), CONTROL_ENVS)
    with closing(make_env(cfg.task, cfg.engine, CONTROL_ENVS, sim_state=True)) as env:
        facts = {"round": number}
        with EpisodeStore.create(out, env.spec, facts) as store:
            record_episodes(
                agent,
                env,
                store,
                settings.episodes,
                settings.round_seed(number),
                facts,
                source=SOURCE_SCRIPTED,
                max_attempts=10,
                advice="the expert is too weak",
            )
    return {"driven_share": 1.0}


METHODS: dict[str, Callable[[Settings, int, Path, Path], dict[str, Any]]] = {
    "corrections": corrections,
    "demonstrations": demonstrations,
}


@dataclass(frozen=True)
class Round:
    """A policy: round 0 is the same for all methods.

    Attributes:
        method: one of `METHODS`.
        number: how often something was collected for it.
    """

    settings: Settings
    method: str
    number: int

    @property
    def folder(self) -> Path:
        """Of what the round makes."""
        return self.settings.work / (f"{self.method}_{self.number}" if self.number else "start")

    @property
    def data(self) -> list[Path]:
        """Datasets that it is trained on."""
        before = [Round(self.settings, self.method, each).folder for each in range(1, self.number + 1)]
        return [self.settings.work / "demonstrations", *(folder / "data" for folder in before)]

    def result(self) -> dict[str, Any]:
        """Return the round's figures, made now unless they were before."""
        settings = self.settings
        facts = {"method": self.method, "round": self.number} if self.number else {"round": 0}
        facts |= {"episodes": settings.evaluated, "steps": settings.steps}
        return kept(self.folder / "round.json", facts | self._made_of, self._make)

    @property
    def _made_of(self) -> dict[str, Any]:
        """What a round's data hang on."""
        settings = self.settings
        of = {"demos": settings.demos, "collected": settings.episodes}
        return of | {"seed_of_all": settings.seed, "expert": str(settings.expert)}

    def _make(self) -> dict[str, Any]:
        """Collect, train, judge."""
        figures, settings, run = self._collected(), self.settings, self.folder / "run"
        data = f"data=[{','.join(map(str, self.data))}]"
        fresh = (data, f"task={TASK}", *BC_WORDS, *WEIGHTS, f"seed={settings.seed}", f"out={run}")
        call("train", "bc", *((f"resume={run}",) if is_run(run) else fresh), f"steps={settings.steps}")
        seed = EVALUATION_SEED + settings.seed
        words = (f"episodes={settings.evaluated}", f"seed={seed}", "num_envs=64", "video=false")
        call("eval", f"run={run}", f"task={TASK}", *words)
        judged = Run.open(run).summary()["eval"]
        return {**figures, "driven_steps": self._driven(), "evaluation_seed": judged["seed"], **judged}

    def _driven(self) -> int:
        """Return how many steps of what the round collected a person drove."""
        with EpisodeStore.open(self.data[-1]) as store:
            return int((store.read("source") != SOURCE_POLICY).sum()) if self.number else 0

    def _collected(self) -> dict[str, Any]:
        """Collect what the round adds, unless that is done; return what a person did."""
        settings, out = self.settings, self.data[-1]
        if not self.number:
            words = (
                f"task={TASK}",
                f"episodes={settings.demos}",
                f"seed={DEMONSTRATION_SEED + settings.seed}",
            )
            call("collect", *words, f"out={out}")
            return {"driven_share": None}
        last = Round(settings, self.method, self.number - 1).folder / "run"

        def collect() -> dict[str, Any]:
            shutil.rmtree(out, ignore_errors=True)  # of one that was stopped
            return METHODS[self.method](settings, self.number, last, out)

        return kept(self.folder / "collected.json", self._made_of, collect)


def line(figures: dict[str, Any]) -> str:
    """Return a row of the table."""
    share = figures["driven_share"]
    rate = SuccessRate(figures["successes"], figures["episodes"])
    driven = "-" if share is None else f"{figures['driven_steps']}, {100 * share:.1f}"
    return f"| {figures.get('method', 'both')} | {figures['round']} | {percent(rate)} | {driven} |"


def chart(rounds: list[dict[str, Any]], methods: list[str]) -> str:
    """Return success against what a person drove in all rounds until then, a line for each method."""
    lines = []
    for method in methods:
        own = [each for each in rounds if each.get("method", method) == method]
        rates = [SuccessRate(each["successes"], each["episodes"]) for each in own]
        ends = [rate.low for rate in rates], [rate.high for rate in rates]
        driven = list(accumulate(each["driven_steps"] for each in own))
        lines.append(Line(method, driven, [rate.rate for rate in rates], *ends))
    return section("Success of the policy alone", "bands: Wilson 95 %", line_chart(lines, "steps driven"))


def main() -> None:
    """Do what is missing, print the table, write the chart, then one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--expert", type=Path, required=True, help="run folder of a residual")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--demos", type=int, default=50)
    parser.add_argument("--episodes", type=int, default=50, help="collected in a round")
    parser.add_argument("--evaluated", type=int, default=256)
    parser.add_argument("--steps", type=int, default=2000, help="of each training")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/hg-dagger-benchmark"))
    parser.add_argument("--no-save", action="store_true", help="leave results and docs as they are")
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = Settings(
        args.work, args.expert, args.demos, args.episodes, args.evaluated, args.steps, args.seed
    )
    print(
        "| method | round | success, % [95 % interval] | steps driven by a person, of all, % |\n"
        "|---|---|---|---|"
    )
    rounds = []
    asked = [("", 0), *((method, number + 1) for method in args.methods for number in range(args.rounds))]
    for method, number in asked:
        rounds.append(Round(settings, method, number).result())
        print(line(rounds[-1]), flush=True)
    page = chart(rounds, args.methods)
    title = "Corrections by a person over rounds"
    save_page(args.work / "hg_dagger.html", title, page, "" if args.no_save else "hg_dagger")
    if args.no_save:
        print(json.dumps(rounds))
    else:
        save_result("hg_dagger", {"rounds": rounds})


if __name__ == "__main__":
    main()
