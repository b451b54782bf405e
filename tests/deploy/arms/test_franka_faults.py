"""Every fault of a Franka, put in by franky-sim, and what arm and controller do about it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import numpy as np
import pytest
from arm_makers import config_of
from driven import Driven
from franka_arms import connected, until, until_state
from franka_peer import Peer, franky_sim

from robofb.build import build
from robofb.deploy.arms.arm import ArmError, ArmTarget, LinkLostError
from robofb.deploy.arms.franka import FrankaArm
from robofb.deploy.modes import Ask, Mode
from robofb.deploy.pose import difference, length
from robofb.errors import UserError

ERRORS = [  # as libfranka names and orders them
    "joint_position_limits_violation",
    "cartesian_position_limits_violation",
    "self_collision_avoidance_violation",
    "joint_velocity_violation",
    "cartesian_velocity_violation",
    "force_control_safety_violation",
    "joint_reflex",
    "cartesian_reflex",
    "max_goal_pose_deviation_violation",
    "max_path_pose_deviation_violation",
    "cartesian_velocity_profile_safety_violation",
    "joint_position_motion_generator_start_pose_invalid",
    "joint_motion_generator_position_limits_violation",
    "joint_motion_generator_velocity_limits_violation",
    "joint_motion_generator_velocity_discontinuity",
    "joint_motion_generator_acceleration_discontinuity",
    "cartesian_position_motion_generator_start_pose_invalid",
    "cartesian_motion_generator_elbow_limit_violation",
    "cartesian_motion_generator_velocity_limits_violation",
    "cartesian_motion_generator_velocity_discontinuity",
    "cartesian_motion_generator_acceleration_discontinuity",
    "cartesian_motion_generator_elbow_sign_inconsistent",
    "cartesian_motion_generator_start_elbow_invalid",
    "force_controller_desired_force_tolerance_violation",
    "start_elbow_sign_inconsistent",
    "communication_constraints_violation",
    "power_limit_violation",
    "cartesian_motion_generator_joint_position_limits_violation",
    "cartesian_motion_generator_joint_velocity_limits_violation",
    "cartesian_motion_generator_joint_velocity_discontinuity",
    "cartesian_motion_generator_joint_acceleration_discontinuity",
    "cartesian_position_motion_generator_invalid_frame_flag",
    "controller_torque_discontinuity",
    "joint_p2p_insufficient_torque_for_planning",
    "tau_J_range_violation",
    "instability_detected",
    "joint_move_in_wrong_direction",
    "cartesian_spline_motion_generator_violation",
    "joint_via_motion_generator_planning_joint_limit_violation",
    "base_acceleration_initialization_timeout",
    "base_acceleration_invalid_reading",
]


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with franky_sim() as peer:
        yield peer


@pytest.fixture
def arm(peer: Peer) -> Iterator[FrankaArm]:
    """An arm that is connected to a peer that is not at fault."""
    with connected(peer) as arm:
        yield arm
    peer.tell("fail")
    peer.tell("heals", "yes")


@pytest.fixture
def driven(arm: FrankaArm) -> Driven:
    cfg = config_of("franka")
    return Driven(arm, build(cfg.limits), build(cfg.watch))


@pytest.mark.parametrize("index", range(41))
def test_it_names_each_error(arm: FrankaArm, peer: Peer, index: int) -> None:
    peer.tell("fail", index)
    state = until_state(arm, lambda state: state.fault != "")
    assert state.fault == f"reflex: {ERRORS[index].replace('_', ' ')}"
    with pytest.raises(ArmError, match="reflex"):
        arm.command(ArmTarget(arm.home, -1.0))


@pytest.mark.parametrize(
    ("mode", "fault"),
    [
        ("kOther", "an unknown mode"),
        ("kGuiding", "guiding by hand"),
        ("kReflex", "reflex"),
        ("kUserStopped", "user stop"),
        ("kAutomaticErrorRecovery", "recovery from an error"),
    ],
)
def test_it_names_the_modes_without_errors(arm: FrankaArm, peer: Peer, mode: str, fault: str) -> None:
    peer.tell("mode", mode)
    assert until_state(arm, lambda state: state.fault != "").fault == fault
    peer.tell("mode")
    until_state(arm, lambda state: state.fault == "")


def test_a_reflex_stays_until_a_person_acknowledges_it(driven: Driven, peer: Peer) -> None:
    driven.going_home()
    peer.tell("fail", ERRORS.index("cartesian_reflex"), ERRORS.index("power_limit_violation"))
    driven.until(lambda tick: tick.mode is Mode.FAULT)
    assert "reflex: cartesian reflex, power limit violation" in driven.reason
    ticks = driven.ticks(50)
    assert all(tick.mode is Mode.FAULT and tick.sent is None for tick in ticks)
    assert all(tick.state is not None and tick.state.fault for tick in ticks)  # nobody cleared it
    peer.tell("heals", "no")
    assert driven.tick(Ask.ACKNOWLEDGE).mode is Mode.FAULT and "refused" in driven.reason
    peer.tell("heals", "yes")
    assert driven.tick(Ask.ACKNOWLEDGE).mode is Mode.READY
    driven.tick(Ask.HOME)
    driven.until(lambda tick: tick.mode is Mode.READY)
    home = driven.arm.home.position_m
    driven.until(lambda tick: length(difference(tick.state.pose.position_m, home)) < 0.005)


def test_an_error_that_stays_after_recovery_is_said(peer: Peer) -> None:
    with connected(peer, "recover_s=0.3") as arm:
        peer.tell("mode", "kOther")
        until_state(arm, lambda state: state.fault != "")
        with pytest.raises(ArmError, match="an unknown mode stays"):
            arm.recover()
        peer.tell("mode")


def test_a_user_stop_must_be_released_and_acknowledged(driven: Driven, peer: Peer) -> None:
    driven.going_home()
    peer.tell("mode", "kUserStopped")
    driven.until(lambda tick: tick.mode is Mode.FAULT)
    assert "user stop" in driven.reason
    assert driven.tick(Ask.ACKNOWLEDGE).mode is Mode.FAULT
    assert driven.reason == "user stop: end it at the arm first"
    peer.tell("mode")
    driven.until(lambda tick: tick.state is not None and "user stop" not in tick.state.fault)
    assert all(tick.mode is Mode.FAULT and tick.state.fault for tick in driven.ticks(10))
    with pytest.raises(ArmError):
        driven.arm.command(ArmTarget(driven.arm.home, -1.0))
    assert driven.tick(Ask.ACKNOWLEDGE).mode is Mode.READY, driven.reason
    assert all(tick.mode is Mode.READY for tick in driven.ticks(10))


def test_a_stream_that_stands_still_is_a_fault(driven: Driven, peer: Peer) -> None:
    driven.going_home()
    peer.signal(signal.SIGSTOP)
    try:
        driven.until(lambda tick: tick.mode is Mode.FAULT)
    finally:
        peer.signal(signal.SIGCONT)
    assert "said nothing new" in driven.reason
    ticks = driven.ticks(20)
    assert len({tick.state.stamp for tick in ticks}) > 1 and all(tick.mode is Mode.FAULT for tick in ticks)
    assert driven.tick(Ask.ACKNOWLEDGE).mode is Mode.READY, driven.reason


def test_a_lost_link_comes_back_disarmed(driven: Driven, peer: Peer) -> None:
    driven.going_home()
    peer.signal(signal.SIGKILL)
    driven.until(lambda tick: tick.mode is Mode.DISARMED)
    assert "is gone" in driven.reason and driven.tick(Ask.ARM).mode is Mode.DISARMED

    def lost() -> str:
        with pytest.raises(LinkLostError) as caught:
            driven.arm.state()
        return str(caught.value)

    until(lambda: "hand" not in lost())  # its own link may have been missed first
    assert lost() == lost()  # the link is not tried, and not waited for, again
    with pytest.raises(UserError, match=peer.host):
        driven.arm.connect()
    peer.close()
    peer.start()
    driven.arm.connect()
    ticks = driven.ticks(20)
    assert all(tick.mode is Mode.DISARMED and tick.sent is None and tick.state is not None for tick in ticks)
    assert driven.tick(Ask.ARM).mode is Mode.READY, driven.reason


def test_a_lost_hand_is_a_lost_link_and_the_arm_brakes(driven: Driven, peer: Peer) -> None:
    driven.going_home()
    peer.tell("hand_drops")
    driven.until(lambda tick: tick.mode is Mode.DISARMED)
    assert "the Franka hand at" in driven.reason and "is gone" in driven.reason
    driven.arm.connect()
    rest = driven.arm.state()
    assert rest.fault == "" and driven.mode is Mode.DISARMED
    until(lambda: np.ptp([driven.arm.state().pose.position_m for _ in range(20)], axis=0).max() < 1e-4)
