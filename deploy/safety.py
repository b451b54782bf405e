"""The gate that every planned chunk passes before anything follows it: sound, inside, and slow enough.

In this order: shape and finiteness; 6D rotations that are rotations; the box; leaps and speed; the cone.
Slips are clamped and counted, nonsense is refused. What passes is followed by `motion.MotionLimiter`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from robofb.deploy.limits import Limits
from robofb.deploy.pose import (
    Pose,
    Quaternion,
    Vector,
    cosine_of_half,
    toward,
    turned_toward,
    upright,
)

ACTION_DIM = 10  # xyz, 6D rotation, gripper
BOX, TILT, SPEED, TURN, GRIPPER = "box", "tilt", "speed", "turn", "gripper"
_SHORTEST, _LONGEST = 0.1, 10.0  # columns of a 6D rotation, which should have length 1
_LEAST_SINE = math.sin(math.acos(0.95))  # of the angle between them, which should be 1
_HUGE = 1e100  # numbers whose squares might be none
_FAR, _NO_LENGTH = "far outside the box", "6D rotation too short or long"
_DOUBLE = 8  # bytes
_SLACK = 1e-9  # rounding is no violation
_SLACK_RAD = 1e-7
_CROSS = np.array([1, 2, 0, 2, 0, 1, 5, 3, 4, 4, 5, 3])  # of x and y: factors of their vector product's parts
_DIAGONAL = np.zeros((4, 9))  # signs of a matrix' diagonal in the squares of its quaternion
_DIAGONAL[:, [0, 4, 8]] = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
_AXIS = np.array([5, 6, 1, 7, 2, 3])  # of the matrix: what is above its diagonal less what is below
_total, _least, _largest = np.add.reduce, np.minimum.reduce, np.maximum.reduce  # methods take twice as long


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
        self._low, self._high = np.array(limits.low_m)[:, None], np.array(limits.high_m)[:, None]
        self._axis = np.array(limits.tool_axis)
        self._step_m, self._step_rad = limits.max_speed_m_s * dt_s, limits.max_turn_rad_s * dt_s
        self._cone = math.cos(limits.most_tilt_rad)
        self._cosine_of_half_step = math.cos(min(0.5 * self._step_rad, 0.5 * math.pi))
        self._least_alike = math.cos(min(self._step_rad + _SLACK_RAD, math.pi))

    def check(self, chunk: object, start: Pose) -> Verdict:
        """Return what may be done of a chunk; never raises, whatever it is.

        Args:
            chunk: the policy's actions, the first of them one step after `start`.
            start: the commanded pose that they begin from, inside box and cone.
        """
        try:
            values = self._numbers(chunk)
            rotations = _rotations(values[3:9])
            turns = _quaternions(rotations)
            upright_by = self._axis @ rotations[6:]  # cosines of z axes with the cone's
            inside = np.minimum(np.maximum(values[:3], self._low), self._high)
            outside, steps = inside - values[:3], inside - _before(inside, start.position_m)
            changed = {
                BOX: _beyond(outside, 0.0, self.limits.absurd_m, _FAR),
                SPEED: _beyond(steps, self._step_m, self.limits.absurd_m, "leap"),
                TILT: self._tilted(upright_by),
                TURN: self._turned(turns, start),
            }
        except _RefusedError as refused:
            self.counts[f"refused: {refused}"] += 1
            return Verdict(None, str(refused), ())
        gripper = values[9].tolist()
        changed[GRIPPER] = min(gripper) < -1.0 or max(gripper) > 1.0
        if changed[GRIPPER]:
            gripper = [min(max(value, -1.0), 1.0) for value in gripper]
        places = list(zip(*inside.tolist(), strict=True))
        aims = list(zip(*turns.tolist(), strict=True))
        if changed[SPEED]:
            self._follow_places(places, start)
        if changed[TURN] or changed[TILT]:
            self._follow_turns(aims, (upright_by >= self._cone).tolist(), start)
        poses = tuple(map(Pose, places, aims))
        clamped = tuple(what for what, happened in changed.items() if happened)
        self.counts["passed"] += 1
        for what in clamped:
            self.counts[f"clamped: {what}"] += 1
        return Verdict(Plan(poses, tuple(gripper)), "", clamped)

    def _numbers(self, chunk: object) -> np.ndarray:
        """Return a chunk as (10, H) float64, finite, and small enough to be squared."""
        if type(chunk) is not np.ndarray or chunk.dtype.kind != "f" or chunk.dtype.itemsize > _DOUBLE:
            raise _RefusedError("no array of numbers")
        if chunk.ndim != 2 or chunk.shape[1] != ACTION_DIM or not 1 <= len(chunk) <= self.most_actions:
            raise _RefusedError("shape")
        values = np.array(chunk.T, np.float64, order="C")
        sizes = _largest(np.abs(values), 1).tolist()
        if not math.isfinite(sum(sizes)):
            raise _RefusedError("not finite")
        if max(sizes[:3]) > _HUGE:
            raise _RefusedError(_FAR)
        if max(sizes[3:9]) > _LONGEST:
            raise _RefusedError(_NO_LENGTH)
        return values

    def _tilted(self, upright_by: np.ndarray) -> bool:
        """Return whether any z axis is outside the cone, by their cosines (H,) with its own."""
        limits = self.limits
        upright_most = float(_least(upright_by))
        if upright_most < math.cos(min(limits.most_tilt_rad + limits.absurd_rad, math.pi)) - _SLACK:
            raise _RefusedError("turned away")
        return upright_most < self._cone - _SLACK

    def _turned(self, turns: np.ndarray, start: Pose) -> bool:
        """Return whether any of the quaternions (4, H) is too far from the one before it."""
        halves = _total(turns * _before(turns, start.turn), 0)
        least = 2.0 * float(_least(halves * halves)) - 1.0  # cosine of the largest angle
        if least < math.cos(min(self.limits.absurd_rad, math.pi)) - _SLACK:
            raise _RefusedError("leap of the orientation")
        return least < self._least_alike

    def _follow_places(self, places: list[Vector], start: Pose) -> None:
        """Go after places, which are in the box, as fast as may be, in their stead."""
        now = start.position_m
        for index, place in enumerate(places):
            now = places[index] = toward(now, place, self._step_m)

    def _follow_turns(self, turns: list[Quaternion], in_cone: list[bool], start: Pose) -> None:
        """Go after orientations, known to be in the cone or not, as fast as may be in it, in their stead."""
        now = start.turn
        for index, turn in enumerate(turns):
            now = turns[index] = self._turned_after(now, turn, in_cone[index])

    def _turned_after(self, now: Quaternion, aim: Quaternion, in_cone: bool) -> Quaternion:
        """Return the orientation in the cone one step after `now` on the way to `aim`."""
        axis, most = self.limits.tool_axis, self.limits.most_tilt_rad
        upright_aim = aim if in_cone else upright(aim, axis, most)
        turn = turned_toward(now, upright_aim, self._step_rad)
        if turn is upright_aim:
            return turn
        edge = upright(turn, axis, most)  # where the short way leaves the cone: along its edge, or not at all
        return edge if edge is turn or cosine_of_half(now, edge) >= self._cosine_of_half_step else now


def _beyond(ways: np.ndarray, most: float, absurd: float, why: str) -> bool:
    """Return whether any of some ways (3, H) is longer than `most`; refuse those beyond `absurd`."""
    longest = math.sqrt(_largest(_total(ways * ways, 0)))
    if not longest <= absurd:
        raise _RefusedError(why)
    return longest > most + _SLACK


def _rotations(columns: np.ndarray) -> np.ndarray:
    """Return columns x, y, z (9, H) of the rotations that some 6D ones (6, H) stand for, where they do."""
    out = np.empty((9, columns.shape[1]))
    x, y, z = out[:3], out[3:6], out[6:]
    columns = columns.reshape(2, 3, -1)
    sizes = np.sqrt(_total(columns * columns, 1))
    if _least(sizes, None) < _SHORTEST or _largest(sizes, None) > _LONGEST:
        raise _RefusedError(_NO_LENGTH)
    np.divide(columns[0], sizes[0], out=x)
    np.divide(columns[1], sizes[1], out=y)
    y -= _total(x * y, 0) * x
    sines = np.sqrt(_total(y * y, 0))
    if _least(sines) < _LEAST_SINE:
        raise _RefusedError("6D rotation of one direction")
    y /= sines
    factors = out.take(_CROSS, 0).reshape(2, 2, 3, -1)
    products = factors[0] * factors[1]
    np.subtract(products[0], products[1], out=z)
    return out


def _quaternions(rotations: np.ndarray) -> np.ndarray:
    """Return unit quaternions (4, H) of rotations (9, H), columns x, y and z of each matrix.

    From the roots of 1 +- the diagonal: right to 1e-8 rad, where the largest element alone would be exact.
    """
    squares = _DIAGONAL @ rotations
    squares += 1.0
    q = np.sqrt(np.maximum(squares, 0.0))
    sides = rotations.take(_AXIS, 0)
    q[1:] = np.copysign(q[1:], sides[:3] - sides[3:])
    q /= np.sqrt(_total(q * q, 0))
    return q


def _before(values: np.ndarray, start: Sequence[float]) -> np.ndarray:
    """Return what was before each of the columns: `start` before the first."""
    before = np.empty_like(values)
    before[:, 0], before[:, 1:] = start, values[:, :-1]
    return before
