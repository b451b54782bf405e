"""The processes of a deployment: started, watched, started again where that is safe, never left behind."""

from __future__ import annotations

import multiprocessing as mp
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from robofb.deploy.live.process import shielded
from robofb.deploy.live.records import Addresses, said
from robofb.deploy.ring import Ring
from robofb.errors import UserError

MINUTE_S = 60.0


class Job(NamedTuple):
    """One process.

    Attributes:
        work: its main function, of a setup, the rings' addresses and the parent's number.
        setup: what it makes its parts from; travels to the process.
        hung_s: it is dead that showed no life for longer, and did not say that it is busy.
        again: whether it may simply be started again.
        start_s: what it may take to begin.
        leave_s: what it may take to leave.
    """

    work: Callable[[Any, Addresses, int], None]
    setup: Any
    hung_s: float
    again: bool = True
    start_s: float = 60.0
    leave_s: float = 5.0


class CrewError(Exception):
    """A process is gone without which nothing can go on; says which, and its last word."""


class Crew:
    """Start jobs by name, and see that they live.

    Args:
        jobs: by name, as their beats are.
        beats: ring of each.
        addresses: of all rings.
        most_restarts: of one of them in a minute.

    Attributes:
        restarts: how often each was started again.
        running: those that have shown that they live since they were started.
    """

    def __init__(
        self,
        jobs: Mapping[str, Job],
        beats: Mapping[str, Ring],
        addresses: Addresses,
        most_restarts: int = 5,
    ) -> None:
        self.most_restarts = most_restarts
        self._restarted_s: dict[str, deque[float]] = {name: deque(maxlen=most_restarts) for name in jobs}
        self._jobs, self._beats, self._addresses = dict(jobs), beats, addresses
        self._context = mp.get_context("spawn")
        self._processes: dict[str, Any] = {}
        self._since: dict[str, tuple[float, int]] = {}  # when it was started, and the newest beat then
        self.restarts: Counter[str] = Counter()

    def start(self) -> None:
        """Start them all."""
        for name in self._jobs:
            self._start(name)

    @property
    def pids(self) -> dict[str, int]:
        """Number of each process, by name."""
        return {name: process.pid for name, process in self._processes.items()}

    def lives(self, name: str) -> bool:
        """Return whether a job has begun its work."""
        beat = self._beats[name].latest()
        return beat is not None and beat.number > self._since[name][1]

    def check(self) -> list[str]:
        """Start anew what died or hangs; return the names.

        Raises:
            CrewError: that may not be done, or was done too often.
            UserError: a process gave up and says why.
        """
        renewed = []
        for name, job in self._jobs.items():
            wrong = self._wrong(name, job)
            if not wrong:
                continue
            self._processes[name].kill()
            self._processes[name].join()
            before = self._restarted_s[name]
            often = len(before) == self.most_restarts and time.monotonic() - before[0] < MINUTE_S
            if not job.again or often:
                raise CrewError(f"the process of the {name} {wrong}{' again' if often else ''}")
            before.append(time.monotonic())
            self.restarts[name] += 1
            self._start(name)
            renewed.append(f"{name} {wrong}")
        return renewed

    def end(self) -> None:
        """Tell those to leave who get no orders; wait for all, as long as each may take; then make them."""
        began_s = time.monotonic()
        for process in self._processes.values():
            process.terminate()
        for name, process in self._processes.items():
            process.join(max(0.0, began_s + self._jobs[name].leave_s - time.monotonic()))
        for process in self._processes.values():
            process.kill()
            process.join()
        self._processes.clear()

    def _wrong(self, name: str, job: Job) -> str:
        """Return what is wrong with a process; empty where nothing is."""
        process, (started_s, number) = self._processes[name], self._since[name]
        beat = self._beats[name].latest()
        fresh = beat is not None and beat.number > number
        word = said(bytes(beat.value["word"])) if beat is not None and fresh else ""
        if word:  # it may take a while yet to be gone
            raise UserError(word)
        if not process.is_alive():
            return f"died ({process.exitcode})"
        heard_s = float(beat.value["at_s"]) if beat is not None and fresh else started_s + job.start_s
        until_s = float(beat.value["until_s"]) if beat is not None and fresh else heard_s
        now_s = time.monotonic()
        hangs = now_s > max(heard_s + job.hung_s, until_s)
        return f"showed no life for {now_s - heard_s:.1f} s" if hangs else ""

    def _start(self, name: str) -> None:
        job = self._jobs[name]
        beat = self._beats[name].latest()
        self._since[name] = (time.monotonic(), beat.number if beat is not None else 0)
        args = (job.setup, self._addresses, os.getpid())
        process = self._context.Process(target=job.work, args=args, name=name, daemon=True)
        with shielded():
            process.start()
        self._processes[name] = process
