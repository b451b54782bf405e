"""What becomes of a person's words on their way to the arm."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
from live_devices import node_of
from live_parts import line_parts

from robofb.deploy.live.arm_process import ArmLoop
from robofb.deploy.live.arrivals import Arrivals
from robofb.deploy.live.deployment import plain
from robofb.deploy.live.device_processes import TELEOP_S, CameraSetup, TeleopSetup, read_every
from robofb.deploy.live.process import Life, attacher
from robofb.deploy.live.records import MODES, Rings
from robofb.deploy.modes import Ask, Mode
from robofb.deploy.teleop.web import WebTeleop
from robofb.deploy.watch import Watch


@pytest.fixture
def rings() -> Iterator[Rings]:
    with closing(Rings(13, {}, ["arm"])) as rings:
        yield rings


@pytest.fixture
def loop(rings: Rings, tmp_path: Path) -> Iterator[ArmLoop]:
    setup = line_parts(tmp_path).arm
    with ExitStack() as stack:
        bench = setup.place.make()
        bench.arm.connect()
        yield ArmLoop(bench, setup, rings.addresses, stack, Life(rings.beats["arm"], os.getppid()))


@pytest.mark.parametrize(
    ("node", "facts"),
    [
        (
            {"_target_": "OpenCvCamera", "source": "/dev/v4l/by-id/usb-Left"},
            {"kind": "OpenCvCamera", "source": "device /dev/v4l/by-id/usb-Left"},
        ),
        (
            {"_target_": "HttpCamera", "url": "http://me:secret@10.0.0.7/video?password=secret"},
            {"kind": "HttpCamera", "source": "http://10.0.0.7/video"},
        ),
    ],
)
def test_an_episode_says_which_camera_it_was_but_no_password(
    node: dict[str, str], facts: dict[str, str]
) -> None:
    target = f"robofb.deploy.cameras.opencv.{node['_target_']}"
    assert CameraSetup("front", {**node, "_target_": target, "_partial_": True}, 4, 6).facts() == facts


def tell(rings: Rings, *, gripper: float = 0.0, engaged: bool = True) -> None:
    rings.commands.write(
        at_s=time.monotonic(), twist=np.zeros(6), gripper=gripper, engaged=engaged, event=b""
    )


def test_a_gripper_that_was_told_once_obeys_though_more_was_said_since(rings: Rings, loop: ArmLoop) -> None:
    """The device is read more often than the arm may tick; of two presses the later one counts."""
    rings.orders.write(kind=b"ask", what=Ask.ARM.value.encode(), episode=-1, seed=0, reason=b"")
    tell(rings)
    assert loop.tick().mode is Mode.HUMAN
    for said, expected in (((1.0, 0.0, 0.0), 1.0), ((0.0,), 1.0), ((1.0, -1.0, 0.0), -1.0), ((0.0,), -1.0)):
        for gripper in said:
            tell(rings, gripper=gripper)
        sent = loop.tick().sent
        assert sent is not None and sent.gripper == expected
    tell(rings, gripper=1.0, engaged=False)
    tell(rings)
    sent = loop.tick().sent
    assert sent is not None and sent.gripper == -1.0  # nobody held the switch
    newest = rings.ticks.latest()
    assert newest is not None and MODES[int(newest.value["mode"])] is Mode.HUMAN


def test_what_a_silent_device_said_counts_for_200_ms(rings: Rings) -> None:
    """By the time of what it said, as the arm's process reads it, not by when that was read first."""
    rings.commands.write(at_s=100.0, twist=np.full(6, 0.1), gripper=0.0, engaged=True, event=b"")
    with ExitStack() as stack:
        arrivals = Arrivals(rings.addresses, attacher(stack), Watch().silent_s)
        for now_s, counts in ((100.0, True), (100.19, True), (100.21, False), (100.25, False)):
            assert (arrivals.since((), now_s).command is not None) == counts


def test_a_device_knows_how_often_it_is_read_here() -> None:
    """A hand's way between two readings becomes a speed: with another period the arm would go another way."""
    device = TeleopSetup(plain(node_of("web"))).make()
    assert isinstance(device, WebTeleop) and device.control_dt_s == TELEOP_S == 0.02
    nested = {"display": {"slow": 0.5}, "headless": {"control_dt_s": 0.1}, "port": 0}
    assert read_every(nested, 0.05) == {
        "display": {"slow": 0.5},
        "headless": {"control_dt_s": 0.05},
        "port": 0,
    }
    assert nested["headless"] == {"control_dt_s": 0.1}
