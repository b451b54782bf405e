"""What goes wrong in half an hour of deployment, and the person who goes on: see `deploy_soak.py`."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from peers import UrPeer
from processes import children_of, go_on, memory_mb

from robofb.deploy.live.fake import say, unsay
from robofb.deploy.live.records import Addresses
from robofb.deploy.live.session import LiveSession, Parts
from robofb.progress import progress_bar

SPOKEN = {  # what parts are told, and for how long at most [s]
    "nan": 1.0,
    "text": 1.0,
    "jump": 2.0,
    "far": 2.0,
    "slow": 3.0,
    "die": 0.1,
    "held": 2.0,
    "gone": 1.0,
    "blind": 0.6,
    "blind for long": 2.5,
    "repeating": 0.6,
}
BOXED: dict[
    str, tuple[dict[str, object], dict[str, object], float]
] = {  # what the box shows, what it shows after that, and when at the latest [s]
    "protective stop": ({"safety": 3}, {}, 0.0),
    "emergency stop": ({"safety": 7}, {"safety": 1, "mode": 7}, 2.0),
    "pushed": ({"force": [60.0, 0, 0, 0, 0, 0]}, {"force": [0.0] * 6}, 0.5),
    "frozen stream": ({"frozen": True}, {"frozen": False}, 0.5),
    "closed links": ({"drops": True}, {}, 0.0),
    "script ended": ({"runtime": 1}, {}, 0.0),
}
HANGS, DIES, HANGS_S, DIES_S = "box hangs", "box dies", 1.5, 3.0
SIGNALLED = {  # what happens to a process, and for how long at most [s]; 0 is its end
    "policy: SIGKILL": ("policy", signal.SIGKILL, 0.0),
    "policy: SIGSTOP": ("policy", signal.SIGSTOP, 2.0),
    "arm: SIGSTOP": ("arm", signal.SIGSTOP, 0.5),
    "speaker: SIGKILL": ("speaker", signal.SIGKILL, 0.0),
    "speaker: SIGSTOP": ("speaker", signal.SIGSTOP, 0.5),
    "teleop: SIGKILL": ("teleop", signal.SIGKILL, 0.0),
    "camera front: SIGKILL": ("camera front", signal.SIGKILL, 0.0),
}
MOST_S = {
    **SPOKEN,
    **{name: most_s for name, (*_, most_s) in (BOXED | SIGNALLED).items()},
    HANGS: HANGS_S,
    DIES: DIES_S,
}
WORDS = ("success", "failure", "discard", "pause", "stop")
PAUSE_S = (2.0, 6.0)
SAMPLE_S = 10.0


class Chaos:
    """An operator who lets things go wrong, and goes on. Satisfies `session.Operator`.

    Args:
        folder: by which parts are told.
        box: of the arm.
        seconds: after which it ends the session.
        seed: of what goes wrong when.

    Attributes:
        faults: how often each was put in the way.
        memory_mb: of all processes by name and number, over time.
        pids: of all processes that were started.
    """

    def __init__(self, folder: Path, box: UrPeer, seconds: float, seed: int) -> None:
        self.folder, self.box, self.seconds, self.random = folder, box, seconds, random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.memory_mb: dict[str, list[tuple[float, float]]] = {}
        self.session: LiveSession | None = None
        self.pids: set[int] = set()
        self._began_s = time.monotonic()
        self._next_s = self._sampled_s = self._began_s + PAUSE_S[1]
        self._ends: list[tuple[float, Callable[[], None]]] = []
        self._said: list[str] = []
        self._status: dict[str, str] = {}
        self._box_is_well = True
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
            self.pids |= set(self._processes().values())
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
        of_box = [*BOXED, HANGS, DIES] if self._box_is_well else []
        name = self.random.choice([*SPOKEN, *SIGNALLED, *WORDS, *of_box])
        until_s = now_s + self.random.uniform(0.05, 1.0) * MOST_S.get(name, 0.0)
        if name in WORDS:
            self._said.append(name)
        elif name in SPOKEN:
            word = name.split()[0]
            say(self.folder, word)
            self._ends.append((until_s, lambda: unsay(self.folder, word)))
        elif name in SIGNALLED:
            who, what, _ = SIGNALLED[name]
            if not self._signal(who, what, until_s):
                return
        else:
            self._box_is_well = False
            self._ends.append((until_s, self._harm(name)))
        self.faults[name] += 1

    def _signal(self, who: str, what: signal.Signals, until_s: float) -> bool:
        """Send a signal to a process; return whether it is there."""
        pid = self._processes().get(who)
        if pid is None:
            return False
        os.kill(pid, what)
        if what == signal.SIGSTOP:
            self._ends.append((until_s, lambda: go_on(pid)))
        return True

    def _harm(self, name: str) -> Callable[[], None]:
        """Let something happen to the box; return what ends it."""
        if name == HANGS:
            self.box.pause()
            return lambda: self._heal(self.box.go_on)
        if name == DIES:
            self.box.kill()
            again = threading.Thread(target=lambda: self._heal(self.box.start_again), daemon=True)
            return again.start  # it takes a while, in which the supervisor must live
        shows, then, _ = BOXED[name]
        self.box.tell(**shows)
        return lambda: self._heal(lambda: self.box.tell(**then))

    def _heal(self, how: Callable[[], object]) -> None:
        how()
        self._box_is_well = True

    def _processes(self) -> dict[str, int]:
        """Return the numbers of the session's processes, and of that which speaks to the robot."""
        assert self.session is not None
        pids = dict(self.session.crew.pids)
        if speakers := children_of(pids.get("arm", 0)):
            pids["speaker"] = speakers[-1]
        return pids

    def _sample(self, now_s: float) -> None:
        """Note how much memory each process holds."""
        self._sampled_s = now_s + SAMPLE_S
        self._bar.update(round(now_s - self._began_s) - self._bar.n)
        for name, pid in {"supervisor": os.getpid(), **self._processes()}.items():
            if (size := memory_mb(pid)) is not None:
                self.memory_mb.setdefault(f"{name} {pid}", []).append((now_s - self._began_s, size))
