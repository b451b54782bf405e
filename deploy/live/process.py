"""What processes of a deployment do: leave signals to the supervisor, show that they live, end with it."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any, NoReturn

from robofb.deploy.live.records import LAST_WORD, text
from robofb.deploy.ring import Ring

BEAT_S = 0.05
_M_ARENA_MAX = -8
_ENDS = (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM)
_SIGNALS = {signal.SIGINT, signal.SIGTSTP, *_ENDS}


def attacher(stack: ExitStack) -> Callable[[Any], Ring]:
    """Return what opens a ring by its address; `stack` lets it go."""
    return lambda address: stack.enter_context(closing(Ring.attach(address)))


def share_heap() -> None:
    """Let threads of this process that begin from now on share one heap, where the C library is glibc.

    With a heap each, what one of them gives back is of no use to the others, and a process grows for as long
    as threads of a pool take turns: over 300 episodes the recorder by 24 MB, with one heap by none.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


@contextmanager
def shielded() -> Iterator[None]:
    """Let processes that begin meanwhile take no signal of a terminal, for good: this one takes them.

    Who is stopped by Ctrl-Z, or dies as a terminal is closed, cannot brake the arm. SIGTERM waits for `Life`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # a child inherits it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def in_order() -> Iterator[None]:
    """Take a closed terminal, Ctrl-\\ and SIGTERM for Ctrl-C, and Ctrl-Z for nothing.

    So the one who watches over the arm always ends in order, and never stands still. What is ignored already
    stays so, such as a closed terminal under nohup. Python delivers signals to the main thread alone:
    elsewhere nothing changes.
    """
    with shielded():
        resource_tracker.ensure_running()  # it takes shared memory away after everybody else
    with _handled(dict.fromkeys(_ENDS, _interrupt) | {signal.SIGTSTP: signal.SIG_IGN}):
        yield


@contextmanager
def unheeded() -> Iterator[None]:
    """Let no signal cut short what is done meanwhile; each part of it must come to an end by itself."""
    with _handled(dict.fromkeys(_SIGNALS, signal.SIG_IGN)):
        yield


@contextmanager
def _handled(handlers: Mapping[int, Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = {number: how for number, how in handlers.items() if signal.getsignal(number) != signal.SIG_IGN}
    before = {number: signal.signal(number, how) for number, how in heeded.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, _: object) -> NoReturn:
    if number == signal.SIGHUP:
        signal.signal(number, signal.SIG_IGN)  # a terminal that is closed may say so twice
    raise KeyboardInterrupt


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

    def begin(self, by_order: bool = False) -> None:
        """End in order where one is told to.

        Args:
            by_order: an order says so, not SIGTERM, which all processes of a group may get at once.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN if by_order else self._end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

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
