"""The process that speaks to a UR through ur_rtde for `ur_servo.UrServo`, and may be killed any time."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from robofb.deploy.arms.ur_dashboard import ask_dashboard
from robofb.deploy.arms.ur_servo import LEAVE, LEAVE_S, REFUSED, STARTED, STOP, UPLOAD, ServoSettings

LOG = logging.getLogger(__name__)
_DASHBOARD_S = 1.0
_KICKS = 4  # signs of life in the time after which the robot's watchdog bites
_SET_S = 2.0
_UNWATCHED = "its watchdog could not be set"


class Mail:
    """What the controller wants done: words in their order, and of set-points the newest."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._words: list[str] = []
        self._set_point: list[float] | None = None

    def put(self, message: str | list[float]) -> None:
        """Take a message; a word makes void the set-points before it."""
        with self._news:
            if isinstance(message, list):
                self._set_point = message
            else:
                self._words.append(message)
                self._set_point = None
            self._news.notify()

    def take(self, timeout_s: float | None = None) -> tuple[list[str], list[float] | None]:
        """Wait for messages and return them; none where none came in time."""
        with self._news:
            self._news.wait_for(lambda: self._words or self._set_point, timeout_s)
            taken = self._words, self._set_point
            self._words, self._set_point = [], None
            return taken


class _Robot:
    """The robot's end: calls ur_rtde, and may be stuck in it.

    Each call is a sign of life for the robot's watchdog. At rest this process gives them by itself; while the
    robot follows set-points, only the controller does, by more of them: where it hangs, the robot stops.

    Args:
        control: of ur_rtde.
        settings: how set-points are followed.
        answer: says a word and what went wrong.
    """

    def __init__(self, control: Any, settings: ServoSettings, answer: Callable[[str, str], None]) -> None:
        self._control, self._settings, self._answer = control, settings, answer
        self._work = {STOP: self._stop, UPLOAD: self._upload, LEAVE: self._leave}
        self._follows = False

    def serve(self, mail: Mail) -> None:
        """Do what comes, for ever."""
        settings = self._settings
        shape = settings.period_s, settings.lookahead_s, settings.gain
        while True:
            words, set_point = mail.take(settings.watchdog_s / _KICKS)
            for word in words:
                self._answer(word, self._work[word]())
            if set_point is not None:
                self._follows = True
                if not self._control.servoL(set_point, 0.0, 0.0, *shape):
                    self._answer(REFUSED, REFUSED)
            elif not self._follows:
                self._control.kickWatchdog()

    def watched(self) -> bool:
        """Let the robot watch the script that it runs; return whether it does, for there may be none yet."""
        return bool(self._control.setWatchdog(1.0 / self._settings.watchdog_s))

    def _stop(self) -> str:
        self._follows = False
        if not self._control.servoStop(self._settings.stop_m_s2):
            self._end_script()
        return ""

    def _end_script(self) -> None:
        """End the script, lest it goes on by itself when a pause ends."""
        try:
            ask_dashboard(self._settings.host, STOP, _DASHBOARD_S)
        except OSError as error:
            LOG.warning("the robot's script could not be ended: %s", error)

    def _upload(self) -> str:
        self._stop()  # clears the last set-point in the registers too: the new script would go there
        if not self._control.reuploadScript():
            return "its control script could not be sent"
        until_s = time.monotonic() + _SET_S
        while not self.watched():  # a watchdog ends with its script; the new one takes a while to begin
            if time.monotonic() > until_s:
                return _UNWATCHED
            time.sleep(0.02)
        return ""

    def _leave(self) -> str:
        self._stop()
        self._end_script()
        os._exit(0)  # the library's own way out may take for ever


def main() -> None:
    """Be the process of one connection; ends with the controller's."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the library writes to stdout

    def answer(word: str, wrong: str) -> None:
        answers.write(json.dumps({word: wrong}) + "\n")
        answers.flush()

    settings, mail = ServoSettings(**json.loads(sys.argv[1])), Mail()

    def listen() -> None:
        for line in sys.stdin:
            mail.put(json.loads(line))
        mail.put(LEAVE)  # the controller is gone
        time.sleep(LEAVE_S)
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
    try:
        import rtde_control

        control = rtde_control.RTDEControlInterface(settings.host, settings.stream_hz)
    except (ImportError, RuntimeError) as error:
        answer(STARTED, str(error))
        os._exit(1)
    robot = _Robot(control, settings, answer)
    answer(STARTED, "" if robot.watched() else _UNWATCHED)
    robot.serve(mail)


if __name__ == "__main__":
    main()
