"""What the arm shall do, from what one browser says and how long it has been silent."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from robofb.deploy.teleop.web_messages import BadMessageError, DriveMessage, HandPose
from robofb.errors import DeviceLostError
from robofb.geometry import matrix_to_rotvec, quat_to_matrix, rotvec_to_matrix
from robofb.types import TeleopCommand

RELEASE_AFTER_S = 0.25  # of silence: the arm stops
LOST_AFTER_S = 1.0  # of silence: the device is lost
MAX_WAITING_EVENTS = 16
CLOCK_DRIFT = 1e-3  # by which browser and server clocks may part, seconds a second


@dataclass(frozen=True)
class Speeds:
    """How fast the page may drive.

    Attributes:
        linear_m_s, angular_rad_s: at full deflection of a key or stick.
        hand_m_s, hand_rad_s: at most, following a tracked hand.
    """

    linear_m_s: float
    angular_rad_s: float
    hand_m_s: float
    hand_rad_s: float


class HandFollower:
    """Turn a tracked hand's motion into twists that add up to it exactly.

    What a bounded twist leaves of a motion is made up for by the next ones, for up to `lag_s`; the
    rest of a motion still faster is dropped.

    Args:
        speeds: bounds of the twist.
        control_dt_s: time for which each twist is applied.
        lag_s: how much motion at the highest speed may be owed.
    """

    def __init__(self, speeds: Speeds, control_dt_s: float, lag_s: float = 0.3) -> None:
        self._dt_s = control_dt_s
        self._reach = (speeds.hand_m_s * control_dt_s, speeds.hand_rad_s * control_dt_s)
        self._debt = (speeds.hand_m_s * lag_s, speeds.hand_rad_s * lag_s)
        self._grip: int | None = None
        self._position_m = self._followed_m = np.zeros(3)
        self._rotation = self._followed = torch.eye(3, dtype=torch.float64)

    def release(self) -> None:
        """Forget the hand: its next pose starts a new motion."""
        self._grip = None

    def move(self, hand: HandPose) -> None:
        """Take the hand's present pose."""
        self._position_m = np.array(hand.position_m)
        self._rotation = quat_to_matrix(torch.tensor(hand.quaternion, dtype=torch.float64))
        if hand.grip != self._grip:
            self._grip, self._followed_m, self._followed = hand.grip, self._position_m, self._rotation

    def twist(self) -> np.ndarray:
        """Return the twist (6,) for the next control step and count it as followed."""
        if self._grip is None:
            return np.zeros(6)
        shift_m = _bounded(self._position_m - self._followed_m, self._reach[0] + self._debt[0])
        turn_rad = matrix_to_rotvec(self._rotation @ self._followed.mT).numpy()
        turn_rad = _bounded(turn_rad, self._reach[1] + self._debt[1])
        step_m, step_rad = _bounded(shift_m, self._reach[0]), _bounded(turn_rad, self._reach[1])
        self._followed_m = self._position_m - (shift_m - step_m)
        owed = rotvec_to_matrix(torch.from_numpy(turn_rad - step_rad))  # about the axis of the turn
        self._followed = owed.mT @ self._rotation
        return np.concatenate([step_m, step_rad]) / self._dt_s


def _bounded(vector: np.ndarray, length: float) -> np.ndarray:
    """Return a vector of the same direction that is at most so long."""
    return vector * min(1.0, length / max(float(np.linalg.norm(vector)), 1e-12))


