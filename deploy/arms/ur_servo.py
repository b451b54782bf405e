"""Send set-points to a UR through ur_rtde from a process of its own, which can be killed.

That library (1.6.5) may block for 300 s in a stop while the robot says nothing. After 2.5 s of silence it
connects anew by itself, sends its script again, and so on without end, until its process crashes. None of
that may happen to the process that controls an arm. The two processes exchange lines of JSON by pipes.
"""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from robofb.deploy.arms.arm import ArmError, LinkLostError
from robofb.deploy.arms.ur_dashboard import ask_dashboard

LOG = logging.getLogger(__name__)
STARTED, STOP, UPLOAD, LEAVE = "started", "stop", "upload", "leave"
_REFUSED = "refused"
_LEAVE_S = 5.0  # until a process that was told to leave is killed
_DASHBOARD_S = 1.0
_KICKS = 4  # signs of life in the time after which the robot's watchdog bites
_SET_S = 2.0
_UNWATCHED = "its watchdog could not be set"


@dataclass(frozen=True)
class ServoSettings:
    """How set-points are followed.

    Attributes:
        host: address of the control box.
        stream_hz: how often the robot says what it does.
        period_s: between set-points.
        lookahead_s: over which the robot smooths its way; 0.03 to 0.2.
        gain: with which it follows; 100 to 2000.
        stop_m_s2: deceleration of a stop.
        watchdog_s: the robot ends the control script by itself where it hears nothing for longer.
    """

    host: str
    stream_hz: float
    period_s: float
    lookahead_s: float
    gain: float
    stop_m_s2: float
    watchdog_s: float


class UrServo:
    """The controller's end. One process serves one connection.

    Args:
        settings: of the other end.
    """

    def __init__(self, settings: ServoSettings) -> None:
        self.settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._heard = b""
        self._refused = False

    def start(self, timeout_s: float) -> None:
        """Start the process; its script runs on the robot when this returns.

        Raises:
            ArmError: it does not; says why.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps(asdict(self.settings))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the controller, which then stops the arm through this
        )
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        try:
            self._wait_for(STARTED, timeout_s)
        except ArmError:
            self.kill()
            raise

    @property
    def alive(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.poll() is None

    def send(self, tool: Sequence[float]) -> None:
        """Send a set-point: x, y, z [m], and a rotation vector [rad]. The newest alone counts.

        Raises:
            ArmError: the robot took none of late.
            LinkLostError: the process is gone or stuck.
        """
        self._tell(list(tool))
        for answer in self._answers(0.0):
            self._refused |= _REFUSED in answer
        if self._refused:
            raise ArmError("its control script takes no set-points")

    def stop(self) -> None:
        """Brake; where the control script cannot, end it.

        Raises:
            LinkLostError: the process is gone or stuck.
        """
        self._tell(STOP)

    def upload(self, timeout_s: float) -> None:
        """Send the control script anew; nothing that was commanded before counts.

        Raises:
            ArmError: it could not be sent.
            LinkLostError: the process is gone or stuck.
        """
        self._tell(UPLOAD)
        self._wait_for(UPLOAD, timeout_s)
        self._refused = False

    def kill(self) -> None:
        """End the process at once, and do without the robot; safe twice."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process = None

    def close(self) -> None:
        """Brake, end the control script and the process; safe twice."""
        try:
            self._tell(LEAVE)
            assert self._process is not None
            self._process.wait(_LEAVE_S)
        except (LinkLostError, subprocess.TimeoutExpired):
            pass  # it is killed then
        self.kill()

    def _tell(self, message: str | list[float]) -> None:
        if self._process is None:
            raise LinkLostError("its link is closed")
        assert self._process.stdin is not None
        line = json.dumps(message).encode() + b"\n"  # shorter than what a pipe takes whole or not at all
        try:
            os.write(self._process.stdin.fileno(), line)
        except OSError as error:
            raise LinkLostError(f"the process that speaks to it is gone or stuck ({error})") from error

    def _answers(self, timeout_s: float) -> list[dict[str, str]]:
        """Return what the process said since, and wait for it if need be."""
        assert self._process is not None and self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        if select.select([pipe], [], [], timeout_s)[0]:
            said = os.read(pipe, 1 << 16)
            if not said:
                raise LinkLostError("the process that speaks to it has ended")
            self._heard += said
        *lines, self._heard = self._heard.split(b"\n")
        return [json.loads(line) for line in lines]

    def _wait_for(self, word: str, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while (left_s := deadline_s - time.monotonic()) > 0:
            for answer in self._answers(left_s):
                if answer.get(word):
                    raise ArmError(answer[word])
                if word in answer:
                    return
        raise ArmError(f"the robot has not {word} within {timeout_s:g} s")


class _Mail:
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

    def serve(self, mail: _Mail) -> None:
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
                    self._answer(_REFUSED, _REFUSED)
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

    settings, mail = ServoSettings(**json.loads(sys.argv[1])), _Mail()

    def listen() -> None:
        for line in sys.stdin:
            mail.put(json.loads(line))
        mail.put(LEAVE)  # the controller is gone
        time.sleep(_LEAVE_S)
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
