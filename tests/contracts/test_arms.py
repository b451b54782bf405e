"""Hold every arm that has a config, and the ideal one, to what the controller relies on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from arm_makers import MAKERS, Made, config_of

from robofb.build import build
from robofb.deploy.arms.arm import ArmState, ArmTarget, RobotArm
from robofb.deploy.limits import Limits
from robofb.deploy.motion import MotionLimiter
from robofb.deploy.pose import angle_between, difference, length
from robofb.deploy.watch import Watch

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "arm"
NAMES = sorted(file.stem for file in CONFIGS.glob("*.yaml"))
STEP_M, WAY = 0.001, 24
PATIENCE_S = 30.0


@pytest.mark.parametrize("name", NAMES)
def test_config_sets_every_limit_and_every_watch(name: str) -> None:
    cfg = config_of(name)
    for part, kind in (("limits", Limits), ("watch", Watch)):
        assert isinstance(build(cfg[part]), kind)
        assert set(cfg[part]) == {"_target_", *(field.name for field in fields(kind))}


@pytest.fixture(params=sorted({*NAMES, "ideal"}))
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    with MAKERS[request.param]() as made:
        yield made
        made.arm.close()  # safe twice


def newer(made: Made, before: ArmState) -> ArmState:
    """Return its state a set-point later, by its own time: a stamp that stands still is a dead stream."""
    deadline = time.monotonic() + PATIENCE_S
    while (gone := (state := made.arm.state()).stamp - before.stamp) < made.dt_s or gone == 0:
        assert time.monotonic() < deadline, "the arm said nothing new"
    return state


def test_it_goes_where_it_is_sent_and_says_so(made: Made) -> None:
    arm = made.arm
    assert isinstance(arm, RobotArm)
    before = arm.state()
    assert before.fault == "" and len(before.joints_rad) in (0, 5, 6, 7)
    pose = before.pose
    x, y, z = pose.position_m
    for step in range(1, 85):
        target = ArmTarget(pose._replace(position_m=(x, y, z + min(step, WAY) * STEP_M)), -1.0)
        assert arm.command(target) == target
        time.sleep(made.dt_s)
        before = newer(made, before)
    assert length(difference(before.pose.position_m, target.pose.position_m)) < 0.003  # of 24 mm
    assert angle_between(before.pose.turn, pose.turn) < 0.05
    arm.stop()
    arm.stop()
    assert arm.state().fault == ""


def test_home_is_within_its_limits(made: Made) -> None:
    assert MotionLimiter(made.limits, 0.01, made.arm.home).at_rest
