"""What every process of a deployment does: leave Ctrl-C to its parent, show that it lives, end with it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from robofb.deploy.live.records import LAST_WORD, text
from robofb.deploy.ring import Ring

BEAT_S = 0.05


def attacher(stack: ExitStack) -> Callable[[Any], Ring]:
    """Return what opens a ring by its address; `stack` lets it go."""
    return lambda address: stack.enter_context(closing(Ring.attach(address)))


class Life:
    """A process's own life: made in the process, asked in its loop.

    Args:
        beats: ring to write to.
        parent: process without which this one ends.
    """

    def __init__(self, beats: Ring, parent: int) -> None:
        self._beats, self._parent = beats, parent
        self._last_s = float("-inf")
        self._ended = False

    def begin(self) -> None:
        """Leave Ctrl-C to the supervisor, which says in its order what is to be ended how."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._end)

    @property
    def over(self) -> bool:
        """Whether to come to an end: one was told so, or the parent is gone."""
        return self._ended or os.getppid() != self._parent

    def beat(self) -> None:
        """Show that this process does its work, now and then."""
        now_s = time.monotonic()
        if now_s - self._last_s >= BEAT_S:
            self._last_s = now_s
            self._beats.write(at_s=now_s, until_s=now_s, word=b"")

    @contextmanager
    def busy(self, most_s: float) -> Iterator[None]:
        """Say that what is done meanwhile may take so long without a sign of life, and that it is over."""
        now_s = time.monotonic()
        self._beats.write(at_s=now_s, until_s=now_s + most_s, word=b"")
        try:
            yield
        finally:
            self._last_s = float("-inf")
            self.beat()

    def last_word(self, word: str) -> None:
        """Say why this process gives up."""
        now_s = time.monotonic()
        self._beats.write(at_s=now_s, until_s=now_s, word=text(word, LAST_WORD))

    def _end(self, *_: object) -> None:
        self._ended = True


class Pace:
    """Keep a loop's period; a late one is never made up for in a burst.

    Args:
        dt_s: the period.
    """

    def __init__(self, dt_s: float) -> None:
        self.dt_s = dt_s
        self._due_s = time.monotonic()

    def wait(self) -> None:
        """Sleep until the next period begins, if that is ahead."""
        self._due_s += self.dt_s
        left_s = self._due_s - time.monotonic()
        if left_s > 0:
            time.sleep(left_s)
        else:
            self._due_s = time.monotonic()