class DriveState:
    """Hold what the driving browser last said; shared by the server's thread and the reader's.

    The dead-man switch counts only after it was seen released once: on a new connection, and after
    the browser was lost.

    Args:
        speeds: bounds of the twists.
        control_dt_s: time for which the reader applies each command.
        clock: monotonic seconds.
    """

    def __init__(
        self, speeds: Speeds, control_dt_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._speeds, self._clock = speeds, clock
        self._hand = HandFollower(speeds, control_dt_s)
        self._lock = threading.Lock()
        self._connected = False
        self._why_absent = "no browser has opened the page yet"
        self._start()

    def _start(self) -> None:
        self._last: DriveMessage | None = None
        self._heard_s = self._clock()
        self._least_delay_s = math.inf
        self._armed = self._engaged = False
        self._tap_twist, self._tap_gripper = np.zeros(6), 0
        self._events: deque[str] = deque(maxlen=MAX_WAITING_EVENTS)
        self._hand.release()

    def join(self) -> None:
        """Begin with a new browser, disengaged."""
        with self._lock:
            self._connected = True
            self._start()

    def leave(self, why: str) -> None:
        """End with this browser: from now on `read` raises; what it said last is forgotten."""
        with self._lock:
            self._connected, self._why_absent = False, why
            self._start()

    def silent_s(self) -> float:
        """Return how long the browser has said nothing [s]."""
        with self._lock:
            return self._clock() - self._heard_s

    def last_heard(self) -> tuple[int, float, float] | None:
        """Return the last message's number, its page time [ms], and how long ago it came [ms]."""
        with self._lock:
            if self._last is None:
                return None
            return self._last.seq, self._last.t_ms, 1e3 * (self._clock() - self._heard_s)

    def hear(self, message: DriveMessage) -> None:
        """Take a message in.

        Raises:
            BadMessageError: its number or time is not beyond the last one's.
        """
        with self._lock:
            if self._last is not None and (message.seq <= self._last.seq or message.t_ms < self._last.t_ms):
                raise BadMessageError("seq and t_ms: must grow")
            now_s = self._clock()
            silence_s = now_s - self._heard_s
            late = self._is_late(message, now_s, silence_s)
            if silence_s > LOST_AFTER_S:
                self._armed = False
            self._last, self._heard_s = message, now_s
            self._armed = self._armed or not message.engaged
            self._engaged = message.engaged and self._armed and not late
            if message.event:
                self._events.append(message.event)
            self._take_motion(message, fresh=silence_s <= RELEASE_AFTER_S)

    def _is_late(self, message: DriveMessage, now_s: float, silence_s: float) -> bool:
        """Tell whether a message was held up on its way, judged by the quickest one so far."""
        delay_s = now_s - message.t_ms / 1e3  # plus the unknown offset of the clocks
        self._least_delay_s = min(delay_s, self._least_delay_s + CLOCK_DRIFT * silence_s)
        return delay_s - self._least_delay_s > RELEASE_AFTER_S

    def _take_motion(self, message: DriveMessage, fresh: bool) -> None:
        if not (self._engaged and fresh):
            self._hand.release()
        if not self._engaged:
            self._tap_twist, self._tap_gripper = np.zeros(6), 0
            return
        if message.hand is None:
            self._hand.release()
        else:
            self._hand.move(message.hand)
        if message.hand is None and any((*message.linear, *message.angular)):
            self._tap_twist = self._stick_twist(message)
        self._tap_gripper = message.gripper or self._tap_gripper

    def _stick_twist(self, message: DriveMessage) -> np.ndarray:
        linear = _bounded(np.array(message.linear), 1.0) * self._speeds.linear_m_s
        return np.concatenate([linear, _bounded(np.array(message.angular), 1.0) * self._speeds.angular_rad_s])

    def read(self) -> TeleopCommand:
        """Return the present command; a tap shorter than the time between reads still counts once.

        Raises:
            DeviceLostError: no browser drives, or it has been silent for a second.
        """
        with self._lock:
            silence_s = self._clock() - self._heard_s
            if not self._connected:
                raise DeviceLostError(f"web page: {self._why_absent}")
            if silence_s > LOST_AFTER_S:
                self._engaged = self._armed = False
                raise DeviceLostError(f"web page: the browser has said nothing for {silence_s:.1f} s")
            event = self._events.popleft() if self._events else ""
            if not self._engaged or self._last is None or silence_s > RELEASE_AFTER_S:
                self._hand.release()
                return TeleopCommand(np.zeros(6), 0, False, event)
            if self._last.hand is not None:
                twist = self._hand.twist()
            else:
                held = self._stick_twist(self._last)
                twist = held if held.any() else self._tap_twist
            gripper = self._last.gripper or self._tap_gripper
            self._tap_twist, self._tap_gripper = np.zeros(6), 0
            return TeleopCommand(twist, gripper, True, event)
