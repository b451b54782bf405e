"""An arm that another process left moving is stopped, and what is said of it is what was seen."""

from __future__ import annotations

import math
import multiprocessing as mp
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from arm_makers import PEERS
from omegaconf import DictConfig
from so101_bench import emulated
from waiting import until

from robofb.build import build
from robofb.deploy.arms.arm import ArmError, ArmState, ArmTarget, RobotArm
from robofb.deploy.arms.ideal import IdealArm
from robofb.deploy.live.deployment import plain
from robofb.deploy.live.rescue import MOST_M, rescued
from robofb.deploy.pose import difference, length

STILL, MOVES = "the arm stands still", "the arm still moves: press its emergency stop"


@dataclass
class DriftingArm(IdealArm):
    """An ideal arm that goes sideways, or turns a joint, or says where it is in no numbers."""

    m_s: float = 0.0
    rad_s: float = 0.0
    where: float = 0.0
    refuses: bool = False

    def enable(self) -> None:
        if self.refuses:
            raise ArmError("somebody else's")

    def state(self) -> ArmState:
        state = super().state()
        x, y, z = state.pose.position_m
        pose = state.pose._replace(position_m=(x + self.m_s * state.received_s + self.where, y, z))
        return replace(state, pose=pose, joints_rad=(self.rad_s * state.received_s,))


@pytest.mark.parametrize(
    ("arm", "says"),
    [
        (DriftingArm(), STILL),
        (DriftingArm(m_s=0.05), MOVES),
        (DriftingArm(rad_s=0.2), MOVES),
        (DriftingArm(where=math.nan), MOVES),
        (DriftingArm(refuses=True), f"{STILL} (it could not be told to stop: somebody else's)"),
    ],
)
def test_only_what_is_seen_is_said(arm: DriftingArm, says: str) -> None:
    assert rescued(arm) == says
    assert arm.stops == (not arm.refuses)


def test_what_was_said_long_ago_is_no_sight() -> None:
    """Its newest state stays where it was, for nothing newer comes."""

    class Silent(IdealArm):
        def state(self) -> ArmState:
            return ArmState(1.0, 1.0, self.pose)

    assert rescued(Silent()) == "the arm says nothing new, and may move: press its emergency stop"


def drive(node: dict[str, Any], folder: Path) -> None:
    """Go up for ever, and say so once it moves; a process's main function."""
    arm: RobotArm = build(node)
    arm.connect()
    arm.enable()
    start = arm.state().pose
    x, y, z = start.position_m
    for step in range(1_000_000):
        arm.command(ArmTarget(start._replace(position_m=(x, y, z + min(1e-4 * step, 0.1))), -1.0))
        if arm.state().pose.position_m[2] > z + 2 * MOST_M:
            (folder / "moves").touch()
        time.sleep(0.01)


@contextmanager
def left_moving(cfg: DictConfig, folder: Path) -> Iterator[RobotArm]:
    """Yield an arm, just connected, whose process was killed while it drove."""
    driver = mp.get_context("spawn").Process(target=drive, args=(plain(cfg.arm), folder))
    driver.start()
    try:
        until((folder / "moves").exists)
        assert driver.pid is not None
        os.kill(driver.pid, signal.SIGKILL)
    finally:
        driver.kill()
        driver.join()
    with closing(build(cfg.arm)) as arm:
        arm.connect()
        yield arm


@pytest.mark.parametrize("name", sorted(PEERS))
def test_each_arm_stands_still_whose_process_was_killed(name: str, tmp_path: Path) -> None:
    with PEERS[name]() as (cfg, _), left_moving(cfg, tmp_path) as arm:
        assert rescued(arm) == STILL
        there = arm.state().pose.position_m
        time.sleep(0.5)
        assert length(difference(arm.state().pose.position_m, there)) < MOST_M


def test_servos_that_are_on_their_way_are_held_where_they_are() -> None:
    """They would come to their goals in 14 s. Who only looks, or closes, leaves them alone."""
    with emulated() as (peer, cfg):
        own = build(cfg.arm)
        own.connect()
        own.command(ArmTarget(own.state().pose, 1.0))  # all of them hold
        own.close()
        goals = {number: round(report["position"]) + 600 for number, report in peer.reports().items()}
        for number, goal in goals.items():
            peer.servo(number, slowness=15.0, goal=goal)
        with closing(build(cfg.arm)) as arm:
            arm.connect()
            arm.stop()
        assert {number: report["goal"] for number, report in peer.reports().items()} == goals
        with closing(build(cfg.arm)) as arm:
            arm.connect()
            assert rescued(arm) == STILL
            reports = peer.reports()
        for number in range(1, 6):
            assert abs(reports[number]["goal"] - reports[number]["position"]) < 2
            assert reports[number]["goal"] < goals[number] - 100 and reports[number]["torque"]
        assert reports[6]["goal"] == goals[6]  # the gripper may hold something
