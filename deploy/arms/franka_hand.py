"""The Franka hand: opens and closes in threads of its own, for each of its calls takes up to a second."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from robofb.deploy.arms.franka_link import load_franky, open_within
from robofb.errors import check_positive

_LOOK_S = 0.05  # between two looks at its width
_LET_GO_S = 2.0


class FrankaHand:
    """Open or close when that changes; a new wish waits until the last one is done.

    Nothing moves when it is connected. Home it in Desk after changing its fingers.

    Args:
        force_n: that it grasps with.
        speed_m_s: of the width.
        open_m: width when open.
        timeout_s: after which a move or grasp that has not ended is a fault.

    Attributes:
        gripper: -1 (open) .. 1 (closed), measured; 1 as well while it holds something, however wide.
        fault: why it does not do as told; empty where it does.
        lost: why nobody answers; empty while it is connected.
    """

    def __init__(self, force_n: float, speed_m_s: float, open_m: float, timeout_s: float) -> None:
        self.force_n, self.speed_m_s, self.open_m, self.timeout_s = force_n, speed_m_s, open_m, timeout_s
        check_positive(self, "force_n", "speed_m_s", "open_m", "timeout_s")
        self.gripper, self.fault, self.lost = -1.0, "", ""
        self._closed = False  # as it was last told or, before, as it was found
        self._wants_closed = False
        self._wish = threading.Condition()
        self._began_s = math.inf  # when it was told what it does now
        self._left = threading.Event()
        self._threads: list[threading.Thread] = []

    def connect(self, host: str, timeout_s: float) -> None:
        """Open the link.

        Raises:
            UserError: nobody answers, or franky is missing.
        """
        self.close()
        franky = load_franky()
        name = f"the Franka hand at {host}"
        hand = open_within(lambda: franky.Gripper(host), timeout_s, name)
        self.lost, self._began_s, self._left = "", math.inf, threading.Event()
        self._measure(hand)
        self.recover()

        def start(work: Callable[[Any, threading.Event], None]) -> threading.Thread:
            def until_lost(left: threading.Event) -> None:
                try:
                    work(hand, left)
                except (franky.Exception, RuntimeError) as error:  # the latter: it was broken before
                    self.lost = "" if left.is_set() else f"{name} is gone: {error}"

            # a daemon, and no future of franky's, whose end would wait for a hand that never answers
            thread = threading.Thread(target=until_lost, args=(self._left,), name=name, daemon=True)
            thread.start()
            return thread

        self._threads = [start(self._act), start(self._look)]

    def want(self, gripper: float) -> None:
        """Close where `gripper` is above 0, else open; returns at once."""
        with self._wish:
            self._wants_closed = gripper > 0
            self._wish.notify_all()

    def recover(self) -> None:
        """Forget the fault, and what was wanted, once a person has acknowledged it."""
        with self._wish:
            self.fault = ""
            self._closed = self._wants_closed = self.gripper > 0

    def close(self) -> None:
        """Let the hand go as it is; safe twice."""
        with self._wish:
            self._left.set()
            self._wish.notify_all()
        for thread in self._threads:
            thread.join(_LET_GO_S)
        self._threads = []

    def _act(self, hand: Any, left: threading.Event) -> None:
        """Open and close as wanted; one order never crosses another."""
        while True:
            with self._wish:
                self._wish.wait_for(lambda: left.is_set() or self._changes())
                if left.is_set():
                    return
                closes = self._closed = self._wants_closed
            self._began_s = time.monotonic()
            if closes:  # on whatever width it finds
                done = hand.grasp(0.0, self.speed_m_s, self.force_n, self.open_m, self.open_m)
            else:
                done = hand.move(self.open_m, self.speed_m_s)
            if left.is_set():
                return
            self._began_s = math.inf
            if not done:
                self.fault = f"a hand that could not {'close' if closes else 'open'}"

    def _look(self, hand: Any, left: threading.Event) -> None:
        """Measure, and mind the time."""
        while not left.wait(_LOOK_S):
            self._measure(hand)
            if time.monotonic() - self._began_s > self.timeout_s:
                self.fault = f"a hand that has not done as told for {self.timeout_s:g} s"

    def _changes(self) -> bool:
        return self._wants_closed != self._closed and not self.fault

    def _measure(self, hand: Any) -> None:
        state = hand.state
        share = min(max(state.width / self.open_m, 0.0), 1.0)
        self.gripper = 1.0 if state.is_grasped else 1.0 - 2.0 * share
