"""Send set-points to a UR through ur_rtde from a process of its own, which can be killed.

That library (1.6.5) may block for 300 s in a stop while the robot says nothing. After 2.5 s of silence it
connects anew by itself, sends its script again, and so on without end, until its process crashes. None of
that may happen to the process that controls an arm. The two processes exchange lines of JSON by pipes.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from robofb.deploy.arms.arm import ArmError, LinkLostError

STARTED, STOP, UPLOAD, LEAVE, REFUSED = "started", "stop", "upload", "leave", "refused"
_SPEAKER = "robofb.deploy.arms.ur_speaker"
LEAVE_S = 5.0  # until a process that was told to leave is killed


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
        self.refused = False  # the robot took no set-point of late

    def start(self, timeout_s: float) -> None:
        """Start the process; its script runs on the robot when this returns.

        Raises:
            ArmError: it does not; says why.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", _SPEAKER, json.dumps(asdict(self.settings))],
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
            self.refused |= REFUSED in answer
        if self.refused:
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
        self.refused = False

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
            self._process.wait(LEAVE_S)
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
