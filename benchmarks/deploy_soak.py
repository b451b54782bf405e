"""Deployment for half an hour with faults of all kinds at random times: what the arm got, and what was left.

python benchmarks/deploy_soak.py [--minutes 30] [--seed 0] [--work runs/soak] [--no-save]

The processes are the real ones; the arm is an ideal one that writes down every command with its time, the
policy goes to and fro along a line, and a camera shows a test picture. Every few seconds one of them errs, is
killed or stands still, and a person, who is a script, takes over, lets go, judges, and goes on after each
fault. The recorder alone is spared: what it had not yet written would be lost with it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from motion_bounds import shares_of
from results import save_result

from robofb.deploy.limits import Limits
from robofb.deploy.live.conductor import Conductor
from robofb.deploy.live.fake import (
    SaidCameraSetup,
    SaidTeleopSetup,
    line_parts,
    say,
    sent_to,
    unsay,
)
from robofb.deploy.live.records import Addresses
from robofb.deploy.live.session import LiveSession, Outcome, Parts
from robofb.deploy.pose import Pose
from robofb.progress import progress_bar
from robofb.store.episodes import EpisodeStore

HZ = 100.0
SPOKEN = {  # what parts are told, and for how long at most [s]
    "nan": 1.0,
    "text": 1.0,
    "jump": 2.0,
    "far": 2.0,
    "slow": 3.0,
    "die": 0.1,
    "reflex": 0.5,
    "frozen": 0.5,
    "lost": 1.5,
    "held": 2.0,
    "gone": 1.0,
    "blind": 0.6,
    "blind for long": 2.5,
    "repeating": 0.6,
}
SIGNALLED = {  # what happens to a process, and for how long at most [s]; 0 is its end
    ("policy", signal.SIGKILL): 0.0,
    ("policy", signal.SIGSTOP): 2.0,
    ("arm", signal.SIGSTOP): 0.5,
    ("teleop", signal.SIGKILL): 0.0,
    ("camera front", signal.SIGKILL): 0.0,
}
PAUSE_S = (2.0, 6.0)
SAMPLE_S = 10.0


class Chaos:
    """An operator who lets things go wrong, and goes on. Satisfies `session.Operator`.

    Args:
        folder: by which parts are told.
        seconds: after which it ends the session.
        seed: of what goes wrong when.

    Attributes:
        faults: how often each was put in the way.
        memory_mb: of all processes by name and number, over time.
        pids: of all processes that were started.
    """

    def __init__(self, folder: Path, seconds: float, seed: int) -> None:
        self.folder, self.seconds, self.random = folder, seconds, random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.memory_mb: dict[str, list[tuple[float, float]]] = {}
        self.session: LiveSession | None = None
        self.pids: set[int] = set()
        self._began_s = time.monotonic()
        self._next_s = self._sampled_s = self._began_s + PAUSE_S[1]
        self._ends: list[tuple[float, Callable[[], None]]] = []
        self._said: list[str] = []
        self._status: dict[str, str] = {}
        self._bar = progress_bar(round(seconds), "soak", "s")

    def open(self) -> None:
        """Take nothing over."""

    def attach(self, addresses: Addresses, parts: Parts) -> None:
        """Look at nothing but the status."""

    def close(self) -> None:
        """Take back what is left."""
        for _, end in self._ends:
            end()
        self._bar.close()

    def events(self) -> list[str]:
        """Return what the person says, and let something go wrong now and then."""
        now_s = time.monotonic()
        for end_s, end in list(self._ends):
            if now_s >= end_s:
                end()
                self._ends.remove((end_s, end))
        if self.session is not None:
            self.pids |= set(self.session.crew.pids.values())
        if now_s >= self._sampled_s:
            self._sample(now_s)
        if now_s - self._began_s > self.seconds:
            return ["quit"]
        if now_s >= self._next_s:
            self._next_s = now_s + self.random.uniform(*PAUSE_S)
            self._err(now_s)
        said, self._said = self._said, []
        waits = self._status.get("arm") in ("hold", "fault") or self._status.get("session") != "running"
        if waits and self.random.random() < 0.05:
            said.append("start")
        return said

    def show(self, status: Mapping[str, str]) -> None:
        """Remember it."""
        self._status = dict(status)

    def _err(self, now_s: float) -> None:
        """Put one fault, or one word of the person, in the way."""
        words = ("success", "failure", "discard", "pause", "stop")
        name = self.random.choice([*SPOKEN, *(f"{who}: {what.name}" for who, what in SIGNALLED), *words])
        self.faults[name] += 1
        if name in words:
            self._said.append(name)
        elif name in SPOKEN:
            word = name.split()[0]
            say(self.folder, word)
            self._until(now_s + self.random.uniform(0.05, SPOKEN[name]), lambda: unsay(self.folder, word))
        else:
            assert self.session is not None
            who, _, what = name.partition(": ")
            pid = self.session.crew.pids[who]
            os.kill(pid, signal.Signals[what])
            if what == "SIGSTOP":
                most_s = SIGNALLED[who, signal.SIGSTOP]
                self._until(now_s + self.random.uniform(0.05, most_s), lambda: _go_on(pid))

    def _until(self, when_s: float, end: Callable[[], None]) -> None:
        self._ends.append((when_s, end))

    def _sample(self, now_s: float) -> None:
        """Note how much memory each process holds."""
        assert self.session is not None
        self._sampled_s = now_s + SAMPLE_S
        self._bar.update(round(now_s - self._began_s) - self._bar.n)
        for name, pid in {"supervisor": os.getpid(), **self.session.crew.pids}.items():
            if (size := memory_mb(pid)) is not None:
                self.memory_mb.setdefault(f"{name} {pid}", []).append((now_s - self._began_s, size))


def memory_mb(pid: int) -> float | None:
    """Return what a process holds of its own [MB]; None where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    sizes = [int(line.split()[1]) for line in lines if line.startswith("RssAnon")]
    return sizes[0] / 1024 if sizes else None


