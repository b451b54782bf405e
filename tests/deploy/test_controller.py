"""Every fault that a policy, an arm or a person can make, and what the controller does about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from arm_makers import config_of
from jointed_arm import JointedArm
from motion_bounds import assert_within

from robofb.build import build
from robofb.deploy.arms.arm import RobotArm
from robofb.deploy.arms.ideal import HOME, IdealArm
from robofb.deploy.controller import Controller
from robofb.deploy.limits import Limits
from robofb.deploy.modes import Ask, Mode
from robofb.deploy.pose import Pose, angle_between, difference, length, product, turn_of
from robofb.deploy.tick import Arrived, Chunk, Tick
from robofb.deploy.timeline import OLD_EPOCH, Timeline
from robofb.types import TeleopCommand

DT_S, ACTION_DT_S = 0.01, 0.1
LIMITS = Limits()


def chunk_to(place: tuple[float, float, float], actions: int = 8, gripper: float = -1.0) -> np.ndarray:
    """Return a chunk that goes 2 cm an action towards a place, pointing down."""
    here, rows = np.array(HOME.position_m), []
    for _ in range(actions):
        way = np.array(place) - here
        here = here + way * min(1.0, 0.02 / max(np.linalg.norm(way), 1e-9))
        rows.append([*here, 1, 0, 0, 0, -1, 0, gripper])
    return np.array(rows)


class World:
    """A controller with an ideal arm, and a clock of its own."""

    def __init__(self) -> None:
        self.arm = IdealArm()
        self.controller = Controller(self.arm, LIMITS, DT_S, ACTION_DT_S, Timeline(execute=8))
        self.now_s = 100.0

    def tick(self, *asks: Ask, **arrived) -> Tick:
        self.now_s += DT_S
        return self.controller.tick(self.now_s, Arrived(asks=asks, **arrived))

    def ticks(self, seconds: float, **arrived) -> Tick:
        for _ in range(round(seconds / DT_S)):
            tick = self.tick(**arrived)
        return tick

    def running(self, place: tuple[float, float, float] = (0.55, 0.1, 0.25)) -> World:
        """Arm, run, send a plan, and be on the way."""
        self.tick(Ask.ARM)
        self.tick(Ask.RUN)
        self.send(chunk_to(place))
        self.ticks(0.3)
        assert self.controller.mode is Mode.POLICY and self.travelled > 0.005
        return self

    def send(self, actions: object, epoch: int | None = None) -> Tick:
        epoch = self.controller.timeline.epoch if epoch is None else epoch
        return self.tick(chunks=[Chunk(epoch, self.now_s, actions)])

    @property
    def travelled(self) -> float:
        return length(difference(self.arm.pose.position_m, HOME.position_m))

    def assert_sound(self) -> None:
        """Nothing that the arm was sent left the limits."""
        assert_within([HOME, *(target.pose for target in self.arm.commands)], LIMITS, DT_S)


def twist(*values: float, engaged: bool = True, gripper: float = 0.0) -> TeleopCommand:
    return TeleopCommand(np.array([*values, *[0.0] * (6 - len(values))]), gripper, engaged)


def test_the_ideal_arm_is_an_arm() -> None:
    assert isinstance(IdealArm(), RobotArm)


def test_nothing_is_commanded_before_it_is_armed() -> None:
    world = World()
    assert world.ticks(0.2).sent is None and not world.arm.commands
    world.tick(Ask.RUN)
    assert world.controller.mode is Mode.DISARMED and world.controller.counts["asked in vain"] == 1
    tick = world.tick(Ask.ARM)
    assert tick.mode is Mode.READY and tick.sent is not None and tick.sent.pose == HOME


def test_a_plan_is_followed_to_its_end() -> None:
    world = World()
    world.tick(Ask.ARM)
    world.tick(Ask.RUN)
    world.send(chunk_to((0.55, 0.1, 0.25), gripper=1.0))
    tick = world.ticks(1.1)
    assert tick.mode is Mode.POLICY
    assert tick.sent is not None and tick.sent.gripper == 1.0
    np.testing.assert_allclose(world.arm.pose.position_m, (0.55, 0.1, 0.25), atol=2e-3)
    world.assert_sound()


def test_who_plans_no_more_is_braked_and_held() -> None:
    world = World().running()
    world.ticks(0.8 + 0.5 + 0.1)
    assert world.controller.mode is Mode.HOLD and world.controller.modes.reason == "no plan came in time"
    still = world.arm.pose
    world.ticks(0.5)
    assert world.arm.pose == still
    world.assert_sound()


def test_no_first_plan_is_a_hold_too() -> None:
    world = World()
    world.tick(Ask.ARM)
    world.tick(Ask.RUN)
    assert world.ticks(4.9).mode is Mode.POLICY
    assert world.ticks(0.3).mode is Mode.HOLD


def test_plans_of_an_old_epoch_are_void() -> None:
    world = World().running()
    old = world.controller.timeline.epoch
    world.tick(Ask.HOLD)
    world.tick(Ask.RUN)
    world.send(chunk_to((0.4, -0.1, 0.3)), epoch=old)
    assert world.controller.counts[f"refused: {OLD_EPOCH}"] == 1
    assert not world.controller.timeline.follows
    for _ in range(5):
        world.send(np.full((8, 10), np.nan), epoch=old)
    assert world.controller.mode is Mode.POLICY  # whoever is of the past is not even judged


@pytest.mark.parametrize(
    "bad",
    [
        np.full((8, 10), np.nan),
        np.zeros((8, 10)),  # 6D rotations that are none
        np.zeros((8, 9)),
        "a chunk",
        chunk_to((0.55, 0.1, 0.25)) * 1e9,
    ],
)
def test_three_bad_chunks_in_a_row_stop_the_arm(bad: object) -> None:
    world = World().running()
    world.send(bad)
    world.send(chunk_to((0.55, 0.1, 0.25)))  # a sound one between forgives
    for _ in range(2):
        world.send(bad)
        assert world.controller.mode is Mode.POLICY
    world.send(bad)
    assert world.controller.mode is Mode.STOPPING and "3 chunks in a row" in world.controller.modes.reason
    assert world.ticks(1.0).mode is Mode.FAULT
    assert world.arm.stops == 1
    sent = len(world.arm.commands)
    world.ticks(0.2)
    assert len(world.arm.commands) == sent  # at fault nothing is commanded
    world.assert_sound()


def test_a_jump_of_30_cm_and_a_way_out_of_the_box_are_gone_slowly() -> None:
    world = World().running()
    far = chunk_to((0.55, 0.1, 0.25))
    far[:, :3] = (0.48, 0.28, 0.5)  # 30 cm away at once, then at the edge
    world.send(far)
    world.ticks(0.5)
    out = far.copy()
    out[:, 2] = 0.7
    world.send(out)
    world.ticks(1.0)
    assert world.controller.counts["clamped: box"] == 1 and world.controller.counts["clamped: speed"] >= 1
    world.assert_sound()


FAULTS: dict[str, Callable[[IdealArm], None]] = {
    "a reflex": lambda arm: setattr(arm, "fault", "a reflex"),
    "said nothing new": lambda arm: setattr(arm, "frozen", True),
    "from its set-point": lambda arm: setattr(arm, "pose", Pose((0.6, -0.1, 0.3), HOME.turn)),
    "state is not finite": lambda arm: setattr(arm, "pose", Pose((math.nan, 0.0, 0.2), HOME.turn)),
    "feels 60 N": lambda arm: setattr(arm, "force_n", (0.0, 36.0, 48.0)),
    "rad from": lambda arm: setattr(arm, "pose", Pose(arm.pose.position_m, (0.0, 0.8, 0.6, 0.0))),
}


@pytest.mark.parametrize("what", list(FAULTS))
def test_what_is_wrong_with_the_arm_is_a_fault_until_somebody_acknowledges_it(what: str) -> None:
    world = World().running()
    world.arm.stuck = what.endswith(("set-point", "rad from"))
    FAULTS[what](world.arm)
    world.ticks(0.15)
    assert world.controller.mode is Mode.FAULT and what in world.controller.modes.reason
    assert world.arm.stops == 1
    sent = len(world.arm.commands)
    world.ticks(1.0)
    assert len(world.arm.commands) == sent and world.controller.mode is Mode.FAULT  # never cleared by itself
    world.arm.frozen = world.arm.stuck = False
    if what == "state is not finite":
        assert world.tick(Ask.ACKNOWLEDGE).mode is Mode.FAULT  # nobody knows where it is
        world.arm.pose = HOME
    world.arm.force_n = None
    world.tick()
    before = world.arm.pose
    assert world.tick(Ask.ACKNOWLEDGE).mode is Mode.READY
    assert world.arm.commands[-1].pose == before  # from where it is, not from where it was sent
    assert world.ticks(0.2).mode is Mode.READY


def test_a_home_outside_the_limits_ends_in_a_hold() -> None:
    world = World()
    world.arm.home = HOME._replace(position_m=(0.48, 0.0, LIMITS.high_m[2] + 0.02))
    world.tick(Ask.ARM)
    world.tick(Ask.HOME)
    tick = world.ticks(6.0)
    assert tick.mode is Mode.HOLD and tick.reason == "home cannot be reached: it is outside"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"pose": Pose(HOME.position_m, (math.nan, 1.0, 0.0, 0.0))}, "the arm's orientation is none"),
        ({"pose": Pose(HOME.position_m, (0.0, 0.0, 0.0, 0.0))}, "the arm's orientation is none"),
        ({"joints_rad": (math.inf,) * 6}, "the arm's state is not finite"),
        ({"stamp": math.nan}, "the arm's state is not finite"),
        ({"force_n": (0.0, 0.0, 500.0)}, "the tool feels 500 N"),
    ],
)
def test_an_arm_that_says_nonsense_is_neither_armed_nor_driven(
    wrong: dict[str, object], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    armed, unarmed = World().running(), World()
    said = IdealArm.state
    monkeypatch.setattr(IdealArm, "state", lambda arm: replace(said(arm), **wrong))
    tick = armed.tick()
    assert tick.mode is Mode.FAULT and tick.reason == says
    tick = unarmed.tick(Ask.ARM)
    assert tick.mode is Mode.DISARMED and tick.reason == says and not unarmed.arm.commands


@pytest.mark.parametrize("observed_s", [math.nan, math.inf, -math.inf, 1e9, 0.0])
def test_a_plan_of_another_time_is_refused(observed_s: float) -> None:
    world = World().running()
    before = world.controller.counts["refused: of another time"]
    world.tick(chunks=[Chunk(world.controller.timeline.epoch, observed_s, chunk_to((0.55, 0.1, 0.25)))])
    assert world.controller.counts["refused: of another time"] == before + 1
    assert world.controller.mode is Mode.POLICY


def test_a_limiter_that_finds_no_brake_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World().running()

    def step(target: Pose | None) -> Pose:
        raise RuntimeError("no brake was found")

    monkeypatch.setattr(world.controller._limiter, "step", step)
    tick = world.tick()
    assert (tick.mode, tick.reason, tick.sent) == (Mode.FAULT, "no brake was found", None)
    assert world.arm.stops == 1


def test_an_error_that_stays_is_not_acknowledged_away() -> None:
    world = World().running()
    world.arm.fault, world.arm.heals = "a reflex", False
    world.ticks(0.05)
    assert world.tick(Ask.ACKNOWLEDGE).mode is Mode.FAULT
    assert world.controller.modes.reason == "a reflex stays"


def test_a_lost_link_disarms() -> None:
    world = World().running()
    world.arm.lost = True
    assert world.tick().mode is Mode.DISARMED
    assert world.tick(Ask.ARM).mode is Mode.DISARMED
    world.arm.connect()
    assert world.ticks(0.2).mode is Mode.DISARMED  # not by itself
    assert world.tick(Ask.ARM).mode is Mode.READY


def test_an_arm_outside_its_box_is_not_armed() -> None:
    world = World()
    world.arm.pose = Pose((0.9, 0.0, 0.2), HOME.turn)
    tick = world.tick(Ask.ARM)
    assert tick.mode is Mode.DISARMED and "bring it inside by hand" in tick.reason


def jointed(arm: IdealArm) -> World:
    """Return a world whose joints have limits."""
    world, joints = World(), build(config_of("ur").limits.joints)
    world.arm = arm
    world.controller = Controller(arm, replace(LIMITS, joints=joints), DT_S, ACTION_DT_S, Timeline(execute=8))
    return world


def test_joints_that_are_not_those_of_the_config_are_a_fault() -> None:
    arm = JointedArm()
    world = jointed(arm).running()
    arm.astray_m = 0.02
    tick = world.tick()
    assert tick.mode is Mode.FAULT and "tool and joints disagree by 20 mm and" in tick.reason
    assert arm.stops == 1


def test_a_home_beyond_a_joints_limit_ends_in_a_hold_that_says_so() -> None:
    arm = JointedArm(home=Pose(HOME.position_m, product(turn_of((0.0, 0.0, 2.0)), HOME.turn)))
    wrist = arm.state().joints_rad[5] - 1.0
    world = jointed(arm)
    limits = world.controller.limits
    assert limits.joints is not None
    bounded = replace(limits.joints, low_rad=(*limits.joints.low_rad[:5], wrist))
    limits = replace(limits, joints=bounded)
    world.controller = Controller(arm, limits, DT_S, ACTION_DT_S, Timeline(execute=8))
    world.tick(Ask.ARM)
    world.tick(Ask.HOME)
    tick = world.ticks(2.5)
    assert tick.mode is Mode.HOMING and tick.reason == "braked before joint_pos_5"
    tick = world.ticks(1.5)
    assert tick.mode is Mode.HOLD
    assert tick.reason == "home cannot be reached: braked before joint_pos_5"


def test_an_arm_that_does_not_say_its_joints_is_not_armed_where_they_have_limits() -> None:
    tick = jointed(IdealArm()).tick(Ask.ARM)
    assert tick.mode is Mode.DISARMED and tick.reason == "the arm says 0 joints, limits.joints has 6"


def test_a_frozen_camera_holds() -> None:
    world = World().running()
    assert world.ticks(0.1, frames_age_s=0.15).mode is Mode.POLICY
    tick = world.ticks(0.1, frames_age_s=0.25)
    assert tick.mode is Mode.HOLD and "a camera shows nothing new" in tick.reason
    world.assert_sound()


def test_an_arm_without_a_supervisor_stops_where_it_is_and_stays() -> None:
    world = World().running()
    assert world.ticks(0.1, alone_s=0.9).mode is Mode.POLICY
    assert world.ticks(DT_S, alone_s=1.1).mode is Mode.STOPPING
    tick = world.ticks(2.0, alone_s=3.0)
    assert (tick.mode, tick.reason) == (Mode.FAULT, "the supervisor showed no life for 1.1 s")
    assert world.controller.counts["stop"] == 1
    assert world.tick(Ask.ACKNOWLEDGE).mode is Mode.READY
    world.assert_sound()


def test_a_person_takes_over_without_a_jump_and_lets_go_into_a_hold() -> None:
    world = World().running()
    before = world.arm.pose
    world.tick(command=twist(0.0))
    assert world.controller.mode is Mode.HUMAN
    world.ticks(1.0, command=twist(0.0, 0.0, 0.1, gripper=1.0))
    assert world.arm.pose.position_m[2] - before.position_m[2] == pytest.approx(0.1, abs=0.02)
    assert world.arm.gripper == 1.0
    epoch = world.controller.timeline.epoch
    assert world.tick(command=twist(0.0, engaged=False)).mode is Mode.HOLD
    assert world.controller.timeline.epoch == epoch + 1
    world.ticks(0.5)
    still = world.arm.pose
    assert world.ticks(0.3).mode is Mode.HOLD and world.arm.pose == still  # the policy must be told to go on
    world.assert_sound()


def test_what_a_tool_cannot_follow_is_not_worked_off_later() -> None:
    """It may go 0.25 m/s; after half a second of 1 m/s, 3 cm are ahead of it, not 40: it turns back."""
    world = World()
    world.tick(Ask.ARM)
    world.ticks(0.5, command=twist(0.0, 1.0))
    there = world.arm.pose.position_m[1]
    world.ticks(0.8, command=twist(0.0, -0.1))
    assert world.arm.pose.position_m[1] < there - 0.01
    world.assert_sound()


def test_what_a_tool_cannot_turn_after_is_not_worked_off_either() -> None:
    """It may turn 1 rad/s; after half a second of 5 rad/s about z it turns back soon, not 2 rad later."""
    world = World()
    world.tick(Ask.ARM)
    world.ticks(0.5, command=twist(0.0, 0.0, 0.0, 0.0, 0.0, 5.0))
    there = angle_between(world.arm.pose.turn, HOME.turn)
    world.ticks(1.5, command=twist(0.0, 0.0, 0.0, 0.0, 0.0, -0.5))
    assert angle_between(world.arm.pose.turn, HOME.turn) < there - 0.05
    world.assert_sound()


def test_who_takes_over_again_starts_from_where_the_tool_is_by_then() -> None:
    world = World()
    world.tick(Ask.ARM)
    world.ticks(0.5, command=twist(0.1))
    world.tick(command=twist(0.0, engaged=False))
    world.tick(Ask.HOME)
    assert world.ticks(2.0).mode is Mode.READY
    before = world.arm.pose
    world.ticks(0.5, command=twist(0.0))
    assert world.controller.mode is Mode.HUMAN
    assert length(difference(world.arm.pose.position_m, before.position_m)) < 1e-6


@pytest.mark.parametrize("command", [None, twist(math.nan, 0.0, 0.0)])
def test_a_silent_device_brakes_and_then_holds(command: TeleopCommand | None) -> None:
    world = World()
    world.tick(Ask.ARM)
    world.ticks(0.5, command=twist(0.1))
    assert world.tick(command=command).wanted is None  # it brakes at once
    assert world.ticks(0.18, command=command).mode is Mode.HUMAN
    assert world.ticks(0.05, command=command).mode is (Mode.HOLD if command is None else Mode.HUMAN)
    world.ticks(0.26, command=command)
    still = world.arm.pose
    world.ticks(0.3, command=command)
    assert world.arm.pose == still
    assert world.controller.mode is (Mode.HOLD if command is None else Mode.HUMAN)
    world.assert_sound()


def test_homing_ends_at_home() -> None:
    world = World()
    world.arm.pose = Pose((0.4, 0.1, 0.3), HOME.turn)
    world.tick(Ask.ARM)
    world.tick(Ask.HOME)
    assert world.ticks(0.2).mode is Mode.HOMING
    assert world.ticks(2.0).mode is Mode.READY
    np.testing.assert_allclose(world.arm.pose.position_m, HOME.position_m, atol=1e-4)


def test_who_is_late_goes_on_where_it_was() -> None:
    """A controller that slept for half a second moves on by one period, not by fifty."""
    world = World().running()
    before = world.arm.pose
    world.now_s += 0.5
    world.tick()
    assert world.controller.counts["overrun"] == 1
    step = length(difference(world.arm.pose.position_m, before.position_m))
    assert step <= LIMITS.max_speed_m_s * DT_S + 1e-9
    world.ticks(0.3)
    world.assert_sound()


def test_a_person_stops_it_at_any_time() -> None:
    world = World().running()
    assert world.tick(Ask.STOP).mode is Mode.STOPPING
    assert world.ticks(1.0).mode is Mode.FAULT
    assert world.tick(Ask.ACKNOWLEDGE).mode is Mode.READY
    world.assert_sound()
