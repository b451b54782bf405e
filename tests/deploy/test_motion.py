"""Set-points keep every bound, wherever their target goes; checked on the poses by finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from motion_bounds import assert_within
from scipy.spatial.transform import Rotation

from robofb.deploy.limits import Limits
from robofb.deploy.motion import BRAKED, NO_POSE, MotionLimiter
from robofb.deploy.pose import Pose, Quaternion, product, tilt, turn_of
from robofb.errors import UserError

DOWN: Quaternion = (0.0, 1.0, 0.0, 0.0)
START = Pose((0.48, 0.0, 0.22), DOWN)
DT_S = 0.01


def test_a_straight_move_takes_as_long_as_its_bounds_say() -> None:
    """0.1 m along x: d / v + v / a + a / j with a third of each squared bound on an axis: 0.91 s."""
    limits = Limits()
    v, a, j = (
        bound / math.sqrt(3)
        for bound in (limits.max_speed_m_s, limits.max_acceleration_m_s2, limits.max_jerk_m_s3)
    )
    steps = math.ceil((0.1 / v + v / a + a / j) / DT_S)
    assert steps == 91
    limiter, target = MotionLimiter(limits, DT_S, START), Pose((0.58, 0.0, 0.22), DOWN)
    along = [limiter.step(target).position_m[0] for _ in range(steps)]
    assert along[-1] == pytest.approx(0.58, abs=1e-9) and along[-3] < 0.58 - 1e-6
    limiter.step(target)
    assert limiter.at_rest and not limiter.counts


def test_it_turns_and_arrives() -> None:
    turned = Rotation.from_rotvec([0.2, -0.3, 1.0]) * Rotation.from_quat(DOWN, scalar_first=True)
    x, y, z, w = turned.as_quat().tolist()
    limiter, poses = MotionLimiter(Limits(), DT_S, START), [START]
    for _ in range(300):
        poses.append(limiter.step(Pose(START.position_m, (w, x, y, z))))
    assert (turned * Rotation.from_quat(poses[-1].turn, scalar_first=True).inv()).magnitude() < 1e-6
    assert_within(poses, Limits(), DT_S)


def test_who_starts_at_the_edge_of_the_cone_can_come_away_from_it() -> None:
    """Set-points keep 5 mrad off the edge; here it starts 1 mrad from it."""
    limits = Limits()
    edge = turn_of((limits.most_tilt_rad - 0.001, 0.0, 0.0))
    limiter, poses = MotionLimiter(limits, DT_S, Pose(START.position_m, product(edge, DOWN))), []
    for _ in range(400):
        poses.append(limiter.step(START))
    assert tilt(poses[-1].turn, limits.tool_axis) < 1e-6
    assert max(tilt(pose.turn, limits.tool_axis) for pose in poses) <= limits.most_tilt_rad
    assert not limiter.hindered


def test_without_a_target_it_brakes() -> None:
    limiter = MotionLimiter(Limits(), DT_S, START)
    poses = [limiter.step(Pose((0.6, 0.2, 0.4), DOWN)) for _ in range(40)]
    assert not limiter.at_rest
    poses += [limiter.step(None) for _ in range(40)]
    assert limiter.at_rest and poses[-1].position_m == pytest.approx(poses[-2].position_m, abs=1e-9)
    assert_within([START, *poses], Limits(), DT_S)


def random_target(generator: np.random.Generator, limits: Limits, wildness: float) -> Pose | None:
    """Return somewhere in or beyond the box, in any orientation; now and then nothing."""
    if generator.random() < 0.05:
        return None
    middle, half = np.mean([limits.low_m, limits.high_m], 0), np.subtract(limits.high_m, limits.low_m) / 2
    place = middle + half * generator.uniform(-wildness, wildness, 3)
    x, y, z, w = Rotation.random(random_state=generator).as_quat().tolist()
    return Pose(tuple(place.tolist()), (w, x, y, z))


def chase(limits: Limits, dt_s: float, steps: int = 3000) -> tuple[MotionLimiter, list[Pose]]:
    """Follow targets that leap about; return who did, and every set-point."""
    generator = np.random.default_rng(7)
    limiter = MotionLimiter(limits, dt_s, Pose((0.45, 0.0, 0.25), DOWN))
    poses: list[Pose] = [limiter.pose]
    target = None
    for _ in range(steps):
        if generator.random() < 0.05:
            target = random_target(generator, limits, 1.5)
        poses.append(limiter.step(target))
    return limiter, poses


NARROW = Limits((0.4, -0.05, 0.2), (0.5, 0.05, 0.3), most_tilt_rad=0.3)
FAST = Limits(max_speed_m_s=1.5, max_turn_rad_s=3.0, max_jerk_m_s3=200.0, most_tilt_rad=1.2)


@pytest.mark.parametrize("dt_s", [0.004, 0.01, 0.05])
@pytest.mark.parametrize("limits", [Limits(), NARROW, FAST])
def test_wherever_targets_go_nothing_leaves(limits: Limits, dt_s: float) -> None:
    _, poses = chase(limits, dt_s)
    assert_within(poses, limits, dt_s)
    assert np.ptp([pose.position_m for pose in poses], 0).min() > 0.03


def test_the_brake_is_what_keeps_it_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The short way from one orientation in a cone to another may lead out of it."""
    assert chase(FAST, DT_S)[0].counts[BRAKED] > 0
    monkeypatch.setattr(MotionLimiter, "_can_brake", lambda *_: True)
    assert max(tilt(pose.turn, FAST.tool_axis) for pose in chase(FAST, DT_S)[1]) > FAST.most_tilt_rad


