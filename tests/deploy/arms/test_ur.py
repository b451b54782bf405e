"""A UR arm against a fake control box in a process of its own, through the unmodified ur_rtde."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from arm_makers import config_of
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from ur_joints import tool
from ur_peer import UrPeer, ur_peer
from waiting import until

from robofb.build import build
from robofb.deploy.arms import ur
from robofb.deploy.arms.arm import ArmError, ArmTarget, LinkLostError, RobotArm
from robofb.deploy.arms.dry import DryArm
from robofb.deploy.arms.ur import UrArm, pose_of, tool_of
from robofb.deploy.arms.ur_speaker import Mail
from robofb.deploy.controller import Controller
from robofb.deploy.modes import Ask, Mode
from robofb.deploy.pose import Pose, angle_between, difference, length
from robofb.deploy.tick import Arrived, Tick
from robofb.deploy.timeline import Timeline
from robofb.errors import UserError
from robofb.types import TeleopCommand

CFG = config_of("ur")
DT_S = CFG.arm.period_s
PATIENCE_S = 30.0
PROTECTIVE_STOP, EMERGENCY_STOP, NORMAL, POWERED, STOPPED, PLAYING, PAUSED = 3, 7, 1, 7, 1, 2, 4
ROTVEC = st.tuples(*[st.floats(-4.0, 4.0)] * 3)


def test_a_rotation_vector_becomes_a_quaternion() -> None:
    """0.6 pi about y: half the angle is 54 degrees; pi about x is (0, 1, 0, 0)."""
    pose = pose_of([0.1, -0.2, 0.3, 0.0, 0.6 * math.pi, 0.0])
    assert pose.position_m == (0.1, -0.2, 0.3)
    assert pose.turn == pytest.approx((0.5877853, 0.0, 0.8090170, 0.0), abs=1e-7)
    assert pose_of([0, 0, 0, math.pi, 0, 0]).turn == pytest.approx((0.0, 1.0, 0.0, 0.0), abs=1e-15)
    assert pose_of([0, 0, 0, 0, 0, 0]).turn == (1.0, 0.0, 0.0, 0.0)
    half = math.sqrt(0.5)
    assert tool_of(Pose((1.0, 2.0, 3.0), (half, 0.0, 0.0, -half))) == pytest.approx(
        [1, 2, 3, 0, 0, -math.pi / 2]
    )


@given(ROTVEC)
def test_conversions_agree_with_scipy_both_ways(rotvec: tuple[float, float, float]) -> None:
    pose = pose_of([0.0, 0.0, 0.0, *rotvec])
    x, y, z, w = Rotation.from_rotvec(rotvec).as_quat()
    assert angle_between(pose.turn, (w, x, y, z)) < 1e-7
    back = Rotation.from_rotvec(tool_of(pose)[3:])
    assert (back * Rotation.from_rotvec(rotvec).inv()).magnitude() < 1e-7
    assert length(tuple(tool_of(pose)[3:])) <= math.pi + 1e-9


@pytest.mark.parametrize(
    "wrong",
    [
        {"lookahead_s": 0.3},
        {"gain": 50.0},
        {"period_s": 0.0},
        {"home_pos_m": [0.4, 0.0]},
        {"stop_m_s2": math.nan},
        {"watchdog_s": 0.0},
        {"watchdog_s": 0.05},
        {"period_s": 0.5},
    ],
)
def test_settings_that_the_robot_refuses_are_named(wrong: dict) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        build({**CFG.arm, **wrong})


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that are busy with other things are no fault."""
    for name in ("_SILENT_S", "_RECOVER_S", "_DASHBOARD_S", "_TOLD_S"):
        monkeypatch.setattr(ur, name, PATIENCE_S)


@pytest.fixture
def peer() -> Iterator[UrPeer]:
    with ur_peer() as peer:
        yield peer


@pytest.fixture
def arm(peer: UrPeer) -> Iterator[UrArm]:
    arm = made(peer)
    arm.connect()
    arm.enable()
    yield arm
    arm.close()


