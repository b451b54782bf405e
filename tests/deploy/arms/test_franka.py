"""What a Franka says and does, against franky-sim, which speaks libfranka's protocol."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import franky
import pytest
from arm_makers import config_of
from driven import DT_S, wait_for
from franka_arms import arm_with, connected, until, until_state
from franka_peer import Peer, franky_sim

from robofb.build import build
from robofb.deploy.arms.arm import ArmError, ArmState, ArmTarget, LinkLostError
from robofb.deploy.arms.franka import FrankaArm, pose_of
from robofb.deploy.arms.franka_link import open_within
from robofb.deploy.motion import BRAKED_FOR, MotionLimiter
from robofb.deploy.pose import Pose, angle_between, difference, length, moved
from robofb.errors import UserError


def lead(
    arm: FrankaArm, way: tuple[float, float, float], rotvec: tuple[float, float, float], steps: int
) -> Pose:
    """Send the tool a way evenly; return where it was sent."""
    start = arm.state().pose
    for step in range(1, steps + 1):
        goal = moved(start, way, rotvec, step / steps)
        arm.command(ArmTarget(goal, -1.0))
        wait_for(arm, arm.state())
    return goal


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with franky_sim() as peer:
        yield peer


@pytest.fixture
def arm(peer: Peer) -> Iterator[FrankaArm]:
    with connected(peer) as arm:
        yield arm


def test_a_pose_is_turned_wxyz() -> None:
    half = math.sqrt(0.5)
    pose = pose_of(franky.Affine([0.1, 0.2, 0.3], [0.0, 0.0, half, half]))  # xyzw: a quarter about z
    assert pose.position_m == pytest.approx((0.1, 0.2, 0.3)) and pose.turn == pytest.approx(
        (half, 0, 0, half)
    )


def test_what_it_feels_is_the_opposite_of_what_it_exerts(arm: FrankaArm, peer: Peer) -> None:
    peer.tell("force", 1.0, -2.0, 3.5)
    state = until_state(arm, lambda state: state.force_n != (0.0, 0.0, 0.0))
    assert state.force_n == (-1.0, 2.0, -3.5)
    peer.tell("force", 0.0, 0.0, 0.0)


def test_it_turns_where_it_is_sent(arm: FrankaArm) -> None:
    start = arm.state()
    goal = lead(arm, (0.0, 0.02, 0.0), (0.0, 0.0, 0.2), steps=60)
    until_state(arm, lambda state: angle_between(state.pose.turn, goal.turn) < 0.03)
    state = until_state(arm, lambda state: length(difference(state.pose.position_m, goal.position_m)) < 0.004)
    assert angle_between(start.pose.turn, state.pose.turn) == pytest.approx(0.2, abs=0.04)
    assert len(state.joints_rad) == 7
    assert state.joints_rad[6] - start.joints_rad[6] == pytest.approx(-0.2, abs=0.1)  # its axis points down


def test_set_points_end_before_the_last_joint_does(arm: FrankaArm) -> None:
    """The tool is to turn by 2.6 rad, where the joint has 2.1, of which 0.1 are kept."""
    quick = {"max_turn_rad_s": 2.0, "max_turn_acceleration_rad_s2": 10.0, "max_turn_jerk_rad_s3": 200.0}
    limits = replace(build(config_of("franka").limits), **quick)
    start, joints = arm.state(), limits.joints
    limiter = MotionLimiter(limits, DT_S, start.pose)
    goal, seen = moved(start.pose, (0.0, 0.0, 0.0), (0.0, 0.0, -2.6)), [start]
    for _ in range(800):
        assert limiter.see(seen[-1]) == ""
        arm.command(ArmTarget(limiter.step(goal), -1.0))
        wait_for(arm, seen[-1])
        seen.append(arm.state())
    assert limiter.counts[f"{BRAKED_FOR} joint_pos_6"] > 0 and limiter.at_rest
    assert joints.high_rad[6] - 0.3 < max(state.joints_rad[6] for state in seen) < joints.high_rad[6]


def test_a_set_point_far_away_pulls_no_harder(arm: FrankaArm, peer: Peer) -> None:
    """2 cm of 2000 N/m are 40 N; a tool that is damped by 2 sqrt(2000) Ns/m then goes at most 0.45 m/s."""
    start = arm.state().pose
    arm.command(ArmTarget(moved(start, (0.0, 0.0, 0.15), (0.0, 0.0, 0.0)), -1.0))
    states = [arm.state()]
    until(lambda: states.append(arm.state()) or states[-1].pose.position_m[2] > start.position_m[2] + 0.1)
    speeds = [
        length(difference(b.pose.position_m, a.pose.position_m)) / (b.stamp - a.stamp)
        for a, b in pairwise(states)
        if b.stamp - a.stamp > 0.005
    ]
    assert 0.1 < max(speeds) < 0.55


def test_it_stops_and_goes_on_where_it_is(arm: FrankaArm) -> None:
    lead(arm, (0.0, 0.0, -0.03), (0.0, 0.0, 0.0), steps=30)
    arm.stop()
    arm.stop()
    with pytest.raises(ArmError, match="still coming to rest"):
        arm.command(ArmTarget(arm.home, -1.0))
    arm.recover()  # waits for that
    rest, states = arm.state(), [arm.state() for _ in range(50)]
    assert rest.fault == ""
    assert max(length(difference(one.pose.position_m, rest.pose.position_m)) for one in states) < 5e-4
    goal = lead(arm, (0.0, 0.0, 0.03), (0.0, 0.0, 0.0), steps=30)
    until_state(arm, lambda state: length(difference(state.pose.position_m, goal.position_m)) < 0.004)


def test_it_refuses_what_is_no_set_point(arm: FrankaArm) -> None:
    with pytest.raises(ArmError, match="no set-point"):
        arm.command(ArmTarget(Pose((math.nan, 0.0, 0.3), (0.0, 1.0, 0.0, 0.0)), -1.0))
    arm.close()
    with pytest.raises(LinkLostError, match="not connected"):
        arm.state()
    arm.stop()


def test_the_hand_acts_once_for_each_change(arm: FrankaArm, peer: Peer) -> None:
    pose, before = arm.state().pose, int(peer.tell("hand_orders"))
    assert arm.state().gripper == pytest.approx(-1.0, abs=0.02)
    for orders, gripper in ((0, -1.0), (1, 1.0), (2, -1.0)):
        until(lambda: abs(sent(arm, pose, gripper).gripper - gripper) < 0.05)  # noqa: B023
        assert all(sent(arm, pose, gripper).fault == "" for _ in range(100))
        assert int(peer.tell("hand_orders")) == before + orders


def sent(arm: FrankaArm, pose: Pose, gripper: float) -> ArmState:
    """Send a set-point, and return the state a little later."""
    arm.command(ArmTarget(pose, gripper))
    time.sleep(DT_S)
    return arm.state()


def test_a_hand_that_hangs_is_a_fault_and_holds_up_nothing() -> None:
    with franky_sim() as peer, connected(peer, "hand.timeout_s=0.3") as arm:
        peer.tell("hand_hangs")
        pose = arm.state().pose
        for _ in range(5):
            arm.command(ArmTarget(pose, 1.0))
        until_state(arm, lambda state: state.fault == "a hand that has not done as told for 0.3 s")
        with pytest.raises(ArmError, match="a hand"):
            arm.command(ArmTarget(pose, -1.0))


def test_without_a_hand_the_gripper_is_as_commanded(peer: Peer) -> None:
    with connected(peer, "hand=null") as arm:
        arm.command(ArmTarget(arm.state().pose, 1.0))
        assert arm.state().gripper == 1.0


def test_nobody_answers() -> None:
    with pytest.raises(UserError, match="127.99.99.99"):
        arm_with("host=127.99.99.99").connect()
    with pytest.raises(UserError, match="nothing has not answered for 0.05 s"):
        open_within(threading.Event().wait, 0.05, "nothing")


@pytest.mark.parametrize(
    "setting",
    [
        "home_turn=[0, 2, 0, 0]",
        "home_position_m=[0.4, 0]",
        "stiffness_n_m=-1",
        "most_error_rad=0",
        "collision_n=.inf",
        "load_kg=-0.1",
        "load_inertia_kg_m2=[0, 0, .nan]",
        "recover_s=0",
    ],
)
def test_it_refuses_settings_that_cannot_be(setting: str) -> None:
    with pytest.raises(UserError, match=setting.split("=")[0]):
        arm_with(setting)
