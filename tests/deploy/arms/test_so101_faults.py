"""Every fault that concerns an SO-101, put into its emulated servos, alone and through the controller."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from so101_bench import PATIENCE_S, PERIOD_S, Bench, so101

from robofb.build import build
from robofb.deploy.arms.arm import ArmError, ArmTarget, LinkLostError
from robofb.deploy.arms.so101 import So101Arm
from robofb.deploy.arms.so101_servo import Servo
from robofb.deploy.controller import Controller
from robofb.deploy.modes import Ask, Mode
from robofb.deploy.pose import difference, length
from robofb.deploy.tick import Arrived, Tick
from robofb.deploy.timeline import Timeline
from robofb.errors import UserError

ELBOW = 3
QUICK = {"answer_s": 0.5, "retries": 1}  # for what does not answer at all


@pytest.fixture
def bench() -> Iterator[Bench]:
    with so101() as made:
        yield made


def test_who_does_not_answer_at_first_is_named() -> None:
    with so101(**QUICK) as (arm, peer, _):
        arm.close()
        peer.servo(ELBOW, dead=True)
        with pytest.raises(
            UserError, match="servo 3 \\(elbow_flex\\) does not answer, asked 2 times on .*tty"
        ):
            arm.connect()
        with pytest.raises(LinkLostError, match="is not connected"):
            arm.state()


def test_bad_packets_are_asked_for_again(bench: Bench) -> None:
    arm, peer, cfg = bench
    peer.servo(1, corrupt=3)  # what the others said meanwhile must not be taken for their next answer
    state = arm.state()
    np.testing.assert_allclose(state.joints_rad, cfg.arm.home_rad, atol=1e-3)
    assert state.stamp == 1.0
    peer.servo(ELBOW, corrupt=4)
    with pytest.raises(ArmError, match="servo 3 \\(elbow_flex\\) sends bad packets, asked 4 times"):
        arm.state()
    assert arm.state().stamp == 2.0


def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    """The first question is answered after the second was put; the second's answer is nobody's."""
    with so101(answer_s=0.5, retries=20) as (arm, peer, cfg):
        peer.servo(1, late_s=0.8)
        arm.state()
        report = peer.servo(1, position=cfg.arm.joints.shoulder_pan.range_min)
        time.sleep(0.2)
        lowest = Servo.of("shoulder_pan", cfg.arm.joints.shoulder_pan).angle_rad(report["position"])
        assert arm.state().joints_rad[0] == pytest.approx(lowest)


def test_dead_servos_are_named() -> None:
    with so101(**QUICK) as (arm, peer, _):
        arm.command(ArmTarget(arm.state().pose, -1.0))
        peer.servo(2, dead=True)
        peer.servo(5, dead=True)
        with pytest.raises(ArmError, match="servo 2 \\(shoulder_lift\\), servo 5 \\(wrist_roll\\) does not"):
            arm.state()
        arm.stop()
        peer.servo(2, dead=False)
        peer.servo(5, dead=False)
        assert arm.state().fault == ""


def test_an_arm_without_power_is_lost() -> None:
    with so101(**QUICK) as (arm, peer, _):
        for number in peer.reports():
            peer.servo(number, dead=True)
        with pytest.raises(LinkLostError, match="no servo answers on .*tty: is the arm's power on"):
            arm.state()
        arm.stop()


def test_an_arm_whose_power_returns_is_held_again_from_where_it_fell() -> None:
    with so101(**QUICK) as (arm, peer, _):
        arm.command(ArmTarget(arm.state().pose, -1.0))
        for number, report in peer.reports().items():
            peer.servo(number, off=True, position=report["position"] + 40)
        arm.connect()
        assert not any(report["torque"] for report in peer.reports().values())
        arm.command(ArmTarget(arm.state().pose, -1.0))
        for report in peer.reports().values():
            assert report["torque"] == 1 and len(report["jumps"]) == 2
            assert all(abs(jump) <= 1 for jump in report["jumps"])


def command_often(arm: So101Arm, target: ArmTarget) -> None:
    for _ in range(10_000):
        arm.command(target)


def test_an_adapter_that_hangs_is_lost() -> None:
    with so101(**QUICK) as (arm, peer, _):
        os.kill(peer.pid, signal.SIGSTOP)
        with pytest.raises(LinkLostError):
            arm.state()
        os.kill(peer.pid, signal.SIGCONT)
        arm.connect()
        target = ArmTarget(arm.state().pose, -1.0)
        arm.command(target)
        os.kill(peer.pid, signal.SIGSTOP)
        with pytest.raises(LinkLostError, match="is gone"):  # a full wire blocks nobody
            command_often(arm, target)
        os.kill(peer.pid, signal.SIGCONT)
        for _ in range(20):
            peer.reports()  # takes 4 KB off the wire
        arm.connect()
        assert arm.state().fault == ""


def test_an_unplugged_arm_is_lost_until_it_is_connected_anew(bench: Bench) -> None:
    arm, peer, _ = bench
    arm.command(ArmTarget(arm.state().pose, -1.0))
    peer.unplug()
    with pytest.raises(LinkLostError, match="is gone"):
        arm.state()
    with pytest.raises(LinkLostError, match="is not connected"):
        arm.command(ArmTarget(arm.home, -1.0))
    arm.stop()
    with pytest.raises(LinkLostError):
        arm.recover()
    with pytest.raises(UserError, match="is the arm plugged in"):
        arm.connect()
    peer.plug()
    arm.connect()
    assert arm.state().fault == ""
    arm.close()


def test_an_overload_is_a_fault_until_it_is_cleared(bench: Bench) -> None:
    arm, peer, _ = bench
    pose = arm.state().pose
    arm.command(ArmTarget(pose, -1.0))
    goal = peer.reports()[ELBOW]["goal"]
    peer.servo(ELBOW, errors=32, slowness=1e6, position=goal + 60)  # pushed away
    fault = arm.state().fault
    assert fault == "servo 3 (elbow_flex): overload (0 % load, 12.0 V, 31 °C)"
    with pytest.raises(ArmError, match="overload"):
        arm.command(ArmTarget(pose, -1.0))
    arm.recover()
    assert arm.state().fault == ""
    reports = peer.reports()
    assert reports[ELBOW]["torque"] == 1 and len(reports[ELBOW]["jumps"]) == 2
    assert all(abs(jump) <= 1 for jump in reports[ELBOW]["jumps"])
    assert reports[ELBOW]["goal"] == goal + 60
    assert len(reports[1]["jumps"]) == 1  # the others held it meanwhile
    pose = arm.state().pose
    assert arm.command(ArmTarget(pose, -1.0)) == ArmTarget(pose, -1.0)


def test_what_stays_hot_stays_a_fault_and_stays_held(bench: Bench) -> None:
    arm, peer, _ = bench
    arm.command(ArmTarget(arm.state().pose, -1.0))
    peer.servo(ELBOW, errors=4 | 32, stubborn=True)
    for _ in range(2):
        with pytest.raises(ArmError, match="elbow_flex\\): overheated and overload .* stays"):
            arm.recover()
    assert peer.reports()[ELBOW]["torque"] == 1


def test_recovering_before_any_command_switches_no_torque_on(bench: Bench) -> None:
    arm, peer, _ = bench
    peer.servo(ELBOW, errors=1)
    assert "input voltage" in arm.state().fault
    arm.recover()
    assert arm.state().fault == "" and not any(report["torque"] for report in peer.reports().values())


class World:
    """The controller with the arm; a tick is a period of its own time, and takes at least as long."""

    def __init__(self, arm: So101Arm, cfg: Any) -> None:
        timeline = Timeline(execute=8)
        self.controller = Controller(arm, build(cfg.limits), PERIOD_S, 0.1, timeline, build(cfg.watch))
        self.now_s = 100.0

    def tick(self, *asks: Ask) -> Tick:
        time.sleep(PERIOD_S)
        self.now_s += PERIOD_S
        return self.controller.tick(self.now_s, Arrived(asks=asks))

    def until(self, mode: Mode) -> Tick:
        deadline = time.monotonic() + PATIENCE_S
        while (tick := self.tick()).mode is not mode:
            assert time.monotonic() < deadline, tick.reason
        return tick


def test_the_controller_brings_it_home_from_beside(bench: Bench) -> None:
    arm, peer, cfg = bench
    peer.servo(1, position=peer.reports()[1]["position"] + 200)
    world = World(arm, cfg)
    assert world.tick().mode is Mode.DISARMED
    assert not any(report["torque"] for report in peer.reports().values())
    assert world.tick(Ask.ARM).mode is Mode.READY
    world.tick(Ask.HOME)
    world.until(Mode.READY)
    bench.until_at_its_goals()
    assert length(difference(arm.state().pose.position_m, arm.home.position_m)) < 2e-3
    assert not world.controller.counts["fault"]


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ({"corrupt": 1000}, "servo 3 (elbow_flex) sends bad packets, asked 2 times"),
        ({"dead": True}, "servo 3 (elbow_flex) does not answer"),
        ({"errors": 32}, "the arm says servo 3 (elbow_flex): overload"),
    ],
)
def test_the_controller_is_at_fault_and_goes_on_once_it_is_mended(harm: dict[str, Any], reason: str) -> None:
    with so101(**QUICK) as (arm, peer, cfg):
        world = World(arm, cfg)
        world.tick(Ask.ARM)
        assert world.tick().mode is Mode.READY
        peer.servo(ELBOW, **harm)
        tick = world.tick()
        assert tick.mode is Mode.FAULT and tick.reason.startswith(reason) and tick.sent is None
        peer.servo(ELBOW, dead=False, corrupt=0)
        tick = world.tick(Ask.ACKNOWLEDGE)
        assert tick.mode is Mode.READY and tick.sent is not None
        assert all(abs(jump) <= 1 for report in peer.reports().values() for jump in report["jumps"])


def test_the_controller_is_disarmed_when_it_is_unplugged(bench: Bench) -> None:
    arm, peer, cfg = bench
    world = World(arm, cfg)
    world.tick(Ask.ARM)
    peer.unplug()
    assert world.tick().mode is Mode.DISARMED
    assert world.tick(Ask.ARM).mode is Mode.DISARMED
    peer.plug()
    arm.connect()
    assert world.tick().mode is Mode.DISARMED  # not by itself
    assert world.tick(Ask.ARM).mode is Mode.READY


def test_a_joint_that_does_not_follow_is_a_fault(bench: Bench) -> None:
    arm, peer, cfg = bench
    peer.servo(1, slowness=1e6)
    peer.servo(1, position=peer.reports()[1]["position"] + 350)
    world = World(arm, cfg)
    world.tick(Ask.ARM)
    world.tick(Ask.HOME)
    tick = world.until(Mode.FAULT)
    assert "mm from its set-point" in tick.reason
