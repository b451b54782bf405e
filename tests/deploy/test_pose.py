"""Plain-number rotations against scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from robofb.deploy import pose

NUMBERS = st.floats(-1.0, 1.0)
FOUR = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
QUATERNIONS = FOUR.filter(lambda q: sum(x * x for x in q) > 1e-3).map(pose.unit)
VECTORS = st.tuples(NUMBERS, NUMBERS, NUMBERS)


def scipy_of(q: pose.Quaternion) -> Rotation:
    return Rotation.from_quat(q, scalar_first=True)


def assert_same_turn(a: pose.Quaternion, b: Rotation, atol: float = 1e-7) -> None:
    assert (scipy_of(a) * b.inv()).magnitude() < atol


@given(QUATERNIONS, QUATERNIONS)
def test_products_and_differences(a: pose.Quaternion, b: pose.Quaternion) -> None:
    assert_same_turn(pose.product(a, b), scipy_of(a) * scipy_of(b))
    between = pose.between(a, b)
    assert_same_turn(pose.product(pose.turn_of(between), a), scipy_of(b))
    assert pose.angle_between(a, b) == pytest.approx((scipy_of(b) * scipy_of(a).inv()).magnitude(), abs=1e-7)
    assert pose.length(between) <= math.pi + 1e-9


@given(VECTORS)
def test_rotation_vectors(rotvec: pose.Vector) -> None:
    assert_same_turn(pose.turn_of(rotvec), Rotation.from_rotvec(rotvec))
    np.testing.assert_allclose(pose.rotvec_of(pose.turn_of(rotvec)), rotvec, atol=1e-9)


@given(QUATERNIONS)
def test_columns_are_the_matrix(q: pose.Quaternion) -> None:
    columns = pose.columns_of(q)
    np.testing.assert_allclose(np.array(columns).T, scipy_of(q).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(columns[2], scipy_of(q).apply([0, 0, 1]), atol=1e-12)


@given(QUATERNIONS)
def test_a_matrix_is_one_turn(q: pose.Quaternion) -> None:
    assert_same_turn(pose.turn_of_columns(*pose.columns_of(q)), scipy_of(q), atol=1e-12)


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_matrix_of_a_turn_near_each_pure_one(part: int, sign: float) -> None:
    q = [sign * 1e-9] * 4
    q[part] = 1.0
    assert pose.turn_of_columns(*pose.columns_of(pose.unit(tuple(q)))) == pytest.approx(q, abs=1e-15)


@given(QUATERNIONS, QUATERNIONS, st.floats(0.01, 1.0))
def test_to_turn_toward_takes_the_short_way(a: pose.Quaternion, b: pose.Quaternion, most: float) -> None:
    way = pose.angle_between(a, b)
    turned = pose.turned_toward(a, b, most)
    assert pose.angle_between(a, turned) == pytest.approx(min(way, most), abs=1e-7)
    assert pose.angle_between(turned, b) == pytest.approx(max(0.0, way - most), abs=1e-6)


@given(QUATERNIONS, VECTORS.filter(lambda v: pose.length(v) > 0.1), st.floats(0.0, math.pi))
def test_to_tilt_back_is_the_nearest_way(q: pose.Quaternion, axis: pose.Vector, most: float) -> None:
    axis = tuple(x / pose.length(axis) for x in axis)
    tilt = pose.tilt(q, axis)
    assert tilt == pytest.approx(math.acos(np.clip(np.dot(pose.z_axis(q), axis), -1, 1)), abs=1e-6)
    upright = pose.upright(q, axis, most)
    assert pose.tilt(upright, axis) == pytest.approx(min(tilt, most), abs=1e-7)
    assert pose.angle_between(q, upright) == pytest.approx(max(0.0, tilt - most), abs=1e-6)


def test_an_opposite_tool_turns_about_any_perpendicular_axis() -> None:
    down = (0.0, 0.0, -1.0)
    assert pose.tilt(pose.upright(pose.IDENTITY, down, 0.5), down) == pytest.approx(0.5)


def test_points_on_a_way() -> None:
    assert pose.toward((0, 0, 0), (3.0, 4.0, 0.0), 2.5) == (1.5, 2.0, 0.0)
    assert pose.toward((0, 0, 0), (0.3, 0.4, 0.0), 2.5) == (0.3, 0.4, 0.0)