def made(peer: UrPeer, **settings: object) -> UrArm:
    cfg = config_of("ur")
    cfg.arm.host, cfg.arm.watchdog_s = peer.host, PATIENCE_S
    cfg.arm.update(settings)
    return build(cfg.arm)


class World:
    """The real controller with the arm, ticked until something holds."""

    def __init__(self, peer: UrPeer, arm: RobotArm) -> None:
        self.peer, self.arm = peer, arm
        watch = replace(build(CFG.watch), stale_s=1.0, lag_m=0.5)
        self.controller = Controller(arm, build(CFG.limits), DT_S, 0.1, Timeline(execute=8), watch)

    def tick(self, *asks: Ask, command: TeleopCommand | None = None) -> Tick:
        time.sleep(DT_S)
        return self.controller.tick(time.monotonic(), Arrived(asks=asks, command=command))

    def until(self, mode: Mode, *asks: Ask, up: float = 0.0) -> Tick:
        """Ask the same, or drive up by hand, until the controller is in a mode."""
        deadline_s = time.monotonic() + PATIENCE_S
        lead = TeleopCommand(np.array([0.0, 0.0, up, 0.0, 0.0, 0.0]), 0.0, True) if up else None
        while (tick := self.tick(*asks, command=lead)).mode is not mode:
            assert time.monotonic() < deadline_s, f"{tick.mode}: {tick.reason}"
        return tick

    def moving(self) -> World:
        """Arm, and let a person drive it up by more than a centimetre."""
        self.until(Mode.READY, Ask.ARM)
        before_m = self.peer.tell()["pose"][2]
        self.until(Mode.HUMAN, up=0.05)
        deadline_s = time.monotonic() + PATIENCE_S
        while self.peer.tell()["pose"][2] < before_m + 0.01:
            self.until(Mode.HUMAN, up=0.05)
            assert time.monotonic() < deadline_s
        return self


@pytest.fixture
def world(peer: UrPeer, arm: UrArm) -> World:
    return World(peer, arm)


def test_what_the_robot_says_arrives_as_it_says_it(peer: UrPeer, arm: UrArm) -> None:
    state = arm.state()
    assert state.pose.position_m == (0.4, 0.0, 0.25)
    place_m = tool(np.array(state.joints_rad))[:3, 3]
    assert place_m == pytest.approx(state.pose.position_m, abs=1e-5)
    peer.tell(force=[1.0, -2.0, 3.0, 9.0, 9.0, 9.0])
    until(lambda: arm.state().force_n == (1.0, -2.0, 3.0))
    later = arm.state()
    assert later.stamp > state.stamp and later.received_s > state.received_s


def test_gains_and_the_newest_set_point_reach_the_robot(peer: UrPeer, arm: UrArm) -> None:
    pose = arm.state().pose
    for step in range(1, 11):
        arm.command(ArmTarget(pose._replace(position_m=(0.4, 0.001 * step, 0.25)), -1.0))
    until(lambda: peer.tell()["pose"][1] > 0.0099)
    assert peer.tell()["servo"] == [DT_S, CFG.arm.lookahead_s, CFG.arm.gain]
    arm.stop()
    until(lambda: peer.tell()["servo_stops"] == 1)
    assert arm.state().fault == ""


def test_both_vectors_of_a_rotation_by_pi_are_the_same_way_down(peer: UrPeer, arm: UrArm) -> None:
    """The fake says (pi, 0, 0); a target of (-3.1, 0, 0) is 0.04 rad from it, not 6.2."""
    x, y, z, *_ = peer.tell()["pose"]
    arm.command(ArmTarget(pose_of([x, y, z, -3.1, 0.0, 0.0]), -1.0))
    until(lambda: peer.tell()["set_points"] > 0)
    until(lambda: angle_between(arm.state().pose.turn, pose_of([0, 0, 0, -3.1, 0, 0]).turn) < 0.002)
    assert peer.tell()["pose"][3] == pytest.approx(2 * math.pi - 3.1, abs=0.003)


