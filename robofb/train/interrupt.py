"""Ctrl-C that lets a training loop finish its iteration and save."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any


class InterruptFlag:
    """Turn the first SIGINT within the `with` block into `raised`; a second one interrupts at once.

    Outside the main thread, where Python delivers no signals, it never becomes raised.
    """

    def __init__(self) -> None:
        self.raised = False
        self._previous: Any = None

    def __enter__(self) -> InterruptFlag:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.raised:
            raise KeyboardInterrupt
        self.raised = True
        print("\nsaving after this iteration; Ctrl-C again stops at once", file=sys.stderr)
