"""Deployment for half an hour with faults of all kinds at random times: what the arm got, and what was left.

python benchmarks/deploy_soak.py [--minutes 30] [--seed 0] [--work runs/soak] [--no-save]

The processes are the real ones. The arm is a UR whose control box, in a process of its own, speaks the
robot's protocols and writes down every set-point that comes. The policy goes to and fro along a line, and a
camera shows a test picture. Every few seconds one of them errs, is killed or stands still, and a person, who
is a script, takes over, lets go, judges, and goes on after each fault. The recorder alone is spared: what it
had not yet written would be lost with it. So is the arm's process, but for standing still: with it the
session ends, as it should.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soak_arm
from peers import ur_peer
from processes import memory_mb
from results import save_result
from soak_faults import Chaos

from robofb.build import build
from robofb.config import compose
from robofb.deploy.limits import Limits
from robofb.deploy.live.arm_process import ArmSetup
from robofb.deploy.live.conductor import Conductor
from robofb.deploy.live.deployment import plain
from robofb.deploy.live.fake import STEP_S, SaidCameraSetup, SaidTeleopSetup, line_parts
from robofb.deploy.live.session import LiveSession, Outcome, Parts
from robofb.store.episodes import EpisodeStore

HZ = 100.0
HUNG_S = 5.0
Samples = Sequence[tuple[float, float]]  # seconds and MB


def parts_of(folder: Path, host: str) -> tuple[Parts, Limits]:
    """Return what is deployed, of `arm=ur` as it comes, and its limits."""
    cfg = compose("deploy", ["run=x", "arm=ur", f"arm.host={host}"])
    settings = {name: value for name, value in plain(cfg.arm).items() if name not in ("_target_", "gripper")}
    limits: Limits = build(cfg.limits)
    parts = line_parts(
        folder,
        data=folder / "data",
        teleop=SaidTeleopSetup({}, folder),
        cameras={"front": SaidCameraSetup("front", {}, 48, 64, folder)},
        arm_hung_s=HUNG_S,
        most_restarts=100,
    )
    place = soak_arm.WrittenUrPlace(folder, settings, HZ)
    return replace(parts, arm=ArmSetup(place, limits, build(cfg.watch), STEP_S)), limits


def growth_mb_h(samples: Samples) -> float | None:
    """Return how fast memory grew [MB/h] in the later two thirds of a life; None where that is too short."""
    late = [each for each in samples if each[0] > samples[0][0] + (samples[-1][0] - samples[0][0]) / 3]
    if len(late) < 12:
        return None
    times, sizes = np.array(late).T
    return float(np.polyfit(times / 3600, sizes, 1)[0])


def memory_of(chaos: Chaos) -> dict[str, Any]:
    """Return by process how fast the longest life of one grew, and the most that one held."""
    lives: dict[str, list[Samples]] = {}
    for who, samples in chaos.memory_mb.items():
        lives.setdefault(who.rpartition(" ")[0], []).append(samples)
    growth = {name: growth_mb_h(max(each, key=len)) for name, each in lives.items()}
    return {
        "memory_growth_mb_h": {name: rate for name, rate in growth.items() if rate is not None},
        "memory_most_mb": {
            name: max(size for life in each for _, size in life) for name, each in lives.items()
        },
    }


def kept_of(outcome: Outcome, data: Path) -> dict[str, Any]:
    """Return what became of the episodes."""
    with EpisodeStore.open(data) as store:
        kept = {int(episode.meta["episode_seed"]) for episode in store}
    complete = {
        each.seed for each in outcome.ended if each.label in ("success", "failure") and each.steps > 1
    }
    return {
        "episodes": dict(Counter(each.label for each in outcome.ended)),
        "in_the_dataset": len(kept),
        "completed_but_lost": len(complete - kept),
        "dropped": outcome.dropped,
    }


def main() -> None:
    """Run, judge, print and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/soak"), help="a folder that is not there")
    parser.add_argument("--no-save", action="store_true", help="leave results as they are")
    args = parser.parse_args()
    args.work.mkdir(parents=True)
    with ur_peer(args.work / soak_arm.CAME) as box:
        parts, limits = parts_of(args.work, box.host)
        chaos = Chaos(args.work, box, 60 * args.minutes, args.seed)
        conductor = Conductor(10**6, args.seed, attended=True, max_steps=150)
        chaos.session = LiveSession(parts, conductor, chaos)
        try:
            outcome = chaos.session.run()
        finally:
            chaos.close()
    found = {
        "minutes": args.minutes,
        "seed": args.seed,
        "faults": dict(chaos.faults),
        **soak_arm.judged(args.work, limits, 1 / HZ),
        **kept_of(outcome, args.work / "data"),
        "processes_left": sum(memory_mb(pid) is not None for pid in chaos.pids - {os.getpid()}),
        **memory_of(chaos),
        "restarts": outcome.restarts,
        "counts": outcome.counts,
    }
    print(json.dumps(found, indent=1))
    if not args.no_save:
        save_result("deploy_soak", found)


if __name__ == "__main__":
    main()