def test_no_set_point_that_is_none_is_sent(peer: UrPeer, arm: UrArm) -> None:
    with pytest.raises(ArmError, match="not finite"):
        arm.command(ArmTarget(Pose((math.nan, 0.0, 0.2), arm.home.turn), -1.0))
    assert peer.tell()["set_points"] == 0


def test_a_protective_stop_is_a_fault_until_somebody_acknowledges_it(world: World) -> None:
    world.moving()
    world.peer.tell(safety=PROTECTIVE_STOP, unlocks=False)
    tick = world.until(Mode.FAULT)
    assert "protective stop" in tick.reason
    until(lambda: world.peer.tell()["runtime"] == STOPPED)  # nothing is left that could go on by itself
    sent = world.peer.tell()["set_points"]
    for _ in range(50):
        assert world.tick().mode is Mode.FAULT
    facts = world.peer.tell()
    assert (facts["set_points"], facts["uploads"], facts["safety"]) == (sent, 1, PROTECTIVE_STOP)
    tick = world.tick(Ask.ACKNOWLEDGE)
    assert tick.mode is Mode.FAULT and "until 5s after" in tick.reason
    world.peer.tell(unlocks=True)
    before = world.peer.tell()["pose"]
    assert world.tick(Ask.ACKNOWLEDGE).mode is Mode.READY
    for _ in range(50):
        assert world.tick().mode is Mode.READY
    facts = world.peer.tell()
    assert facts["uploads"] == 2 and facts["safety"] == NORMAL
    assert math.dist(facts["pose"][:3], before[:3]) < 1e-3  # it starts from where it is


def test_a_new_script_does_not_go_on_to_an_old_set_point(peer: UrPeer, arm: UrArm) -> None:
    pose = arm.state().pose
    peer.tell(stuck=True)
    arm.command(ArmTarget(pose._replace(position_m=(0.4, 0.05, 0.25)), -1.0))
    until(lambda: peer.tell()["set_points"] > 0)
    peer.tell(safety=PROTECTIVE_STOP, stuck=False)
    until(lambda: arm.state().fault == "protective stop")
    arm.recover()
    assert arm.state().fault == ""
    time.sleep(0.2)
    assert peer.tell()["pose"][1] == 0.0


def test_why_set_points_are_refused_is_what_the_robot_says_a_moment_later(peer: UrPeer, arm: UrArm) -> None:
    arm._servo.refused = True
    peer.tell(safety=EMERGENCY_STOP)
    with pytest.raises(ArmError, match="emergency stop"):
        arm.command(ArmTarget(arm.home, -1.0))


def test_an_emergency_stop_is_seen_to_at_the_pendant(world: World) -> None:
    world.moving()
    world.peer.tell(safety=EMERGENCY_STOP)
    assert "emergency stop" in world.until(Mode.FAULT).reason
    tick = world.tick(Ask.ACKNOWLEDGE)
    assert tick.mode is Mode.FAULT and "at the pendant" in tick.reason
    world.peer.tell(safety=NORMAL)
    until(lambda: world.arm.state().fault == "robot mode power off")
    assert "robot mode power off" in world.tick(Ask.ACKNOWLEDGE).reason
    world.peer.tell(mode=POWERED)
    until(lambda: world.arm.state().fault == "its control script does not run")
    assert world.tick(Ask.ACKNOWLEDGE).mode is Mode.READY


@pytest.mark.parametrize("runtime", [STOPPED, PAUSED])
def test_a_program_that_a_person_stops_at_the_pendant_is_a_fault(world: World, runtime: int) -> None:
    world.moving()
    world.peer.tell(runtime=runtime)
    assert "its control script" in world.until(Mode.FAULT).reason
    assert world.tick(Ask.ACKNOWLEDGE).mode is Mode.READY
    assert world.until(Mode.HUMAN, up=0.05).sent is not None


def test_a_robot_that_takes_no_script_stays_at_fault(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ur, "_RECOVER_S", 0.5)
    world.moving()
    world.peer.tell(runtime=STOPPED, remote=False)
    world.until(Mode.FAULT)
    tick = world.tick(Ask.ACKNOWLEDGE)
    assert tick.mode is Mode.FAULT and tick.reason


