"""Poses of one tool in plain numbers: a controller's loop has no time for tensors of three elements.

Quaternions are wxyz and of unit length, as in `robofb.geometry`, which does the same for batches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from robofb.errors import UserError

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

IDENTITY: Quaternion = (1.0, 0.0, 0.0, 0.0)
_TINY = 1e-12


class Pose(NamedTuple):
    """Where a tool is in the base frame of its robot.

    Attributes:
        position_m: [m].
        turn: rotation of the tool's frame, unit quaternion.
    """

    position_m: Vector
    turn: Quaternion


def checked_vector(name: str, values: Sequence[float]) -> Vector:
    """Return three numbers of a config as a vector.

    Raises:
        UserError: they are not three, or not finite; says their name.
    """
    if len(values) != 3 or not all(map(math.isfinite, values)):
        raise UserError(f"{name}={list(values)}: needs three finite numbers")
    x, y, z = map(float, values)
    return x, y, z


def product(a: Quaternion, b: Quaternion) -> Quaternion:
    """Return the Hamilton product a b."""
    aw, ax, ay, az = a
    bw, bx, by, bz = b
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


def inverse(q: Quaternion) -> Quaternion:
    """Return the inverse of a unit quaternion."""
    return q[0], -q[1], -q[2], -q[3]


def unit(q: Quaternion) -> Quaternion:
    """Return a quaternion of length 1 in the same direction; products drift by rounding."""
    size = math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    return q[0] / size, q[1] / size, q[2] / size, q[3] / size


def turn_of(rotvec: Vector) -> Quaternion:
    """Return the quaternion of axis times angle [rad]."""
    x, y, z = rotvec
    angle = math.sqrt(x * x + y * y + z * z)
    if angle < _TINY:
        return IDENTITY
    share = math.sin(0.5 * angle) / angle
    return math.cos(0.5 * angle), x * share, y * share, z * share


def rotvec_of(q: Quaternion) -> Vector:
    """Return axis times angle [rad] of a unit quaternion, the angle in [0, pi]."""
    w, x, y, z = q if q[0] >= 0 else (-q[0], -q[1], -q[2], -q[3])
    sine = math.sqrt(x * x + y * y + z * z)
    share = 2.0 * math.atan2(sine, w) / sine if sine > _TINY else 2.0
    return x * share, y * share, z * share


def between(a: Quaternion, b: Quaternion) -> Vector:
    """Return the rotation vector [rad] in the base frame that turns `a` into `b`, the short way."""
    return rotvec_of(product(b, inverse(a)))


def angle_between(a: Quaternion, b: Quaternion) -> float:
    """Return the angle [rad] in [0, pi] between two orientations."""
    return length(between(a, b))


def cosine_of_half(a: Quaternion, b: Quaternion) -> float:
    """Return the cosine, in [0, 1], of half the angle between two orientations."""
    return abs(a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3])


def z_axis(q: Quaternion) -> Vector:
    """Return the direction of the turned frame's z axis."""
    w, x, y, z = q
    return 2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)


def columns_of(q: Quaternion) -> tuple[Vector, Vector, Vector]:
    """Return the columns of the rotation matrix."""
    w, x, y, z = q
    first = (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y))
    second = (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x))
    return first, second, z_axis(q)


def turn_of_columns(x: Vector, y: Vector, z: Vector) -> Quaternion:
    """Return the quaternion of the rotation matrix with these columns.

    By the largest of its four parts, so that none is the root of next to nothing (Shepperd, 1978).
    """
    (a, b, c), (d, e, f), (i, j, k) = x, y, z
    if a + e + k > 0.0:
        part = math.sqrt(1.0 + a + e + k)
        share = 0.5 / part
        return 0.5 * part, share * (f - j), share * (i - c), share * (b - d)
    if a >= e and a >= k:
        part = math.sqrt(1.0 + a - e - k)
        share = 0.5 / part
        return share * (f - j), 0.5 * part, share * (b + d), share * (i + c)
    if e >= k:
        part = math.sqrt(1.0 - a + e - k)
        share = 0.5 / part
        return share * (i - c), share * (b + d), 0.5 * part, share * (f + j)
    part = math.sqrt(1.0 - a - e + k)
    share = 0.5 / part
    return share * (b - d), share * (i + c), share * (f + j), 0.5 * part


def dot(a: Vector, b: Vector) -> float:
    """Return the scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    """Return the vector product."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def length(a: Vector) -> float:
    """Return the Euclidean length."""
    return math.sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2])


def difference(a: Vector, b: Vector) -> Vector:
    """Return a - b."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def toward(start: Vector, end: Vector, furthest: float) -> Vector:
    """Return `end`, or the point `furthest` from `start` on the way there, whichever is nearer."""
    x, y, z = start
    i, j, k = end[0] - x, end[1] - y, end[2] - z
    distance = math.sqrt(i * i + j * j + k * k)
    if distance <= furthest:
        return end
    share = furthest / distance
    return x + share * i, y + share * j, z + share * k


def turned_toward(start: Quaternion, end: Quaternion, furthest_rad: float) -> Quaternion:
    """Return `end`, or the orientation `furthest_rad` from `start` on the way there, whichever is nearer."""
    a, b, c, d = start
    w, x, y, z = end
    cosine, most = a * w + b * x + c * y + d * z, 0.5 * furthest_rad
    half = math.acos(min(1.0, abs(cosine)))
    if half <= most:
        return end
    sine = math.sin(half)  # spherical interpolation
    own, other = math.sin(half - most) / sine, math.copysign(math.sin(most), cosine) / sine
    return own * a + other * w, own * b + other * x, own * c + other * y, own * d + other * z


def moved(pose: Pose, way: Vector, rotvec: Vector, share: float = 1.0) -> Pose:
    """Return a pose moved by a share of `way` [m], turned by as much of `rotvec` [rad], in the base frame."""
    x, y, z = pose.position_m
    place = (x + share * way[0], y + share * way[1], z + share * way[2])
    turn = turn_of((share * rotvec[0], share * rotvec[1], share * rotvec[2]))
    return Pose(place, unit(product(turn, pose.turn)))


def blend(start: Pose, end: Pose, share: float) -> Pose:
    """Return the pose a share of the way from `start` to `end`: straight, and turning at an even rate."""
    return moved(start, difference(end.position_m, start.position_m), between(start.turn, end.turn), share)


def tilt(q: Quaternion, axis: Vector) -> float:
    """Return the angle [rad] in [0, pi] of the turned frame's z axis from a unit vector."""
    pointing = z_axis(q)
    return math.atan2(length(cross(pointing, axis)), dot(pointing, axis))


def upright(q: Quaternion, axis: Vector, most_rad: float) -> Quaternion:
    """Return the nearest orientation whose z axis is at most `most_rad` from the unit vector `axis`.

    It turns about the axis perpendicular to both; where they are opposite, about any such.
    """
    pointing = z_axis(q)
    cosine = dot(pointing, axis)
    if cosine >= math.cos(most_rad):
        return q
    hinge = cross(pointing, axis)
    size = length(hinge)
    half = 0.5 * (math.atan2(size, cosine) - most_rad)
    if size < 1e-9:
        hinge = cross(axis, (1.0, 0.0, 0.0) if abs(axis[0]) < 0.9 else (0.0, 1.0, 0.0))
        size = length(hinge)
    share = math.sin(half) / size
    return unit(product((math.cos(half), hinge[0] * share, hinge[1] * share, hinge[2] * share), q))
