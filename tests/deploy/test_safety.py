"""The gate of chunks: what it refuses, what it clamps, and that nothing else comes out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from chunk_fuzz import slipped_chunk, some_start, sound_chunk, violations, wild_chunk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.transform import Rotation

from robofb.deploy.limits import Limits
from robofb.deploy.pose import Pose, Quaternion, angle_between
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
        (2, -0.6, "leap"),
        (2, 1e30, "leap"),
        (2, 1e300, "leap"),
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


def test_arrays_that_hide_numbers_or_hold_longer_ones_are_refused() -> None:
    hidden = np.ma.masked_less(still(), -10.0)
    for chunk in (hidden, still().astype(np.longdouble)):
        assert gate().check(chunk, START).refused == "no array of numbers"
    assert gate().check(still().astype(np.float16), START).plan is not None


def test_a_turn_far_below_a_step_is_still_bounded() -> None:
    """A milliradian a second in steps of 10 ms are 1e-5 rad."""
    slow = ChunkGate(Limits(max_turn_rad_s=1e-3), 0.01)
    rotations = Rotation.from_rotvec([[0.0, 0.0, 2e-5]]) * Rotation.from_quat(START.turn, scalar_first=True)
    chunk = still()[:1]
    chunk[0, 3:9] = rotations.as_matrix()[0, :, :2].T.ravel()
    verdict = slow.check(chunk.astype(np.float64), START)
    assert verdict.clamped == (TURN,) and verdict.plan is not None
    assert angle_between(START.turn, verdict.plan.poses[0].turn) == pytest.approx(1e-5, rel=1e-3)


def test_who_walks_far_out_of_the_box_is_refused() -> None:
    chunk = still()
    chunk[:, 2] -= 0.2 * np.arange(1, 5, dtype=np.float32)  # 0.61 m below it in the end
    assert gate().check(chunk, START).refused == "far outside the box"


def test_a_leap_along_the_box_is_one_though_little_of_it_is_inside() -> None:
    chunk = still()
    chunk[1, 1], chunk[2, 1] = -0.45, 0.45  # 0.15 m beyond either face, 0.9 m apart, 0.6 m of them inside
    wide = ChunkGate(Limits(absurd_m=0.7), DT_S)
    assert wide.check(chunk, START).refused == "leap"


def test_of_two_faults_the_first_in_order_is_told() -> None:
    chunk = still().astype(np.float64)
    for column, value, why in [
        (slice(3, 9), [1, 0, 0, 0, 1, 0], "turned away"),
        (slice(0, 3), [0.0, 0.0, 9.0], "leap"),
        (slice(3, 9), [0.0] * 6, "6D rotation too short or long"),
        (9, math.nan, "not finite"),
    ]:
        chunk[2, column] = value
        assert gate().check(chunk, START).refused == why


@pytest.mark.parametrize("start", [Pose((math.nan, 0.0, 0.2), DOWN), Pose(START.position_m, (math.nan,) * 4)])
def test_nothing_follows_from_a_start_that_nobody_knows(start: Pose) -> None:
    assert gate().check(still(), start).refused == "nobody knows where the tool is"


def test_who_turns_along_the_edge_of_the_cone_goes_on() -> None:
    generator, frozen = np.random.default_rng(0), 0
    tight = ChunkGate(LIMITS, DT_S)
    for _ in range(200):
        heading = generator.uniform(0, 2 * math.pi)
        tilted = Rotation.from_rotvec(
            LIMITS.most_tilt_rad * np.array([math.cos(heading), math.sin(heading), 0])
        ) * Rotation.from_quat(DOWN, scalar_first=True)
        turned = [Rotation.from_rotvec([0, 0, 0.3 * step]) * tilted for step in range(17)]
        chunk = still(16).astype(np.float64)
        chunk[:, 3:9] = [each.as_matrix()[:, :2].T.reshape(6) for each in turned[1:]]
        x, y, z, w = turned[0].as_quat().tolist()
        plan = tight.check(chunk, Pose(START.position_m, (w, x, y, z))).plan
        assert plan is not None
        frozen += plan.poses[-1].turn == plan.poses[-2].turn
    assert frozen == 0


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


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("side", ["low_m", "high_m"])
def test_who_is_beyond_a_face_of_the_box_stays_at_it(axis: int, side: str) -> None:
    face = getattr(LIMITS, side)[axis]
    at_face = np.array(START.position_m)
    at_face[axis] = face
    chunk = still(1).astype(np.float64)
    chunk[0, :3] = at_face
    chunk[0, axis] += math.copysign(0.01, face - START.position_m[axis])
    verdict = gate().check(chunk, Pose(tuple(at_face.tolist()), DOWN))
    assert verdict.plan is not None and verdict.clamped == (BOX,)
    assert verdict.plan.poses[0].position_m == tuple(at_face)


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
    start = some_start(np.random.default_rng(seed), LIMITS)
    verdict = gate().check(chunk, start)
    assert (verdict.plan is None) == bool(verdict.refused)
    if verdict.plan is not None:
        assert not violations(verdict.plan, start, LIMITS, DT_S)


@pytest.mark.parametrize("seed", range(4))
def test_chunks_near_the_edges_leave_safe(seed: int) -> None:
    """Slips of every kind at once, which random numbers hardly ever pass: none leaves."""
    generator, judge = np.random.default_rng(seed), gate()
    for _ in range(1000):
        start = some_start(generator, LIMITS)
        verdict = judge.check(slipped_chunk(generator, start), start)
        if verdict.plan is not None:
            assert not violations(verdict.plan, start, LIMITS, DT_S), (verdict, start)
        judge.check(wild_chunk(generator, start), start)
    assert judge.counts["passed"] > 300
    assert all(judge.counts[f"clamped: {what}"] > 20 for what in (BOX, TILT, SPEED, TURN, GRIPPER))


def test_every_orientation_is_read_right() -> None:
    """Those of a tool that points down have no w: the sign must not hang on rounding."""
    turns = Rotation.random(300, random_state=0)
    down = Rotation.from_euler("zx", [[angle, math.pi] for angle in np.linspace(-3.1, 3.1, 50)])
    wide = Limits(most_tilt_rad=math.pi, absurd_rad=math.pi, max_turn_rad_s=40.0)
    for turn in Rotation.concatenate([turns, down]):
        chunk = still(1).astype(np.float64)
        chunk[0, 3:9] = turn.as_matrix()[:, :2].T.reshape(6)
        plan = gate(wide).check(chunk, START).plan
        assert plan is not None
        found = Rotation.from_quat(plan.poses[0].turn, scalar_first=True)
        assert (found * turn.inv()).magnitude() < 1e-7


def test_what_policies_make_passes_unclamped() -> None:
    generator, judge = np.random.default_rng(0), gate()
    for _ in range(100):
        start = some_start(generator, Limits(most_tilt_rad=0.7))
        chunk = sound_chunk(generator, start, LIMITS, DT_S)
        verdict = judge.check(chunk, start)
        assert verdict.plan is not None and not verdict.clamped
        np.testing.assert_allclose([pose.position_m for pose in verdict.plan.poses], chunk[:, :3], atol=1e-6)
    assert judge.counts == {"passed": 100}


def test_the_checker_finds_what_is_wrong() -> None:
    """A plan that is wrong in each way is told to be."""

    def wrong(place: tuple, turn: Quaternion, gripper: float = 0.0) -> list[str]:
        return violations(Plan((Pose(place, turn),), (gripper,)), START, LIMITS, DT_S)

    assert wrong(START.position_m, DOWN) == []
    assert wrong((math.nan, 0, 0), DOWN) == ["not finite"]
    assert wrong(START.position_m, (0.0, 1.1, 0.0, 0.0)) == ["no rotation"]
    assert wrong((0.48, 0.0, 0.01), DOWN) == ["box", "speed"]
    assert wrong((0.48, 0.03, 0.22), DOWN, 1.5) == ["speed", "gripper"]
    assert wrong(START.position_m, (1.0, 0.0, 0.0, 0.0)) == ["tilt", "turn"]
