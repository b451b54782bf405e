"""The SO-101 against emulated servos: how it takes hold, moves, and holds."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from so101_bench import PATIENCE_S, PERIOD_S, Bench, so101

from robofb.build import build
from robofb.deploy.arms.arm import ArmError, ArmTarget
from robofb.deploy.arms.so101 import So101Arm
from robofb.deploy.pose import Pose, difference, length
from robofb.errors import UserError


@pytest.fixture
def bench() -> Iterator[Bench]:
    with so101() as made:
        yield made


def moved_by(pose: Pose, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Pose:
    place = pose.position_m
    return pose._replace(position_m=(place[0] + x, place[1] + y, place[2] + z))


def go(arm: So101Arm, pose: Pose, gripper: float = -1.0) -> ArmTarget:
    """Command a pose until what is sent changes no more, and return that."""
    deadline, place = time.monotonic() + PATIENCE_S, (math.inf, math.inf, math.inf)
    while True:
        assert time.monotonic() < deadline
        sent = arm.command(ArmTarget(pose, gripper))
        if length(difference(sent.pose.position_m, place)) < 1e-4:
            return sent
        place = sent.pose.position_m
        time.sleep(PERIOD_S)


def test_connecting_and_looking_switch_no_torque_on(bench: Bench) -> None:
    arm, peer, cfg = bench
    first, second = arm.state(), arm.state()
    assert (first.stamp, second.stamp) == (1.0, 2.0)
    np.testing.assert_allclose(second.joints_rad, cfg.arm.home_rad, atol=0.5 * 2 * math.pi / 4096 + 1e-9)
    assert length(difference(second.pose.position_m, arm.home.position_m)) < 1e-3
    assert second.gripper == pytest.approx(0.0, abs=0.01)
    arm.stop()
    assert not any(report["torque"] or report["goal"] for report in peer.reports().values())


def test_a_bus_that_another_program_drives_is_refused(bench: Bench) -> None:
    with pytest.raises(UserError, match="port=.*lock"), closing(build(bench.cfg.arm)) as other:
        other.connect()
    assert bench.arm.state().fault == ""


def test_the_first_command_takes_hold_of_the_arm_where_it_is(bench: Bench) -> None:
    """All goals were 0 before: had the torque come first, every joint would have leapt there."""
    arm, peer, _ = bench
    arm.command(ArmTarget(arm.state().pose, 0.0))
    for number, report in peer.reports().items():
        assert report["torque"] == 1 and report["jumps"] == [0.0]
        assert report["torque_limit"] == (500 if number == 6 else 0)


@pytest.mark.parametrize(
    ("servo", "wrong", "message"),
    [
        (3, {"homing_offset": -7}, "homing_offset=60, but servo 3 holds -7"),
        (2, {"model": 1284}, "servo 2 \\(shoulder_lift\\) is of model 1284: needs 777"),
        (6, {"mode": 1}, "servo 6 \\(gripper\\) is in mode 1"),
    ],
)
def test_who_is_not_the_arm_of_the_settings_is_refused(servo, wrong, message) -> None:
    with pytest.raises(UserError, match=message), so101(wrong={servo: wrong}):
        pass


def test_a_far_target_is_approached_at_the_speed_of_the_joints(bench: Bench) -> None:
    """2 rad/s: at most 0.2 rad in a command, for no more than 0.1 s of waiting counts; 1304 steps/s."""
    arm, peer, _ = bench
    start = arm.state()
    far = ArmTarget(moved_by(start.pose, y=0.12, z=0.05), -1.0)
    sent = arm.command(far)
    assert sent != far and sent.gripper == -1.0
    first_m = length(difference(sent.pose.position_m, start.pose.position_m))
    assert 0 < first_m < 0.35 * 0.2 * 1.5
    time.sleep(0.3)
    goals = {number: report["goal"] for number, report in peer.reports().items()}
    arm.command(far)
    for number, report in peer.reports().items():
        assert number == 6 or abs(report["goal"] - goals[number]) <= 0.2 * 4096 / (2 * math.pi) + 1
        assert report["most_speed"] == 1304
    assert length(difference(go(arm, far.pose).pose.position_m, far.pose.position_m)) < 5e-4
    bench.until_at_its_goals()
    assert length(difference(arm.state().pose.position_m, far.pose.position_m)) < 2e-3


def test_what_cannot_be_reached_is_approached_and_said(bench: Bench) -> None:
    arm = bench.arm
    start = arm.state().pose
    beyond = moved_by(start, x=0.5)
    sent = go(arm, beyond)
    assert sent.pose != beyond and sent.pose.position_m[0] > start.position_m[0] + 0.05
    bench.until_at_its_goals()
    assert length(difference(arm.state().pose.position_m, sent.pose.position_m)) < 2e-3


def test_an_orientation_out_of_reach_costs_no_position(bench: Bench) -> None:
    arm, _, _ = bench
    start = arm.state().pose
    aside = Pose(moved_by(start, y=0.1).position_m, start.turn)  # five joints cannot keep this tilt there
    sent = go(arm, aside)
    assert sent.pose.turn != aside.turn
    assert length(difference(sent.pose.position_m, aside.position_m)) < 5e-4


@pytest.mark.parametrize("part", ["position_m", "turn"])
def test_nonsense_is_refused_before_any_torque(bench: Bench, part: str) -> None:
    arm, peer, _ = bench
    pose = arm.state().pose
    bad = pose._replace(**{part: (math.nan, *getattr(pose, part)[1:])})
    with pytest.raises(ArmError, match="not finite"):
        arm.command(ArmTarget(bad, -1.0))
    with pytest.raises(ArmError, match="not finite"):
        arm.command(ArmTarget(pose, math.inf))
    assert not any(report["torque"] for report in peer.reports().values())


def test_the_gripper_closes_and_says_so(bench: Bench) -> None:
    arm, _, _ = bench
    pose = arm.state().pose
    go(arm, pose, gripper=1.0)
    bench.until_at_its_goals()
    assert arm.state().gripper == 1.0


def test_stopping_holds_the_joints_where_they_are_and_the_grip(bench: Bench) -> None:
    """The servos would go on to their last goal, 0.2 rad away; the gripper may, for it may hold something."""
    arm, peer, cfg = bench
    start = arm.state().pose
    arm.command(ArmTarget(start, 1.0))
    for number in range(1, 6):
        peer.servo(number, slowness=1e6)  # it stands still, far from its goal
    time.sleep(0.2)
    arm.command(ArmTarget(moved_by(start, y=0.1), 1.0))
    arm.stop()
    reports = peer.reports()
    for number in range(1, 6):
        assert abs(reports[number]["goal"] - reports[number]["position"]) < 1
    assert reports[6]["goal"] == cfg.arm.joints.gripper.range_min
    peer.servo(1, position=reports[1]["position"] + 20)  # as if it sagged
    arm.stop()
    assert peer.reports()[1]["goal"] == reports[1]["goal"]


@pytest.mark.parametrize(("release", "torque"), [(False, 1), (True, 0)])
def test_closing_leaves_it_holding_unless_told_otherwise(release: bool, torque: int) -> None:
    with so101(release=release) as (arm, peer, _):
        arm.command(ArmTarget(arm.state().pose, -1.0))
        arm.close()
        arm.close()
        assert all(report["torque"] == torque for report in peer.reports().values())
