"""The gate of chunks: what it refuses, what it clamps, and that nothing else comes out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.transform import Rotation

from robofb.deploy.limits import Limits
from robofb.deploy.pose import Pose, Quaternion
from robofb.deploy.safety import BOX, GRIPPER, SPEED, TILT, TURN, ChunkGate, Plan

LIMITS, DT_S = Limits(), 0.1
DOWN: Quaternion = (0.0, 1.0, 0.0, 0.0)
START = Pose((0.48, 0.0, 0.22), DOWN)
DOWN_6D = [1.0, 0.0, 0.0, 0.0, -1.0, 0.0]


def still(count: int = 4) -> np.ndarray:
    """Return a chunk that stays at the start, gripper open."""
    return np.tile(np.array([*START.position_m, *DOWN_6D, -1.0], np.float32), (count, 1))


def gate(limits: Limits = LIMITS) -> ChunkGate:
    return ChunkGate(limits, DT_S)


def violations(plan: Plan, start: Pose, limits: Limits, dt_s: float) -> list[str]:
    """Return what is wrong with a plan, computed by scipy and not by the gate's own code."""
    places = np.array([start.position_m, *(pose.position_m for pose in plan.poses)])
    turns = np.array([start.turn, *(pose.turn for pose in plan.poses)])
    wrong = []
    if not (np.isfinite(places).all() and np.isfinite(turns).all() and np.isfinite(plan.gripper).all()):
        return ["not finite"]
    if not np.allclose(np.linalg.norm(turns, axis=1), 1.0, atol=1e-9):
        return ["no rotation"]
    if (places < np.array(limits.low_m) - 1e-9).any() or (places > np.array(limits.high_m) + 1e-9).any():
        wrong.append("box")
    rotations = Rotation.from_quat(turns, scalar_first=True)
    cosine = np.clip(rotations.apply([0, 0, 1]) @ np.array(limits.tool_axis), -1, 1)
    if np.arccos(cosine).max() > limits.most_tilt_rad + 1e-6:
        wrong.append("tilt")
    if np.linalg.norm(np.diff(places, axis=0), axis=1).max() > limits.max_speed_m_s * dt_s + 1e-8:
        wrong.append("speed")
    if (rotations[1:] * rotations[:-1].inv()).magnitude().max() > limits.max_turn_rad_s * dt_s + 1e-6:
        wrong.append("turn")
    if np.abs(plan.gripper).max() > 1:
        wrong.append("gripper")
    return wrong


def test_a_sound_chunk_passes_as_it_is() -> None:
    chunk = still()
    chunk[:, 0] += np.float32(0.02) * np.arange(1, 5)
    verdict = gate().check(chunk, START)
    assert verdict.plan is not None and not verdict.refused and not verdict.clamped
    np.testing.assert_array_equal([pose.position_m for pose in verdict.plan.poses], chunk[:, :3])
    assert all(pose.turn == pytest.approx(DOWN) for pose in verdict.plan.poses)
    assert verdict.plan.gripper == (-1.0,) * 4


@pytest.mark.parametrize(
    ("chunk", "why"),
    [
        ([[0.0] * 10], "no array of numbers"),
        (np.zeros((2, 10), np.int64), "no array of numbers"),
        (np.zeros((2, 9)), "shape"),
        (np.zeros((0, 10)), "shape"),
        (np.zeros((65, 10)), "shape"),
        (np.zeros(10), "shape"),
    ],
)
def test_what_is_no_chunk_is_refused(chunk: object, why: str) -> None:
    judge = gate()
    verdict = judge.check(chunk, START)
    assert verdict.plan is None and verdict.refused == why
    assert judge.counts == {f"refused: {why}": 1}


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        (0, math.nan, "not finite"),
        (9, math.inf, "not finite"),
        (2, -0.6, "far outside the box"),
        (2, 1e30, "far outside the box"),
        (slice(3, 6), 0.0, "6D rotation too short or long"),
        (3, 1e300, "6D rotation too short or long"),
        (slice(3, 9), [1, 0, 0, 0.999, 0.01, 0], "6D rotation of one direction"),
        (slice(3, 9), [1, 0, 0, 0, 1, 0], "turned away"),
    ],
)
def test_nonsense_in_one_action_refuses_the_chunk(column: object, value: object, why: str) -> None:
    chunk = still().astype(np.float64)
    chunk[2, column] = value
    assert gate().check(chunk, START).refused == why


def test_leaps_are_refused() -> None:
    chunk = still()
    chunk[2, 1], chunk[3, 1] = 0.29, -0.29
    assert gate().check(chunk, START).refused == "leap"
    turned = still()
    turned[2, 3:9] = [-1, 0, 0, 0, 1, 0]  # half a turn about the vertical
    assert gate().check(turned, START).refused == "leap of the orientation"


