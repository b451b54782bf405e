"""The processes of cameras and of a person's device: each waits for its own, so that nobody else does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from robofb.build import build
from robofb.deploy.cameras.camera import Camera, CameraLostError
from robofb.deploy.cameras.fitting import fitted
from robofb.deploy.cameras.sim import View
from robofb.deploy.live.process import Life, Pace, attacher
from robofb.deploy.live.records import MODES, Addresses, said
from robofb.deploy.ring import Ring
from robofb.errors import DeviceLostError, UserError
from robofb.interfaces import Teleop

TELEOP_S = 0.02
RETRY_S = 0.1
SHOW_EVERY = 5  # reads of a device


@dataclass(frozen=True)
class CameraSetup:
    """What a camera's process makes its camera from.

    Attributes:
        name: by which others know it.
        camera: config node.
        height, width: of its pictures as a policy sees them.
    """

    name: str
    camera: Mapping[str, Any]
    height: int
    width: int

    def make(self, scene: Ring) -> Camera:
        """Return the camera, not connected; one that has a `view` looks at a simulated `scene`."""
        shown = {"view": View(scene, self.height, self.width)} if "view" in self.camera else {}
        camera: Camera = build({**self.camera, **shown}, self.name)
        return camera

    def facts(self) -> dict[str, str]:
        """Return what an episode says of the camera: its kind, and where its pictures come from."""
        camera: Camera = build(self.camera, self.name)
        return {"kind": type(camera).__name__, "source": camera.source}


def run_camera(setup: CameraSetup, addresses: Addresses, parent: int) -> None:
    """Show pictures until told to quit, or the parent is gone; the process's main function."""
    with ExitStack() as stack:
        attach = attacher(stack)
        life = Life(attach(addresses.beats[f"camera {setup.name}"]), parent)
        life.begin()
        frames, glances = attach(addresses.frames[setup.name]), attach(addresses.glances[setup.name])
        try:
            camera = stack.enter_context(closing(setup.make(attach(addresses.scene))))
            camera.connect()
        except UserError as error:
            life.last_word(str(error))
            return
        before = glances.latest()
        done = 0 if before is None else int(before.value["sequence"]) + 1  # by a process before this one
        while not life.over:
            life.beat()
            try:
                frame = camera.read()
            except CameraLostError:
                time.sleep(RETRY_S)  # what is not shown for long is old: the controller sees that
                continue
            facts = {
                "sequence": done + frame.sequence,
                "captured_s": frame.captured_s,
                "digest": frame.digest,
                "rendered": frame.rendered,
            }
            number = frames.write(**facts, image=fitted(frame.image, setup.height, setup.width))
            glances.write(**facts, number=number)


@dataclass(frozen=True)
class TeleopSetup:
    """What the process of a person's device makes it from.

    Attributes:
        teleop: config node.
    """

    teleop: Mapping[str, Any]

    def make(self) -> Teleop:
        """Return the device, not connected."""
        teleop: Teleop = build(read_every(self.teleop, TELEOP_S))
        return teleop


def read_every(node: Mapping[str, Any], period_s: float) -> dict[str, Any]:
    """Return a device's config that counts on being read every `period_s`, where it wants to know.

    A hand that is tracked goes some way from one reading to the next, which its device says as a speed.
    """
    nested = {key: value for key, value in node.items() if isinstance(value, Mapping)}
    wants = {"control_dt_s": period_s} if "control_dt_s" in node else {}
    return {**node, **{key: read_every(value, period_s) for key, value in nested.items()}, **wants}


def run_teleop(setup: TeleopSetup, addresses: Addresses, parent: int) -> None:
    """Pass on what the person says until told to quit, or the parent is gone; the process's main function."""
    with ExitStack() as stack:
        attach = attacher(stack)
        life = Life(attach(addresses.beats["teleop"]), parent)
        life.begin()
        commands, ticks = attach(addresses.commands), attach(addresses.ticks)
        frames = {name: attach(address) for name, address in addresses.frames.items()}
        try:
            teleop = stack.enter_context(closing(setup.make()))
            teleop.connect()
        except UserError as error:
            life.last_word(str(error))
            return
        pace, count = Pace(TELEOP_S), 0
        while not life.over:
            life.beat()
            pace.wait()
            lost = _passed_on(teleop, commands)
            count += 1
            if count % SHOW_EVERY == 0:
                pictures, facts = _shown(ticks, frames)
                teleop.show(pictures, {**facts, "device": lost} if lost else facts)


def _passed_on(teleop: Teleop, commands: Ring) -> str:
    """Write down what the person says; return why their device is lost, empty where it is not."""
    try:
        command = teleop.read()
    except DeviceLostError as error:
        return str(error)  # what is not said for long is lost: the controller sees that
    commands.write(
        at_s=time.monotonic(),
        twist=np.asarray(command.twist, np.float64),
        gripper=command.gripper,
        engaged=command.engaged,
        event=command.event.encode(),
    )
    return ""


def _shown(ticks: Ring, frames: Mapping[str, Ring]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the newest pictures, and what the arm does."""
    pictures = {
        name: newest.value["image"].transpose(1, 2, 0)
        for name, ring in frames.items()
        if (newest := ring.latest())
    }
    tick = ticks.latest()
    if tick is None:
        return pictures, {"state": "starting"}
    mode = MODES[int(tick.value["mode"])].value
    return pictures, {
        "state": mode,
        "message": said(tick.value["reason"]),
        "episode": str(int(tick.value["episode"])),
    }
