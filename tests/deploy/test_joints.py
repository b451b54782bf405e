"""What the joints of an arm let its tool do."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from arm_makers import config_of
from ur_joints import UrJoints, tool

from robofb.build import build
from robofb.deploy.arms.arm import ArmState
from robofb.deploy.joints import SINGULAR, JointGuard, JointLimits
from robofb.deploy.kinematics import Chain, jacobian, least_singular
from robofb.deploy.limits import Limits
from robofb.deploy.motion import BRAKED_FOR, MotionLimiter
from robofb.deploy.pose import Pose, Quaternion, product, rotvec_of, turn_of
from robofb.errors import UserError

DOWN: Quaternion = (0.0, 1.0, 0.0, 0.0)
CONFIGURED: Limits = build(config_of("ur").limits)
assert CONFIGURED.joints is not None
JOINTS: JointLimits = CONFIGURED.joints
SMALL_RAD = 0.01


class Ur:
    """A UR5e that is where it is sent."""

    def __init__(self, pose: Pose) -> None:
        self.joints = UrJoints()
        self.go(pose)

    def go(self, pose: Pose) -> None:
        self.angles = self.joints.follow([*pose.position_m, *rotvec_of(pose.turn)])
        self.state = ArmState(0.0, 0.0, pose, tuple(self.angles))

    def value(self) -> float:
        """Return how singular it is."""
        frames = Chain(JOINTS.chain).frames(np.array(self.angles))
        return least_singular(jacobian(frames, np.array(self.state.pose.position_m)))


def turned(pose: Pose, rad: float) -> Pose:
    """Return a pose that is turned about the base's z axis."""
    return Pose(pose.position_m, product(turn_of((0.0, 0.0, rad)), pose.turn))


def guard_of(ur: Ur, limits: JointLimits = JOINTS) -> JointGuard:
    guard = JointGuard(limits)
    assert guard.see(ur.state) == ""
    return guard


def test_the_last_joint_of_a_tool_that_points_down_turns_against_the_tool() -> None:
    """So with 0.005 rad of room left it lets the tool turn by 0.004, and not by 0.006; back it always may."""
    ur = Ur(Pose((0.4, 0.0, 0.25), DOWN))
    least = ur.angles[5] - JOINTS.margin_rad - 0.005
    guard = guard_of(ur, replace(JOINTS, low_rad=(*JOINTS.low_rad[:5], least)))
    assert guard.hindrance(turned(ur.state.pose, 0.004)) == ""
    assert guard.hindrance(turned(ur.state.pose, 0.006)) == "joint_pos_5"
    assert guard.hindrance(turned(ur.state.pose, -1.0)) == ""


def test_who_is_beyond_a_bound_may_only_come_back() -> None:
    ur = Ur(Pose((0.4, 0.0, 0.25), DOWN))
    guard = guard_of(ur, replace(JOINTS, high_rad=(*JOINTS.high_rad[:5], ur.angles[5] - 0.3)))
    assert guard.hindrance(turned(ur.state.pose, SMALL_RAD)) == ""
    assert guard.hindrance(ur.state.pose) == ""
    assert guard.hindrance(turned(ur.state.pose, -SMALL_RAD)) == "joint_pos_5"


def test_near_a_singularity_the_tool_may_only_come_back() -> None:
    ur = Ur(Pose((0.6, 0.3, 0.45), DOWN))
    guard = guard_of(ur, replace(JOINTS, least_singular=ur.value() + 1e-3))
    x, y, z = ur.state.pose.position_m
    assert guard.hindrance(Pose((x + 0.01, y, z), DOWN)) == SINGULAR
    assert guard.hindrance(Pose((x - 0.01, y, z), DOWN)) == ""


def test_an_arm_that_was_not_seen_goes_nowhere() -> None:
    guard = JointGuard(JOINTS)
    assert guard.hindrance(Pose((0.4, 0.0, 0.25), DOWN)) == "an arm that was not seen"
    ur = Ur(Pose((0.4, 0.0, 0.25), DOWN))
    guard.see(ur.state)
    guard.begin()
    assert guard.hindrance(ur.state.pose) == "an arm that was not seen"


