"""The messages of the teleoperation page, checked as if a stranger had written them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from robofb.types import TELEOP_EVENTS

MAX_MESSAGE_BYTES = 2048
MAX_HAND_DISTANCE_M = 100.0
_DRIVE_KEYS = {"seq", "t_ms", "engaged", "linear", "angular", "gripper", "event", "hand"}
_HAND_KEYS = {"position_m", "quaternion", "grip"}


class BadMessageError(Exception):
    """A message breaks the protocol; says how in one line without repeating what it held."""


@dataclass(frozen=True)
class HandPose:
    """Where a tracked hand or phone is while its trigger or screen is held.

    Attributes:
        position_m: (3,) in axes parallel to the robot's base frame, from any fixed origin.
        quaternion: (4,) wxyz, unit length, in the same axes.
        grip: counts how often the trigger was pressed; poses of one grip belong together.
    """

    position_m: tuple[float, ...]
    quaternion: tuple[float, ...]
    grip: int


@dataclass(frozen=True)
class DriveMessage:
    """What the page says many times a second.

    Attributes:
        seq: counts messages of one connection, from any start.
        t_ms: the page's clock when it was sent.
        engaged: the dead-man switch is held.
        linear: (3,) share of the highest linear speed along the base frame's axes, -1..1.
        angular: (3,) share of the highest angular speed about these axes, -1..1.
        gripper: 1 close, -1 open, 0 leave it as it is.
        event: one of `TELEOP_EVENTS` or "".
        hand: the tracked pose, None without one; it replaces linear and angular.
    """

    seq: int
    t_ms: float
    engaged: bool
    linear: tuple[float, ...]
    angular: tuple[float, ...]
    gripper: int
    event: str
    hand: HandPose | None


def parse_message(text: str) -> DriveMessage:
    """Return the message that a text holds.

    Raises:
        BadMessageError: it is too long, no JSON, or has a missing, unknown, infinite or unbounded value.
    """
    if len(text) > MAX_MESSAGE_BYTES:
        raise BadMessageError(f"longer than {MAX_MESSAGE_BYTES} characters")
    try:
        values = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadMessageError("not JSON") from error
    _check_keys(values, _DRIVE_KEYS, "message")
    if not isinstance(values["engaged"], bool):
        raise BadMessageError("engaged: needs true or false")
    if values["event"] not in ("", *TELEOP_EVENTS):
        raise BadMessageError(f"event: needs one of {', '.join(TELEOP_EVENTS)}")
    return DriveMessage(
        seq=_whole(values["seq"], "seq", 0, 2**53),
        t_ms=_number(values["t_ms"], "t_ms", 0.0, 1e15),
        engaged=values["engaged"],
        linear=_vector(values["linear"], "linear", 3, 1.0),
        angular=_vector(values["angular"], "angular", 3, 1.0),
        gripper=_whole(values["gripper"], "gripper", -1, 1),
        event=values["event"],
        hand=None if values["hand"] is None else _hand(values["hand"]),
    )


def _hand(values: Any) -> HandPose:
    _check_keys(values, _HAND_KEYS, "hand")
    quaternion = _vector(values["quaternion"], "quaternion", 4, 1.01)
    norm = math.hypot(*quaternion)
    if not 0.99 <= norm <= 1.01:
        raise BadMessageError("quaternion: needs unit length")
    return HandPose(
        position_m=_vector(values["position_m"], "position_m", 3, MAX_HAND_DISTANCE_M),
        quaternion=tuple(value / norm for value in quaternion),
        grip=_whole(values["grip"], "grip", 0, 2**53),
    )


def _refuse_constant(name: str) -> None:
    raise BadMessageError(f"{name} is no number")


def _check_keys(values: Any, keys: set[str], what: str) -> None:
    if not isinstance(values, dict) or set(values) != keys:
        raise BadMessageError(f"{what}: needs exactly the keys {', '.join(sorted(keys))}")


def _number(value: Any, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise BadMessageError(f"{name}: needs a number from {low:g} to {high:g}")
    return float(value)


def _whole(value: Any, name: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadMessageError(f"{name}: needs a whole number from {low} to {high}")
    return value


def _vector(values: Any, name: str, size: int, bound: float) -> tuple[float, ...]:
    if not isinstance(values, list) or len(values) != size:
        raise BadMessageError(f"{name}: needs {size} numbers")
    return tuple(_number(value, name, -bound, bound) for value in values)
