"""Ctrl-C and SIGTERM that let a training loop finish its iteration and save."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any


class InterruptFlag:
    """Turn the first SIGINT or SIGTERM within the `with` block into `raised`; a second interrupts at once.

    SIGTERM is what batch systems and `docker stop` send some seconds before they kill. Outside the main
    thread, where Python delivers no signals, it never becomes raised.

    Args:
        patient: never interrupt at once: torchrun passes Ctrl-C on to its processes, which have seen it
            already, as SIGTERM, and kills them after 30 s.
    """

    def __init__(self, patient: bool = False) -> None:
        self.raised = False
        self.patient = patient
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> InterruptFlag:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._previous[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.raised and not self.patient:
            raise KeyboardInterrupt
        if self.raised:
            return
        self.raised = True
        print(
            "\nsaving after this iteration" + ("" if self.patient else "; Ctrl-C again stops at once"),
            file=sys.stderr,
        )
