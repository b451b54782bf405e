"""What a UR says of itself, and what is wrong by that."""

from __future__ import annotations

from typing import Any, NamedTuple

VARIABLES = [
    "timestamp",
    "actual_q",
    "actual_TCP_pose",
    "actual_TCP_force",
    "robot_mode",
    "safety_mode",
    "runtime_state",
]
_NORMAL, _REDUCED, PROTECTIVE_STOP = 1, 2, 3
_SAFETY = {
    PROTECTIVE_STOP: "protective stop",
    4: "recovery mode",
    5: "safeguard stop",
    6: "emergency stop (system)",
    7: "emergency stop (robot)",
    8: "safety violation",
    9: "safety fault",
    12: "safeguard stop (automatic mode)",
    13: "enabling device not held",
    14: "enabling device of the pendant not held",
}
_POWERED = 7
_MODES = {
    -1: "no controller",
    0: "disconnected",
    1: "confirm safety",
    2: "booting",
    3: "power off",
    4: "power on",
    5: "brakes not released",
    6: "backdrive",
    8: "updating firmware",
}
PLAYING = 2


class Reading(NamedTuple):
    """What the robot says, as it says it.

    Attributes:
        stamp_s: its own clock.
        joints_rad: (6,).
        tool: x, y, z [m] and a rotation vector [rad], in the base frame.
        wrench: (6,), force [N] and torque [N m] on the tool, in the base frame.
        mode, safety, runtime: of the robot, its safety system, and its program.
    """

    stamp_s: float
    joints_rad: list[float]
    tool: list[float]
    wrench: list[float]
    mode: int
    safety: int
    runtime: int


def read(receive: Any) -> Reading:
    """Return what a link of ur_rtde heard last."""
    return Reading(
        receive.getTimestamp(),
        receive.getActualQ(),
        receive.getActualTCPPose(),
        receive.getActualTCPForce(),
        receive.getRobotMode(),
        receive.getSafetyMode(),
        receive.getRuntimeState(),
    )


def stopped(reading: Reading) -> str:
    """Return why the robot itself may not move; empty where it may."""
    if reading.safety not in (_NORMAL, _REDUCED):
        return _SAFETY.get(reading.safety, f"safety mode {reading.safety}")
    if reading.mode != _POWERED:
        return "robot mode " + _MODES.get(reading.mode, str(reading.mode))
    return ""


def fault_of(reading: Reading) -> str:
    """Return why the robot follows no set-points; empty where it does."""
    return stopped(reading) or ("" if reading.runtime == PLAYING else "its control script does not run")