def test_joints_of_another_arm_are_told_by_a_tool_that_wanders() -> None:
    """11 mm against the flange, where the joints stand still; a tool that is another one is none."""
    ur = Ur(Pose((0.4, 0.0, 0.25), DOWN))
    guard = guard_of(ur)
    for way_m, says in ((0.009, ""), (0.011, "tool and joints disagree by 11 mm and 0.00 rad")):
        place = (0.4 + way_m, 0.0, 0.25)
        assert guard.see(replace(ur.state, pose=Pose(place, DOWN)))[: len(says) or None] == says
    astray = turned(ur.state.pose, 0.15)
    assert guard.see(replace(ur.state, pose=turned(ur.state.pose, 0.05))) == ""
    assert "disagree by 0 mm and 0.15 rad" in guard.see(replace(ur.state, pose=astray))
    guard.begin()
    assert guard.see(replace(ur.state, pose=Pose((0.4, 0.0, 0.35), DOWN))) == ""
    assert "7 joints, limits.joints has 6" in guard.see(replace(ur.state, joints_rad=(0.0,) * 7))
    assert "disagree by nan" in guard.see(replace(ur.state, joints_rad=(math.nan,) * 6))


def follow(limits: Limits, start: Pose, goal: Pose, ticks: int) -> tuple[MotionLimiter, list[Ur]]:
    """Go from one pose to another, with an arm that is where it is sent; return its states too."""
    ur, limiter, seen = Ur(start), MotionLimiter(limits, 0.01, start), []
    for _ in range(ticks):
        assert limiter.see(ur.state) == ""
        ur.go(limiter.step(goal))
        seen.append(ur.angles)
    return limiter, seen


def test_set_points_stop_where_a_joint_has_its_margin_left() -> None:
    """The tool turns by 1.5 rad where the wrist has room for 1; and comes back from there."""
    start = Pose((0.4, 0.0, 0.25), DOWN)
    least = Ur(start).angles[5] - 1.0
    joints = replace(JOINTS, low_rad=(*JOINTS.low_rad[:5], least))
    limits = replace(CONFIGURED, joints=joints)
    limiter, seen = follow(limits, start, turned(start, 1.5), 400)
    assert limiter.at_rest and limiter.counts[f"{BRAKED_FOR} joint_pos_5"] > 0
    assert min(angles[5] for angles in seen) == pytest.approx(least + JOINTS.margin_rad, abs=0.01)
    assert min(angles[5] for angles in seen) > least + JOINTS.margin_rad - 1e-3
    for _ in range(400):
        ur = Ur(limiter.pose)
        limiter.see(ur.state)
        limiter.step(start)
    assert limiter.pose.position_m == pytest.approx(start.position_m) and limiter.at_rest


def test_set_points_stop_before_an_arm_is_stretched() -> None:
    """The box lets it go to where no UR5e reaches."""
    start = Pose((0.5, 0.0, 0.25), DOWN)
    limits = replace(CONFIGURED, high_m=(1.2, 0.3, 0.45))
    limiter, seen = follow(limits, start, Pose((1.1, 0.0, 0.25), DOWN), 600)
    assert limiter.at_rest and limiter.counts[f"{BRAKED_FOR} {SINGULAR}"] > 0
    assert 0.7 < limiter.pose.position_m[0] < 0.425 + 0.3922 + 0.1
    assert min(abs(angles[2]) for angles in seen) > 0.1  # the elbow, which is straight at 0
    place = tool(np.array(seen[-1]))[:3, 3]
    np.testing.assert_allclose(place, limiter.pose.position_m, atol=1e-5)


def test_limits_that_no_arm_could_have_are_refused() -> None:
    rows = ((0.0, 0.0, 0.1), (0.1, 0.0, 0.0))
    with pytest.raises(UserError, match="2 joints need as many bounds each"):
        JointLimits(rows, (-1.0,), (1.0, 1.0))
    with pytest.raises(UserError, match=r"joint 1: \[-0.05, 0.1\] leaves no room"):
        JointLimits(rows, (-1.0, -0.05), (1.0, 0.1))
    with pytest.raises(UserError, match="a, alpha and d for each joint"):
        JointLimits(((0.0, 0.0),), (-1.0,), (1.0,))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="margin_rad"):
        JointLimits(rows, (-1.0, -1.0), (1.0, 1.0), margin_rad=-0.1)
