"""A Franka against franka-sim, which has a real one's reflexes: our limits keep it from them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from arm_makers import config_of
from driven import Driven
from franka_arms import connected, until_state
from franka_limits_peer import INSTALLED, franka_sim

from robofb.build import build
from robofb.deploy.arms.arm import ArmError, ArmTarget
from robofb.deploy.arms.franka import FrankaArm
from robofb.deploy.modes import Ask, Mode
from robofb.deploy.pose import Pose, difference, length, moved

pytestmark = pytest.mark.skipif(not INSTALLED, reason="franka-sim is missing: make franka-sim")
DOWN_30_CM = (0.0, 0.0, -0.3)
HARD = "most_error_m=1.0"  # a spring that pulls the harder the further away its set-point is
TESTS = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (TESTS.parent, TESTS)))}
STREAM = """
import sys
import time
from franka_arms import arm_with
from robofb.deploy.arms.arm import ArmError, ArmTarget
arm = arm_with("host=" + sys.argv[1], "hand=null")
arm.connect()
pose = arm.state().pose
try:
    for tick in range(10000):
        arm.command(ArmTarget(pose, -1.0))
        if tick == 20:
            print("streams", flush=True)
        time.sleep(0.01)
except ArmError as error:
    print(error, flush=True)
arm.close()
"""


def lowered(arm: FrankaArm) -> Pose:
    return moved(arm.state().pose, DOWN_30_CM, (0.0, 0.0, 0.0))


def test_a_raw_jump_is_a_reflex_that_only_a_person_clears() -> None:
    with franka_sim() as peer, connected(peer, "hand=null", HARD) as arm:
        goal = lowered(arm)
        arm.command(ArmTarget(arm.state().pose, -1.0))
        arm.command(ArmTarget(goal, -1.0))
        reflex = until_state(arm, lambda state: state.fault != "").fault
        assert reflex.startswith("reflex: ")
        for _ in range(20):
            with pytest.raises(ArmError, match="reflex"):
                arm.command(ArmTarget(goal, -1.0))
            assert arm.state().fault == reflex
        arm.recover()
        assert arm.state().fault == ""
        rest = arm.state().pose
        arm.command(ArmTarget(rest, -1.0))
        assert length(difference(rest.position_m, goal.position_m)) > 0.25


def test_the_same_way_within_limits_is_none() -> None:
    cfg = config_of("franka")
    limits = replace(build(cfg.limits), low_m=(0.3, -0.3, 0.3), high_m=(0.7, 0.3, 1.0))
    with franka_sim(minds_loss=False) as peer, connected(peer, "hand=null", HARD) as arm:
        arm.home = lowered(arm)
        driven = Driven(arm, limits, build(cfg.watch))
        assert driven.tick(Ask.ARM).mode is Mode.READY, driven.reason
        assert driven.tick(Ask.HOME).mode is Mode.HOMING
        driven.until(lambda tick: tick.mode is not Mode.HOMING)
        assert driven.mode is Mode.READY, driven.reason
        driven.until(lambda tick: length(difference(tick.state.pose.position_m, arm.home.position_m)) < 0.005)
        assert not driven.controller.counts["fault"]


def test_an_arm_whose_computer_stands_still_stops_by_itself() -> None:
    """A controller that is stopped answers nothing, and the arm counts answers, not seconds."""
    with (
        franka_sim() as peer,
        subprocess.Popen(
            [sys.executable, "-c", STREAM, peer.host], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        ) as script,
    ):
        assert script.stdout is not None
        try:
            assert script.stdout.readline() == "streams\n"
            script.send_signal(signal.SIGSTOP)
            peer.expect("missed")
            script.send_signal(signal.SIGCONT)
            assert script.stdout.readline() == "reflex: communication constraints violation\n"
        finally:
            script.kill()