def test_a_stale_stream_is_a_fault_and_then_a_lost_link(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ur_rtde says that it is connected all the while."""
    world.moving()
    monkeypatch.setattr(ur, "_SILENT_S", 1.5)
    world.peer.tell(frozen=True)
    assert "nothing new" in world.until(Mode.FAULT).reason
    assert "said nothing for 1.5 s" in world.until(Mode.DISARMED).reason
    until(lambda: world.peer.tell()["runtime"] == STOPPED)  # by way of the dashboard server
    with pytest.raises(LinkLostError):
        world.arm.state()
    world.peer.tell(frozen=False)
    assert world.tick(Ask.ARM).mode is Mode.DISARMED  # the link stays lost
    world.arm.connect()
    assert world.tick().mode is Mode.DISARMED
    assert world.tick(Ask.ARM).mode is Mode.READY


def test_a_short_silence_is_acknowledged(world: World) -> None:
    world.moving()
    world.peer.tell(frozen=True)
    world.until(Mode.FAULT)
    world.peer.tell(frozen=False)
    before = world.arm.state()
    until(lambda: world.arm.state().stamp > before.stamp)
    assert world.tick(Ask.ACKNOWLEDGE).mode is Mode.READY


def test_a_robot_that_dies_is_connected_anew_into_disarmed(world: World) -> None:
    world.moving()
    world.peer.kill()
    assert world.until(Mode.DISARMED).reason
    world.arm.stop()
    with pytest.raises(LinkLostError):
        world.arm.command(ArmTarget(world.arm.home, -1.0))
    with pytest.raises(UserError, match=world.peer.host):
        world.arm.connect()
    world.peer.start_again()
    world.arm.connect()
    assert world.tick().mode is Mode.DISARMED and world.tick(Ask.RUN).mode is Mode.DISARMED
    assert world.peer.tell()["uploads"] == 0  # not before somebody arms it
    assert world.tick(Ask.ARM).mode is Mode.READY
    assert world.until(Mode.HUMAN, up=0.05).sent is not None


def test_a_connection_that_the_robot_closes_is_not_mended_by_itself(world: World) -> None:
    """ur_rtde would connect anew and send its script by itself."""
    world.moving()
    world.peer.tell(drops=True)
    world.until(Mode.DISARMED)
    assert not world.arm._servo.alive
    until(lambda: world.peer.tell()["clients"] == 0)
    uploads = world.peer.tell()["uploads"]
    time.sleep(0.5)
    assert world.peer.tell()["uploads"] == uploads and world.tick(Ask.ARM).mode is Mode.DISARMED


def test_a_stalled_robot_stops_no_controller(world: World) -> None:
    world.moving()
    world.peer.pause()
    ticks = 0
    while world.controller.mode is not Mode.DISARMED:
        world.tick()
        ticks += 1
    assert ticks > 20  # of about 300 in the 2.5 s after which ur_rtde gives up


def test_set_points_go_on_though_the_robot_takes_none(peer: UrPeer, arm: UrArm) -> None:
    peer.tell(frozen=True)
    arm.stop()  # ur_rtde waits for its end, here in vain
    for _ in range(20):
        assert arm.command(ArmTarget(arm.home, -1.0)).pose == arm.home


def test_a_process_that_hangs_is_a_lost_link(arm: UrArm) -> None:
    """Its pipe takes some hundred set-points; who waited for it to take more would hang too."""
    os.kill(arm._servo._process.pid, signal.SIGSTOP)
    with pytest.raises(LinkLostError, match="gone or stuck"):
        deque((arm.command(ArmTarget(arm.home, -1.0)) for _ in range(100_000)), maxlen=0)


def test_nobody_there_and_a_robot_at_fault_are_the_users_to_mend(peer: UrPeer) -> None:
    arm = made(peer)
    peer.tell(safety=EMERGENCY_STOP)
    with pytest.raises(UserError, match="emergency stop"):
        arm.connect()
    peer.tell(safety=NORMAL, mode=POWERED)
    peer.kill()
    with pytest.raises(UserError, match=f"host={peer.host}"):
        arm.connect()
    arm.close()
    arm.close()


def test_what_the_pendant_runs_goes_on_until_somebody_arms(peer: UrPeer) -> None:
    """As in a dry run, in the doctor, and before the first episode."""
    peer.tell(runtime=PLAYING)
    arm = made(peer)
    for _ in range(2):
        arm.connect()
        with pytest.raises(ArmError, match="not enabled"):
            arm.command(ArmTarget(arm.home, -1.0))
        arm.stop()
        assert arm.state().fault == ""
    dry = World(peer, DryArm(arm))
    assert dry.tick(Ask.ARM).mode is Mode.READY
    dry.until(Mode.HUMAN, up=0.05)
    arm.close()
    facts = peer.tell()
    untouched = PLAYING, 0, 0, 0
    assert (facts["runtime"], facts["uploads"], facts["servo_stops"], facts["dashboard_stops"]) == untouched


def test_a_robot_under_local_control_is_read_and_not_armed(peer: UrPeer) -> None:
    peer.tell(remote=False)
    arm = made(peer)
    arm.connect()
    world = World(peer, arm)
    tick = world.tick(Ask.ARM)
    assert tick.mode is Mode.DISARMED and "remote control" in tick.reason
    assert peer.tell()["uploads"] == 0 and arm.state().fault == ""
    peer.tell(remote=True)
    assert world.tick(Ask.ARM).mode is Mode.READY
    arm.close()


def test_arming_anew_sends_the_script_that_a_person_ended(world: World) -> None:
    world.until(Mode.READY, Ask.ARM)
    world.tick(Ask.DISARM)
    world.peer.tell(runtime=STOPPED)
    until(lambda: "does not run" in world.tick().state.fault)
    assert world.tick(Ask.ARM).mode is Mode.READY
    assert world.peer.tell()["uploads"] == 2


def test_a_program_that_takes_no_set_points_gives_way_when_somebody_acknowledges(
    peer: UrPeer, arm: UrArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody played another one at the pendant: it runs, and is not ours."""
    monkeypatch.setattr(ur, "_TOLD_S", 0.0)
    arm._servo.refused = True
    with pytest.raises(ArmError, match="takes no set-points"):
        arm.command(ArmTarget(arm.home, -1.0))
    arm.recover()
    assert peer.tell()["uploads"] == 2
    assert arm.command(ArmTarget(arm.home, -1.0)).pose == arm.home


def test_closing_ends_the_script(peer: UrPeer, arm: UrArm) -> None:
    arm.close()
    facts = peer.tell()
    assert facts["runtime"] == STOPPED
    until(lambda: peer.tell()["clients"] == 0)
    with pytest.raises(LinkLostError):
        arm.state()


def test_a_controller_that_dies_leaves_no_script_behind(peer: UrPeer, arm: UrArm) -> None:
    """Its end of the pipe closes, as it does when the process is killed."""
    process = arm._servo._process
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), process.stdin.fileno())
    assert process.wait(PATIENCE_S) == 0
    assert peer.tell()["runtime"] == STOPPED


def test_mail_keeps_words_in_order_and_of_set_points_the_newest() -> None:
    mail = Mail()
    for message in ([1.0], "stop", [2.0], [3.0]):
        mail.put(message)
    assert mail.take() == (["stop"], [3.0])
    mail.put([4.0])
    mail.put("stop")
    assert mail.take() == (["stop"], None)  # a stop makes void what came before


def test_a_missing_package_is_named(peer: UrPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rtde_receive", None)
    with pytest.raises(UserError, match=r"pip install 'robofb\[deploy\]'"):
        made(peer).connect()


def test_the_tool_goes_home(world: World) -> None:
    world.moving()
    world.until(Mode.HOLD)
    world.tick(Ask.HOME)
    world.until(Mode.READY)
    home = world.arm.home
    until(lambda: length(difference(world.tick().state.pose.position_m, home.position_m)) < 1e-3)
    assert (world.controller.mode, world.controller.is_home) == (Mode.READY, True)
    assert angle_between(world.tick().state.pose.turn, home.turn) < 0.01
