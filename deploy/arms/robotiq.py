"""A 2-finger gripper of Robotiq, by the text protocol that its URCap serves on a UR's control box."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping

from robofb.deploy.arms.arm import ArmError
from robofb.errors import UserError, check_positive

PORT = 63352
_OPEN, _CLOSED = 0, 255  # positions
_ACTIVE = 3  # the status of one that was activated
_MOVING, _HOLDS = 0, 2  # of its object: fingers under way; stopped by something while closing


class RobotiqGripper:
    """Open and close from a thread of its own; the same command again sends nothing. Satisfies `Gripper`.

    Args:
        speed, force: 0..1 of what it can do.
        poll_s: between two looks at it.
        timeout_s: for an answer.
        move_s: for fingers to arrive, or to meet something.

    Raises:
        UserError: names the value that it would not accept.
    """

    def __init__(
        self,
        speed: float = 0.5,
        force: float = 0.3,
        poll_s: float = 0.1,
        timeout_s: float = 0.5,
        move_s: float = 4.0,
    ) -> None:
        for name, value in (("speed", speed), ("force", force)):
            if not 0 <= value <= 1:
                raise UserError(f"{name}={value}: must lie in 0 .. 1")
        self.speed, self.force = speed, force
        self.poll_s, self.timeout_s, self.move_s = poll_s, timeout_s, move_s
        check_positive(self, "poll_s", "timeout_s", "move_s")
        self._host = ""
        self._line: _Line | None = None
        self._thread: threading.Thread | None = None
        self._woken, self._over = threading.Event(), threading.Event()
        self._wanted: int | None = None
        self._position, self._fault = -1.0, ""

    @property
    def position(self) -> float:
        """Measured, -1 (open) .. 1 (closed); 1 as well while it holds something."""
        return self._position

    @property
    def fault(self) -> str:
        """Why it does not move; empty where it does."""
        return self._fault

    def connect(self, host: str) -> None:
        """Open the link; it must be activated already, for that moves its fingers."""
        self.close()
        self._host = host
        try:
            self._begin()
        except (OSError, ValueError, ArmError) as error:
            self.close()
            raise UserError(
                f"host={host}: no gripper is ready at port {PORT} ({error}); activate it at the pendant"
            ) from error

    def command(self, gripper: float) -> None:
        """Open (negative) or close (positive)."""
        wanted = _CLOSED if gripper > 0 else _OPEN
        if wanted != self._wanted:
            self._wanted = wanted
            self._woken.set()

    def recover(self) -> None:
        """Open the link anew, where it was at fault."""
        if not self._fault:
            return
        self.close()
        try:
            self._begin()
        except (OSError, ValueError, ArmError) as error:
            self.close()
            raise ArmError(f"the gripper stays at fault: {error}") from error

    def close(self) -> None:
        """Let it go as it is; safe twice."""
        self._over.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join()
        if self._line is not None:
            self._line.close()
        self._thread = self._line = None

    def _begin(self) -> None:
        """Open the link and watch it from a thread."""
        self._wanted = None
        self._over.clear()
        self._line = _Line(self._host, self.timeout_s)
        self._look(self._line)
        self._fault = ""
        self._thread = threading.Thread(target=self._run, args=(self._line,), daemon=True)
        self._thread.start()

    def _run(self, line: _Line) -> None:
        """Send what changed, and look; end at the first fault."""
        sent: int | None = None
        sent_s = 0.0
        try:
            while not self._over.is_set():
                self._woken.wait(self.poll_s)
                self._woken.clear()
                if self._wanted != sent:
                    sent, sent_s = self._wanted, time.monotonic()
                    speed, force = round(255 * self.speed), round(255 * self.force)
                    line.set({"POS": sent, "SPE": speed, "FOR": force, "GTO": 1})
                moves = self._look(line)
                if sent is None or (not moves and line.get("PRE") == sent):  # it has heard, and is there
                    sent_s = time.monotonic()
                elif time.monotonic() - sent_s > self.move_s:
                    raise ArmError(f"its fingers did not arrive within {self.move_s:g} s")
        except (OSError, ValueError, ArmError) as error:
            self._fault = "" if self._over.is_set() else f"gripper: {error}"

    def _look(self, line: _Line) -> bool:
        """Read its state; return whether it moves.

        Raises:
            ArmError: it can do nothing.
        """
        if line.get("STA") != _ACTIVE:
            raise ArmError("it is not activated")
        if fault := line.get("FLT"):
            raise ArmError(f"it says fault {fault}")
        held = line.get("OBJ")
        measured = 2.0 * (line.get("POS") - _OPEN) / (_CLOSED - _OPEN) - 1.0
        self._position = 1.0 if held == _HOLDS else measured
        return held == _MOVING


class _Line:
    """One connection; every question waits for its answer."""

    def __init__(self, host: str, timeout_s: float) -> None:
        self._connection = socket.create_connection((host, PORT), timeout_s)

    def get(self, name: str) -> int:
        """Return the value of a variable."""
        answer = self._ask(f"GET {name}").split()
        if len(answer) != 2 or answer[0] != name:
            raise ValueError(f"it answers {' '.join(answer)!r} to GET {name}")
        return int(answer[1])

    def set(self, values: Mapping[str, int | None]) -> None:
        """Set variables at once."""
        said = self._ask("SET " + " ".join(f"{name} {value}" for name, value in values.items()))
        if said != "ack":
            raise ValueError(f"it answers {said!r} to SET")

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _ask(self, line: str) -> str:
        """Return the answer, which is one packet and need not end its line."""
        self._connection.sendall(f"{line}\n".encode())
        while said := self._connection.recv(1024):
            if answer := said.decode("ascii", "replace").strip():
                return answer
        raise ConnectionError("it hung up")