def growth_mb_h(samples: list[tuple[float, float]]) -> float | None:
    """Return how fast memory grew [MB/h] in the later two thirds of a life; None where that is too short."""
    late = [each for each in samples if each[0] > samples[0][0] + (samples[-1][0] - samples[0][0]) / 3]
    if len(late) < 12:
        return None
    times, sizes = np.array(late).T
    return float(np.polyfit(times / 3600, sizes, 1)[0])


def most_mb(lives: list[list[tuple[float, float]]]) -> float:
    """Return the most memory [MB] that a process of some name held."""
    return max(size for samples in lives for _, size in samples)


def worst_shares(folder: Path, limits: Limits) -> dict[str, float]:
    """Return by name the largest share of each bound in all that the arm got, from one stop to the next."""
    sent = sent_to(folder)
    worst: dict[str, float] = {}
    for part in np.split(sent, np.flatnonzero(np.isnan(sent["wall_s"]))):
        moving = part[np.isfinite(part["wall_s"])]
        if len(moving) > 4:
            poses = [Pose(tuple(row["position"]), tuple(row["turn"])) for row in moving]
            for name, share in shares_of(poses, limits, 1 / HZ).items():
                worst[name] = max(worst.get(name, 0.0), share)
    return worst


def judged(chaos: Chaos, outcome: Outcome, data: Path, folder: Path, limits: Limits) -> dict[str, Any]:
    """Return what the half hour came to."""
    shares = worst_shares(folder, limits)
    with EpisodeStore.open(data) as store:
        kept = [int(episode.meta["episode_seed"]) for episode in store]
    complete = [each for each in outcome.ended if each.label in ("success", "failure") and each.steps > 1]
    sampled: dict[str, list[list[tuple[float, float]]]] = {}
    for who, samples in chaos.memory_mb.items():
        sampled.setdefault(who.rpartition(" ")[0], []).append(samples)
    growth = {name: growth_mb_h(max(lives, key=len)) for name, lives in sampled.items()}
    return {
        "faults": dict(chaos.faults),
        "commands": int(np.isfinite(sent_to(folder)["wall_s"]).sum()),
        "shares_of_bounds": shares,
        "violations": sum(share > 1 + 1e-6 for share in shares.values()),
        "episodes": dict(Counter(each.label for each in outcome.ended)),
        "in_the_dataset": len(kept),
        "completed_but_lost": len({each.seed for each in complete} - set(kept)),
        "dropped": outcome.dropped,
        "processes_left": sum(memory_mb(pid) is not None for pid in chaos.pids - {os.getpid()}),
        "memory_growth_mb_h": {name: rate for name, rate in growth.items() if rate is not None},
        "memory_most_mb": {name: most_mb(lives) for name, lives in sampled.items()},
        "restarts": outcome.restarts,
        "counts": outcome.counts,
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
    limits, data = Limits(), args.work / "data"
    parts = line_parts(
        args.work,
        data=data,
        hz=HZ,
        teleop=SaidTeleopSetup({}, args.work),
        cameras={"front": SaidCameraSetup("front", {}, 48, 64, args.work)},
        most_restarts=100,
    )
    chaos = Chaos(args.work, 60 * args.minutes, args.seed)
    conductor = Conductor(10**6, args.seed, attended=True, max_steps=150)
    chaos.session = LiveSession(parts, conductor, chaos)
    try:
        outcome = chaos.session.run()
    finally:
        chaos.close()
    found = {"minutes": args.minutes, "seed": args.seed, **judged(chaos, outcome, data, args.work, limits)}
    print(json.dumps(found, indent=1))
    if not args.no_save:
        save_result("deploy_soak", found)


def _go_on(pid: int) -> None:
    """Wake a process, if it is still there."""
    if memory_mb(pid) is not None:
        os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    main()
