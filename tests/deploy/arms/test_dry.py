"""An arm that is read and never commanded."""

from __future__ import annotations

import pytest

from robofb.deploy.arms.arm import ArmTarget, LinkLostError, RobotArm
from robofb.deploy.arms.dry import DryArm
from robofb.deploy.arms.ideal import HOME, IdealArm
from robofb.deploy.pose import Pose

THERE = Pose((0.5, 0.1, 0.3), HOME.turn)


def test_nothing_reaches_the_arm_and_it_pretends_to_be_there() -> None:
    arm = IdealArm(force_n=(1.0, 2.0, 3.0))
    dry = DryArm(arm)
    assert isinstance(dry, RobotArm) and dry.home == arm.home
    dry.connect()
    dry.enable()
    assert dry.state().pose == HOME
    assert dry.command(ArmTarget(THERE, 1.0)) == ArmTarget(THERE, 1.0)
    state = dry.state()
    assert (state.pose, state.gripper, state.force_n) == (THERE, 1.0, (1.0, 2.0, 3.0))
    dry.stop()
    assert arm.commands == [] and arm.stops == 0 and arm.pose == HOME
    dry.connect()
    assert dry.state().pose == HOME  # pretends anew from where the arm is


def test_what_is_wrong_with_the_arm_is_told_and_left_alone() -> None:
    arm = IdealArm(fault="a reflex")
    dry = DryArm(arm)
    assert dry.state().fault == "a reflex"
    dry.recover()
    assert arm.fault == "a reflex"
    arm.lost = True
    with pytest.raises(LinkLostError):
        dry.state()