@pytest.mark.parametrize(
    "target",
    [
        Pose((math.nan, 0.0, 0.2), DOWN),
        Pose((0.48, math.inf, 0.22), DOWN),
        Pose(START.position_m, (math.nan, 1.0, 0.0, 0.0)),
        Pose(START.position_m, (0.0, 0.0, 0.0, 0.0)),
        Pose((1e300, -1e300, 0.2), DOWN),
    ],
)
def test_a_target_that_is_none_moves_nothing_unsafe(target: Pose) -> None:
    limiter = MotionLimiter(Limits(), DT_S, START)
    poses = [limiter.step(Pose((0.6, 0.2, 0.4), DOWN)) for _ in range(30)]
    poses += [limiter.step(target) for _ in range(200)]
    assert_within(poses, Limits(), DT_S)
    assert limiter.at_rest or not limiter.counts
    assert limiter.counts[NO_POSE] == (0 if target.position_m[0] > 1e200 else 200)


def test_rounding_stops_nobody() -> None:
    """At 20 Hz Ruckig gave up on speeds and ways of 1e-17, once the tool had come to rest."""
    limiter = MotionLimiter(NARROW, 0.05, Pose((0.45, 0.0, 0.25), DOWN))
    target = Pose((0.45 + 1e-14, -1e-15, 0.25), (1e-16, 1.0, -1e-16, 1e-17))
    for _ in range(20):
        limiter.step(target)
    limiter._speed = limiter._acceleration = [1e-17, -3e-18, 0.0, 2e-16, 1e-18, -1e-19]
    assert limiter.step(target).position_m == pytest.approx((0.45, 0.0, 0.25)) and not limiter.counts


def test_a_tool_outside_is_refused_with_its_place() -> None:
    with pytest.raises(UserError, match=r"tool is at \[0.480, 0.000, 0.010\] m, tilted by 0.00 rad"):
        MotionLimiter(Limits(), DT_S, Pose((0.48, 0.0, 0.01), DOWN))
    with pytest.raises(UserError, match=r"tilted by 3.14 rad: outside .* most_tilt_rad=0.8"):
        MotionLimiter(Limits(), DT_S, Pose(START.position_m, (1.0, 0.0, 0.0, 0.0)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low_m": (0.7, 0, 0)}, r"low_m=\[0.7, 0.0, 0.0\]: must lie below high_m"),
        ({"max_speed_m_s": 0.0}, "max_speed_m_s=0.0: must be positive and finite"),
        ({"max_jerk_m_s3": math.inf}, "max_jerk_m_s3=inf"),
        ({"tool_axis": (0, 0, 0)}, "needs a direction"),
        ({"high_m": (1, 2)}, "needs three finite numbers"),
        ({"most_tilt_rad": 4.0}, "must be 0.02 to pi"),
        ({"most_tilt_rad": 0.01}, "most_tilt_rad=0.01: must be 0.02 to pi"),
        ({"joints": "none"}, "joints='none': needs the settings of JointLimits, or null"),
    ],
)
def test_limits_that_make_no_sense_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Limits(**changes)


def test_directions_need_not_be_of_length_one() -> None:
    assert Limits(tool_axis=(0, 0, -2)) == Limits()
