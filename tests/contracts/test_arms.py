"""Hold every arm that has a config, and the ideal one, to what the controller relies on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest

from robofb.build import build
from robofb.config import compose
from robofb.deploy.arms.arm import ArmTarget, RobotArm
from robofb.deploy.arms.ideal import IdealArm
from robofb.deploy.arms.sim import SimArm
from robofb.deploy.limits import Limits
from robofb.deploy.motion import MotionLimiter
from robofb.deploy.pose import angle_between, difference, length
from robofb.deploy.watch import Watch
from robofb.envs import make_task
from robofb.sim.vec_env import SimVecEnv

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "arm"
NAMES = sorted(file.stem for file in CONFIGS.glob("*.yaml"))
STEP_M, WAY = 0.001, 24


@pytest.mark.parametrize("name", NAMES)
def test_config_sets_every_limit_and_every_watch(name: str) -> None:
    cfg = compose("deploy", ["run=x", f"arm={name}"])
    for part, kind in (("limits", Limits), ("watch", Watch)):
        assert isinstance(build(cfg[part]), kind)
        assert set(cfg[part]) == {"_target_", *(field.name for field in fields(kind))}


@pytest.fixture(params=[*NAMES, "ideal"])
def arm(request: pytest.FixtureRequest) -> Iterator[RobotArm]:
    if request.param == "ideal":
        made: RobotArm = IdealArm()
    else:
        cfg = compose("deploy", ["run=x", f"arm={request.param}"])
        made = build(cfg.arm, SimVecEnv(make_task("one_leg_insert"), 1, autoreset=False))
    with closing(made):
        if isinstance(made, SimArm):
            made.begin(3)
        yield made
        made.close()  # safe twice


def test_it_goes_where_it_is_sent_and_says_so(arm: RobotArm) -> None:
    assert isinstance(arm, RobotArm)
    arm.connect()
    before = arm.state()
    assert before.fault == "" and len(before.joints_rad) in (0, 6, 7)
    pose = before.pose
    x, y, z = pose.position_m
    for step in range(1, 85):
        target = ArmTarget(pose._replace(position_m=(x, y, z + min(step, WAY) * STEP_M)), -1.0)
        assert arm.command(target) == target
        after = arm.state()
        assert after.stamp != before.stamp  # a stamp that stands still is a dead stream
        before = after
    assert length(difference(after.pose.position_m, target.pose.position_m)) < 0.003  # of 24 mm
    assert angle_between(after.pose.turn, pose.turn) < 0.05
    arm.stop()
    arm.stop()
    assert arm.state().fault == ""


def test_home_is_within_its_limits(arm: RobotArm) -> None:
    limits = build(compose("deploy", ["run=x"]).limits) if isinstance(arm, SimArm) else Limits()
    assert MotionLimiter(limits, 0.01, arm.home).at_rest
