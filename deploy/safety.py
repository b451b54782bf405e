"""The gate that every planned chunk passes before anything follows it: sound, inside, and slow enough.

In this order: shape and finiteness; 6D rotations that are rotations; the box; leaps and speed; the cone.
Slips are clamped and counted, nonsense is refused. What passes is followed by `motion.MotionLimiter`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from robofb.deploy.limits import Limits
from robofb.deploy.pose import (
    Pose,
    Quaternion,
    angle_between,
    columns_of,
    tilt,
    toward,
    turned_toward,
    upright,
)

ACTION_DIM = 10  # xyz, 6D rotation, gripper
BOX, TILT, SPEED, TURN, GRIPPER = "box", "tilt", "speed", "turn", "gripper"
_SHORTEST, _LONGEST = 0.1, 10.0  # columns of a 6D rotation, which should have length 1
_STRAIGHTEST = 0.95  # cosine between them, which should be 0
_SLACK = 1e-9  # rounding is no violation


class Plan(NamedTuple):
    """A chunk that passed.

    Attributes:
        poses: H of them, one a control step.
        gripper: H numbers in -1 (open) .. 1 (closed).
    """

    poses: tuple[Pose, ...]
    gripper: tuple[float, ...]


class Verdict(NamedTuple):
    """What the gate says of a chunk.

    Attributes:
        plan: what may be followed; None where the chunk is refused.
        refused: why; empty where it passed.
        clamped: what was changed: `BOX`, `TILT`, `SPEED`, `TURN`, `GRIPPER`.
    """

    plan: Plan | None
    refused: str
    clamped: tuple[str, ...]


class _RefusedError(Exception):
    """A chunk is nonsense, and says why."""


class ChunkGate:
    """Check chunks of absolute tool poses (H, 10): xyz [m], 6D rotation, gripper, in the base frame.

    Args:
        limits: of the arm.
        dt_s: time between a chunk's actions [s].
        most_actions: H of the longest chunk.

    Attributes:
        counts: how many chunks "passed", were "refused: <why>", and had something "clamped: <what>".
    """

    def __init__(self, limits: Limits, dt_s: float, most_actions: int = 64) -> None:
        self.limits, self.dt_s, self.most_actions = limits, dt_s, most_actions
        self.counts: Counter[str] = Counter()
        self._low, self._high = np.array(limits.low_m), np.array(limits.high_m)
        self._axis = np.array(limits.tool_axis)
        self._step_m, self._step_rad = limits.max_speed_m_s * dt_s, limits.max_turn_rad_s * dt_s
        self._least_upright = math.cos(limits.most_tilt_rad) - _SLACK
        self._least_alike = math.cos(min(self._step_rad, math.pi)) - _SLACK

    def check(self, chunk: object, start: Pose) -> Verdict:
        """Return what may be done of a chunk; never raises, whatever it is.

        Args:
            chunk: the policy's actions, the first of them one step after `start`.
            start: the commanded pose that they begin from, inside box and cone.
        """
        try:
            values = self._numbers(chunk)
            rotations = _rotations(values[:, 3:9])
            inside = np.clip(values[:, :3], self._low, self._high)
            changed = {
                BOX: _beyond(inside - values[:, :3], 0.0, self.limits.absurd_m, "far outside the box"),
                SPEED: _beyond(_steps(inside, start), self._step_m, self.limits.absurd_m, "leap"),
                **self._turned(rotations, start),
            }
        except _RefusedError as refused:
            self.counts[f"refused: {refused}"] += 1
            return Verdict(None, str(refused), ())
        gripper = np.clip(values[:, 9], -1.0, 1.0)
        changed[GRIPPER] = bool((gripper != values[:, 9]).any())
        turns = _quaternions(rotations).tolist()
        poses = [Pose(tuple(place), tuple(turn)) for place, turn in zip(inside.tolist(), turns, strict=True)]
        if changed[SPEED] or changed[TURN] or changed[TILT]:
            poses = self._followed(poses, start, changed)
        clamped = tuple(what for what, happened in changed.items() if happened)
        self.counts["passed"] += 1
        self.counts.update(f"clamped: {what}" for what in clamped)
        return Verdict(Plan(tuple(poses), tuple(gripper.tolist())), "", clamped)

    def _numbers(self, chunk: object) -> np.ndarray:
        """Return a chunk as (H, 10) float64, finite."""
        if not isinstance(chunk, np.ndarray) or chunk.dtype.kind != "f":
            raise _RefusedError("no array of numbers")
        if chunk.ndim != 2 or chunk.shape[1] != ACTION_DIM or not 1 <= len(chunk) <= self.most_actions:
            raise _RefusedError("shape")
        values = np.array(chunk, np.float64)
        if not np.isfinite(values).all():
            raise _RefusedError("not finite")
        return values

    def _turned(self, rotations: np.ndarray, start: Pose) -> dict[str, bool]:
        """Return whether any of the rotations (H, 3, 3), a row each column, is tilted or turns too far."""
        limits = self.limits
        upright_most = float((rotations[:, 2] @ self._axis).min())
        if upright_most < math.cos(min(limits.most_tilt_rad + limits.absurd_rad, math.pi)) - _SLACK:
            raise _RefusedError("turned away")
        before = np.concatenate([[columns_of(start.turn)], rotations[:-1]])
        least = 0.5 * (float(np.einsum("hij,hij->h", before, rotations).min()) - 1.0)  # cosine of the angle
        if least < math.cos(min(limits.absurd_rad, math.pi)) - _SLACK:
            raise _RefusedError("leap of the orientation")
        return {TILT: upright_most < self._least_upright, TURN: least < self._least_alike}

    def _followed(self, wanted: list[Pose], start: Pose, changed: Mapping[str, bool]) -> list[Pose]:
        """Return poses that go after those `wanted`, which are in the box, as fast as may be in the cone."""
        places = [pose.position_m for pose in wanted]
        turns = [pose.turn for pose in wanted]
        if changed[SPEED]:
            now = start.position_m
            for index, place in enumerate(places):
                now = places[index] = toward(now, place, self._step_m)
        if changed[TURN] or changed[TILT]:
            turn = start.turn
            for index, aim in enumerate(turns):
                turn = turns[index] = self._turned_after(turn, aim)
        return [Pose(*both) for both in zip(places, turns, strict=True)]

    def _turned_after(self, now: Quaternion, aim: Quaternion) -> Quaternion:
        """Return the orientation in the cone one step after `now` on the way to `aim`."""
        axis, most = self.limits.tool_axis, self.limits.most_tilt_rad
        turn = turned_toward(now, upright(aim, axis, most), self._step_rad)
        if tilt(turn, axis) <= most:
            return turn
        edge = upright(turn, axis, most)  # the short way leaves the cone: along its edge, or not at all
        return edge if angle_between(now, edge) <= self._step_rad else now


def _beyond(ways: np.ndarray, most: float, absurd: float, why: str) -> bool:
    """Return whether any of some ways (H, 3) is longer than `most`; refuse those beyond `absurd`."""
    longest = float(np.sqrt(np.einsum("hj,hj->h", ways, ways).max()))
    if not longest <= absurd:
        raise _RefusedError(why)
    return longest > most + _SLACK


def _rotations(columns: np.ndarray) -> np.ndarray:
    """Return rotations (H, 3, 3), a row each column of the matrix, of 6D rotations (H, 6) that are some."""
    out = np.empty((9, len(columns)))  # of each column x, y, z of all rows: arrays of their own are quickest
    out[:6] = columns.T
    x, y = out[:3], out[3:6]
    with np.errstate(over="ignore"):
        sizes = np.sqrt([_dot(x, x), _dot(y, y)])
    if not (sizes.min() >= _SHORTEST and sizes.max() <= _LONGEST):
        raise _RefusedError("6D rotation too short or long")
    x /= sizes[0]
    y /= sizes[1]
    cosine = _dot(x, y)
    if max(cosine.max(), -cosine.min()) > _STRAIGHTEST:
        raise _RefusedError("6D rotation of one direction")
    y -= cosine * x
    y /= np.sqrt(_dot(y, y))
    (ax, ay, az), (bx, by, bz) = x, y
    out[6], out[7], out[8] = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    return out.reshape(3, 3, -1).transpose(2, 0, 1)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return scalar products (H,) of vectors (3, H)."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _quaternions(rotations: np.ndarray) -> np.ndarray:
    """Return unit quaternions (H, 4) of rotations (H, 3, 3), a row each column of the matrix.

    From the roots of 1 +- the diagonal: right to 1e-8 rad, where the largest element alone would be exact.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotations.transpose(1, 2, 0)
    squares = np.array([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz])
    q = np.sqrt(np.maximum(squares, 0.0))
    q[1:] = np.copysign(q[1:], (yz - zy, zx - xz, xy - yx))
    q /= np.sqrt((q * q).sum(0))
    return q.T


def _steps(positions: np.ndarray, start: Pose) -> np.ndarray:
    """Return the ways (H, 3) from each position to the next, the first from `start`."""
    before = np.empty_like(positions)
    before[0], before[1:] = start.position_m, positions[:-1]
    return positions - before
