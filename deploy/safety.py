"""The gate that every planned chunk passes before anything follows it: sound, inside, and slow enough.

In this order: shape and finiteness; 6D rotations that are rotations; leaps; the box; speed; the cone, and
turns. Slips are clamped and counted, nonsense is refused. What passes is followed by `motion.MotionLimiter`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from robofb.deploy.limits import Limits
from robofb.deploy.pose import (
    Pose,
    Quaternion,
    Vector,
    cosine_of_half,
    dot,
    toward,
    turn_of_columns,
    turned_toward,
    upright,
)

ACTION_DIM = 10  # xyz, 6D rotation, gripper
BOX, TILT, SPEED, TURN, GRIPPER = "box", "tilt", "speed", "turn", "gripper"
_LEAST, _MOST = 0.1**2, 10.0**2  # squared length of a 6D rotation's columns, which should be 1
_LEAST_SINE = 1.0 - 0.95**2  # squared, of the angle between them: it should be 1
_DOUBLE = 8  # bytes
_SLACK = 1e-9  # rounding is no violation
_SLACK_RAD = 1e-7
_ROUNDING = 1e-15  # of a cosine

Rotation6D = tuple[float, float, float, float, float, float]


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
        self._step_m, self._step_rad = limits.max_speed_m_s * dt_s, limits.max_turn_rad_s * dt_s
        self._cone = math.cos(limits.most_tilt_rad)
        self._cosine_of_half_step = math.cos(min(0.5 * self._step_rad, 0.5 * math.pi)) - _ROUNDING
        self._least_alike = math.cos(min(self._step_rad + _SLACK_RAD, math.pi))

    def check(self, chunk: object, start: Pose) -> Verdict:
        """Return what may be done of a chunk; never raises, whatever it is.

        Args:
            chunk: the policy's actions, the first of them one step after `start`.
            start: the commanded pose that they begin from, inside box and cone.
        """
        try:
            columns = self._numbers(chunk)
            if not math.isfinite(sum(start.position_m) + sum(start.turn)):
                raise _RefusedError("nobody knows where the tool is")
            aims, upright_by = self._orientations(zip(*columns[3:9], strict=True))
            places, changed = self._places(list(zip(*columns[:3], strict=True)), start.position_m)
            changed[TILT] = self._tilted(min(upright_by))
            changed[TURN] = self._turned(aims, start.turn)
        except _RefusedError as refused:
            self.counts[f"refused: {refused}"] += 1
            return Verdict(None, str(refused), ())
        gripper = columns[9]
        changed[GRIPPER] = min(gripper) < -1.0 or max(gripper) > 1.0
        if changed[GRIPPER]:
            gripper = [min(max(value, -1.0), 1.0) for value in gripper]
        if changed[SPEED]:
            self._follow_places(places, start)
        if changed[TURN] or changed[TILT]:
            self._follow_turns(aims, upright_by, start)
        poses = tuple(map(Pose, places, aims))
        clamped = tuple(what for what, happened in changed.items() if happened)
        self.counts["passed"] += 1
        for what in clamped:
            self.counts[f"clamped: {what}"] += 1
        return Verdict(Plan(poses, tuple(gripper)), "", clamped)

    def _numbers(self, chunk: object) -> list[list[float]]:
        """Return a chunk's columns, finite."""
        if type(chunk) is not np.ndarray or chunk.dtype.kind != "f" or chunk.dtype.itemsize > _DOUBLE:
            raise _RefusedError("no array of numbers")
        if chunk.ndim != 2 or chunk.shape[1] != ACTION_DIM or not 1 <= len(chunk) <= self.most_actions:
            raise _RefusedError("shape")
        columns: list[list[float]] = chunk.T.tolist()
        if not math.isfinite(sum(map(sum, columns))):
            raise _RefusedError("not finite")
        return columns

    def _orientations(self, rotations: Iterable[Rotation6D]) -> tuple[list[Quaternion], list[float]]:
        """Return what 6D rotations stand for, and the cosines of their z axes with the cone's."""
        axis, turns, upright_by = self.limits.tool_axis, [], []
        for rotation in rotations:
            x, y, z = _orthonormal(rotation)
            turns.append(turn_of_columns(x, y, z))
            upright_by.append(dot(z, axis))
        return turns, upright_by

    def _places(self, wanted: list[Vector], start: Vector) -> tuple[list[Vector], dict[str, bool]]:
        """Return the points of the box nearest to some places, and whether these are outside, or too fast.

        What leaps in the plan is nonsense, though it leapt along a face of the box once it is in it.
        """
        limits = self.limits
        (left, near, low), (right, far, high) = limits.low_m, limits.high_m
        places = [  # min and max take longer
            (
                left if x < left else right if x > right else x,
                near if y < near else far if y > far else y,
                low if z < low else high if z > high else z,
            )
            for x, y, z in wanted
        ]
        if not max(map(math.dist, wanted, [start, *wanted])) <= limits.absurd_m:
            raise _RefusedError("leap")
        outside = max(map(math.dist, wanted, places))
        if not outside <= limits.absurd_m:
            raise _RefusedError("far outside the box")
        fastest = max(map(math.dist, places, [start, *places]))
        return places, {BOX: outside > _SLACK, SPEED: fastest > self._step_m + _SLACK}

    def _tilted(self, upright_most: float) -> bool:
        """Return whether a z axis is outside the cone, by the cosine of the farthest with the cone's own."""
        limits = self.limits
        if upright_most < math.cos(min(limits.most_tilt_rad + limits.absurd_rad, math.pi)) - _SLACK:
            raise _RefusedError("turned away")
        return upright_most < self._cone - _SLACK

    def _turned(self, turns: list[Quaternion], before: Quaternion) -> bool:
        """Return whether any of the orientations is too far from the one before it."""
        half = min(map(cosine_of_half, turns, [before, *turns]))  # of the largest angle
        least = 2.0 * half * half - 1.0
        if least < math.cos(min(self.limits.absurd_rad, math.pi)) - _SLACK:
            raise _RefusedError("leap of the orientation")
        return least < self._least_alike

    def _follow_places(self, places: list[Vector], start: Pose) -> None:
        """Go after places, which are in the box, as fast as may be, in their stead."""
        now = start.position_m
        for index, place in enumerate(places):
            now = places[index] = toward(now, place, self._step_m)

    def _follow_turns(self, turns: list[Quaternion], upright_by: list[float], start: Pose) -> None:
        """Go after orientations, whose z axes' cosines with the cone's are known, in it, in their stead."""
        now = start.turn
        for index, turn in enumerate(turns):
            now = turns[index] = self._turned_after(now, turn, upright_by[index] >= self._cone)

    def _turned_after(self, now: Quaternion, aim: Quaternion, in_cone: bool) -> Quaternion:
        """Return the orientation in the cone one step after `now` on the way to `aim`."""
        axis, most = self.limits.tool_axis, self.limits.most_tilt_rad
        upright_aim = aim if in_cone else upright(aim, axis, most)
        turn = turned_toward(now, upright_aim, self._step_rad)
        if turn is upright_aim:
            return turn
        edge = upright(turn, axis, most)  # where the short way leaves the cone: along its edge, or not at all
        return edge if edge is turn or cosine_of_half(now, edge) >= self._cosine_of_half_step else now


def _orthonormal(rotation: Rotation6D) -> tuple[Vector, Vector, Vector]:
    """Return columns x, y and z of the rotation that a 6D one stands for, where it does."""
    a, b, c, d, e, f = rotation
    first, second = a * a + b * b + c * c, d * d + e * e + f * f
    if not (_LEAST <= first <= _MOST and _LEAST <= second <= _MOST):
        raise _RefusedError("6D rotation too short or long")
    share = (a * d + b * e + c * f) / first
    d, e, f = d - share * a, e - share * b, f - share * c
    rest = d * d + e * e + f * f
    if rest < _LEAST_SINE * second:
        raise _RefusedError("6D rotation of one direction")
    scale = 1.0 / math.sqrt(first)
    a, b, c = a * scale, b * scale, c * scale
    scale = 1.0 / math.sqrt(rest)
    d, e, f = d * scale, e * scale, f * scale
    return (a, b, c), (d, e, f), (b * f - c * e, c * d - a * f, a * e - b * d)