def test_a_jump_of_30_cm_is_walked_at_the_limit() -> None:
    """0.25 m/s for 0.1 s are 2.5 cm a step: after four of them the tool is 10 cm on its way."""
    chunk = still()
    chunk[:, 1] = 0.299
    verdict = gate().check(chunk, START)
    assert verdict.plan is not None and SPEED in verdict.clamped
    along = [pose.position_m[1] for pose in verdict.plan.poses]
    np.testing.assert_allclose(along, [0.025, 0.05, 0.075, 0.1])


def test_slips_are_clamped_and_counted() -> None:
    chunk = still()
    chunk[:, 0] = np.minimum(0.48 + 0.02 * np.arange(1, 5), 0.55)
    chunk[3, 9] = 1.5
    tight = Limits(high_m=(0.51, 0.3, 0.5))
    judge = gate(tight)
    verdict = judge.check(chunk, START)
    assert verdict.plan is not None and set(verdict.clamped) == {BOX, GRIPPER}
    np.testing.assert_allclose([pose.position_m[0] for pose in verdict.plan.poses], [0.5, 0.51, 0.51, 0.51])
    assert verdict.plan.gripper[3] == 1.0
    assert judge.counts == {"passed": 1, "clamped: box": 1, "clamped: gripper": 1}


def test_a_tilted_tool_is_brought_back_to_the_cone() -> None:
    """Tilted by 0.3 rad about x where 0.25 are allowed; a step may turn by 0.1."""
    turn = Rotation.from_rotvec([math.pi - 0.3, 0, 0]).as_matrix()
    chunk = still()
    chunk[:, 3:9] = turn[:, :2].T.reshape(-1)
    verdict = gate(Limits(most_tilt_rad=0.25)).check(chunk, START)
    assert verdict.plan is not None and set(verdict.clamped) == {TILT, TURN}
    tilted = [
        math.pi - Rotation.from_quat(pose.turn, scalar_first=True).magnitude() for pose in verdict.plan.poses
    ]
    np.testing.assert_allclose(tilted, [0.1, 0.2, 0.25, 0.25], atol=1e-6)


def starts(generator: np.random.Generator, limits: Limits = LIMITS) -> Pose:
    """Return a pose inside box and cone."""
    place = generator.uniform(limits.low_m, limits.high_m)
    direction = generator.uniform(0, 2 * math.pi)
    angle = generator.uniform(0, 0.99 * limits.most_tilt_rad)
    tilted = Rotation.from_rotvec(angle * np.array([math.cos(direction), math.sin(direction), 0.0]))
    twist = Rotation.from_rotvec([0, 0, generator.uniform(-3, 3)])
    turn = tilted * Rotation.from_rotvec([math.pi, 0, 0]) * twist
    x, y, z, w = turn.as_quat().tolist()
    return Pose(tuple(place.tolist()), (w, x, y, z))


ANY_NUMBERS = st.one_of(
    st.floats(-1.5, 1.5),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, 1e-30, 1e300, -1.0]),
)


@settings(max_examples=300, deadline=None)
@given(
    arrays.arrays(
        np.float64,
        arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=12).map(
            lambda shape: (*shape[:-1], 10) if sum(shape) % 4 else shape
        ),
        elements=ANY_NUMBERS,
    ),
    st.integers(0, 2**31),
)
def test_whatever_comes_nothing_unsafe_leaves(chunk: np.ndarray, seed: int) -> None:
    start = starts(np.random.default_rng(seed))
    verdict = gate().check(chunk, start)
    assert (verdict.plan is None) == bool(verdict.refused)
    if verdict.plan is not None:
        assert not violations(verdict.plan, start, LIMITS, DT_S)


@pytest.mark.parametrize("seed", range(4))
def test_chunks_near_the_edges_leave_safe(seed: int) -> None:
    """Slips of every kind at once, which random numbers hardly ever pass: none leaves."""
    generator = np.random.default_rng(seed)
    judge, passed = gate(), 0
    for _ in range(1000):
        start = starts(generator)
        rotations = Rotation.from_quat(start.turn, scalar_first=True)
        chunk = np.empty((8, 10))
        sizes = 10.0 ** generator.uniform(-4, 0.3, 3)
        chunk[:, :3] = start.position_m + sizes[0] * 0.1 * generator.normal(size=(8, 3)).cumsum(0)
        turned = [
            (Rotation.from_rotvec(way) * rotations).as_matrix()[:, :2].T.reshape(-1)
            for way in sizes[1] * generator.normal(size=(8, 3)).cumsum(0)
        ]
        chunk[:, 3:9] = np.array(turned) * generator.uniform(0.5, 2) + 0.05 * generator.normal(size=(8, 6))
        chunk[:, 9] = sizes[2] * generator.normal(size=8)
        verdict = judge.check(chunk, start)
        if verdict.plan is not None:
            passed += 1
            assert not violations(verdict.plan, start, LIMITS, DT_S), (verdict, start)
    assert passed > 300
    assert all(judge.counts[f"clamped: {what}"] > 20 for what in (BOX, TILT, SPEED, TURN, GRIPPER))
