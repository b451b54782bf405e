"""A session of the line policy on the written arm, and a script that says what happens in it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robofb.deploy.live.conductor import Conductor
from robofb.deploy.live.fake import (
    HZ,
    SPEC,
    STEP_S,
    FullRecordSetup,
    SaidCameraSetup,
    SaidTeleopSetup,
    line_parts,
    num_stops,
    say,
    sent_to,
    unsay,
)
from robofb.deploy.live.recorder_process import RecordSetup
from robofb.deploy.live.records import Addresses
from robofb.deploy.live.session import LiveSession, Outcome, Parts
from robofb.store.episodes import EpisodeStore
from robofb.types import Episode

__all__ = [
    "HZ",
    "SPEC",
    "STEP_S",
    "DyingRecordSetup",
    "FullRecordSetup",
    "SaidCameraSetup",
    "SaidTeleopSetup",
    "Script",
    "SlowRecordSetup",
    "line_parts",
    "num_stops",
    "run_line",
    "say",
    "sent_to",
    "unsay",
]


@dataclass(frozen=True)
class DyingRecordSetup(RecordSetup):
    """A recorder that is killed once, as soon as its first episode is on disk and before it can say so."""

    def opened(self) -> None:
        """Make it so, in the recorder's own process."""
        append, died = EpisodeStore.append, self.path.parent / "died"

        def append_and_die(store: EpisodeStore, episode: Episode) -> int:
            number = append(store, episode)
            if not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return number

        EpisodeStore.append = append_and_die  # type: ignore[method-assign]


@dataclass(frozen=True)
class SlowRecordSetup(RecordSetup):
    """A recorder whose disk takes "no pictures" or "no episodes" while `say` says so beside the dataset."""

    def opened(self) -> None:
        """Make it so, in the recorder's own process."""
        append, pwrite = EpisodeStore.append, os.pwrite

        def wait(word: str) -> None:
            while (self.path.parent / word).exists():
                time.sleep(0.01)

        def late_append(store: EpisodeStore, episode: Episode) -> int:
            wait("no episodes")
            return append(store, episode)

        def late_pwrite(*args: Any) -> int:
            wait("no pictures")
            return pwrite(*args)

        EpisodeStore.append = late_append  # type: ignore[method-assign]
        os.pwrite = late_pwrite


class Script:
    """An operator that says things when a condition holds, and writes all status down.

    Args:
        lines: pairs of a condition on (session, status) and what is said or done then, in order.
        patience_s: what all of it may take.
    """

    def __init__(self, lines: Sequence[tuple[Any, Any]] = (), patience_s: float = 120.0) -> None:
        self.lines = list(lines)
        self._until_s = time.monotonic() + patience_s
        self.seen: list[dict[str, str]] = []
        self.session: LiveSession | None = None

    def attach(self, addresses: Addresses, parts: Parts) -> None:
        """Look at nothing but the status."""

    def events(self) -> list[str]:
        """Return what the next line says, if its time has come."""
        assert time.monotonic() < self._until_s, f"{len(self.lines)} lines to go: {self.seen[-5:]}"
        if not self.lines or not self.seen:
            return []
        condition, what = self.lines[0]
        if not condition(self.seen[-1]):
            return []
        self.lines.pop(0)
        if callable(what):
            what()
            return []
        return [what]

    def open(self) -> None:
        """Take nothing over."""

    def close(self) -> None:
        """Let nothing go."""

    def show(self, status: Mapping[str, str]) -> None:
        """Write it down."""
        if not self.seen or dict(status) != self.seen[-1]:
            self.seen.append(dict(status))


def alive(pid: int) -> bool:
    """Return whether a process runs; one that ended and waits for its parent does not."""
    return state_of(pid) not in ("", "Z")


def state_of(pid: int) -> str:
    """Return a process's state as the kernel's letter: T is stopped; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def run_line(
    folder: Path, script: Script, *, data: Path | None = None, attended: bool = False, **more: Any
) -> tuple[LiveSession, Outcome]:
    """Run a session of the line policy; return it with its outcome."""
    told = {key: more.pop(key) for key in ("max_steps", "abort_s") if key in more}
    conductor = Conductor(more.pop("episodes", 1), 3, attended=attended, **{"max_steps": 25, **told})
    session = LiveSession(line_parts(folder, data=data, **more), conductor, script)
    script.session = session
    return session, session.run()
