"""A UR whose controlling processes die or hang stops by itself; one that is spoken to does not."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from arm_makers import config_of
from ur_peer import UrPeer, ur_peer
from waiting import until

from robofb.build import build
from robofb.deploy.arms.arm import ArmTarget
from robofb.deploy.arms.ur import UrArm

WATCHDOG_S = 2.0
STOPPED, PLAYING = 1, 2


@pytest.fixture
def peer() -> Iterator[UrPeer]:
    with ur_peer() as peer:
        yield peer


def made(host: str) -> UrArm:
    cfg = config_of("ur")
    cfg.arm.host, cfg.arm.watchdog_s = host, WATCHDOG_S
    return build(cfg.arm)


def drive(host: str, folder: Path) -> None:
    """Send set-points upwards for ever; a process's main function."""
    arm = made(host)
    arm.connect()
    arm.enable()
    (folder / "pid").write_text(str(arm._servo._process.pid))
    pose, height_m = arm.state().pose, 0.25
    while True:
        height_m += 1e-5
        arm.command(ArmTarget(pose._replace(position_m=(0.4, 0.0, height_m)), -1.0))
        time.sleep(0.01)


@contextmanager
def driven(peer: UrPeer, folder: Path) -> Iterator[tuple[BaseProcess, int]]:
    """Let another process drive the robot; yield it and the number of the process that speaks for it."""
    driver = mp.get_context("spawn").Process(target=drive, args=(peer.host, folder))
    driver.start()
    try:
        until(lambda: peer.tell()["pose"][2] > 0.2502)
        yield driver, int((folder / "pid").read_text())
    finally:
        driver.kill()
        driver.join()


def test_the_robot_is_told_to_watch(peer: UrPeer) -> None:
    with closing(made(peer.host)) as arm:
        arm.connect()
        arm.enable()
        assert peer.tell()["watchdog_hz"] == 0.5


def test_a_robot_whose_both_processes_die_stops_by_itself(peer: UrPeer, tmp_path: Path) -> None:
    with driven(peer, tmp_path) as (driver, speaker):
        assert driver.pid is not None
        for each in (driver.pid, speaker):
            os.kill(each, signal.SIGSTOP)  # so that neither sees the other die
        for each in (driver.pid, speaker):
            os.kill(each, signal.SIGKILL)
        until(lambda: peer.tell()["runtime"] == STOPPED)
    facts = peer.tell()
    assert (facts["bites"], facts["servo_stops"], facts["dashboard_stops"]) == (1, 0, 0)


def test_a_robot_stops_whose_controller_hangs_while_it_moves(peer: UrPeer, tmp_path: Path) -> None:
    """The process that speaks to it lives, but gives no sign for another."""
    with driven(peer, tmp_path) as (driver, _):
        assert driver.pid is not None
        os.kill(driver.pid, signal.SIGSTOP)
        until(lambda: peer.tell()["runtime"] == STOPPED)
        assert peer.tell()["bites"] == 1


def test_a_robot_at_rest_needs_no_set_points(peer: UrPeer) -> None:
    """Neither before the first, nor after a stop; and it is watched again after a new script."""
    with closing(made(peer.host)) as arm:
        arm.connect()
        arm.enable()
        rest(peer)
        arm.command(ArmTarget(arm.home, -1.0))
        arm.stop()
        rest(peer)
        peer.tell(runtime=STOPPED)
        until(lambda: arm.state().fault)
        arm.recover()
        facts = peer.tell()
        assert (facts["uploads"], facts["watchdog_hz"], facts["runtime"]) == (2, 0.5, PLAYING)
        arm.command(ArmTarget(arm.home, -1.0))
        until(lambda: peer.tell()["bites"] == 1)  # who sends one set-point and no other hangs
        until(lambda: arm.state().fault == "its control script does not run")


def rest(peer: UrPeer) -> None:
    """Wait for longer than the robot's patience, by its own clock."""
    until_s = peer.tell()["time_s"] + 2 * WATCHDOG_S
    until(lambda: peer.tell()["time_s"] > until_s)
    assert peer.tell()["runtime"] == PLAYING
