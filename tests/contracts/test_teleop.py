"""Hold every configured device, and the fake, to the contract of `interfaces.Teleop`."""

from pathlib import Path

import numpy as np
import pygame
import pytest
from virtual_devices import FakeHid, VirtualJoystick, open_fake_spacemouse

from robofb import config
from robofb.build import build
from robofb.deploy.teleop import spacemouse
from robofb.deploy.teleop.fake import FakeTeleop
from robofb.errors import DeviceLostError
from robofb.interfaces import Teleop
from robofb.types import TELEOP_EVENTS, TeleopCommand

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "teleop"
NAMES = sorted(file.stem for file in CONFIGS.glob("*.yaml") if "_target_" in file.read_text())
STATUS = {"state": "recording", "message": "", "episodes": "1 of 2"}


def plug_in(name, monkeypatch):
    """Provide the hardware that a device needs; return what pulls it out."""
    if name == "gamepad":
        return VirtualJoystick().unplug
    if name == "spacemouse":
        hid = FakeHid()
        monkeypatch.setattr(spacemouse, "open_device", lambda: open_fake_spacemouse(hid))
        return lambda: None
    monkeypatch.setenv("DISPLAY", ":0")  # auto takes the keyboard, which the dummy driver bears
    return lambda: None


def make(name):
    return build(config.compose("collect", [f"teleop={name}"]).teleop)


@pytest.fixture(params=[*NAMES, "fake"])
def device(request, monkeypatch):
    """A connected device that nobody touches."""
    if request.param == "fake":
        made, pull = FakeTeleop([TeleopCommand(np.zeros(6), 0.0, False)] * 5), lambda: None
    else:
        pull = plug_in(request.param, monkeypatch)
        made = make(request.param)
    made.connect()
    yield made
    made.close()
    pull()


def read(device):
    """Return the command; None where nobody is at the device yet, which holds the arm as well."""
    try:
        return device.read()
    except DeviceLostError:
        return None


def test_is_a_teleop(device):
    assert isinstance(device, Teleop)


def test_untouched_it_commands_nothing_and_never_blocks(device):
    for _ in range(3):
        command = read(device)
        if command is not None:
            assert command.twist.shape == (6,) and command.twist.dtype == np.float64
            assert not command.twist.any() and command.gripper == 0 and not command.engaged
            assert command.event in ("", *TELEOP_EVENTS)


def test_shows_pictures_of_any_number_and_size(device):
    read(device)
    for frames in (
        {},
        {"a": np.zeros((8, 10, 3), np.uint8)},
        dict.fromkeys("abc", np.ones((9, 3, 3), np.uint8)),
    ):
        device.show(frames, STATUS)
        command = read(device)  # a picture disturbs no reading
        assert command is None or not (command.engaged or command.twist.any())


def test_closed_it_is_lost_and_may_be_closed_and_shown_again(device):
    device.close()
    device.close()
    device.show({}, STATUS)
    with pytest.raises(DeviceLostError):
        device.read()


def test_can_be_connected_again(device):
    device.close()
    device.connect()
    command = read(device)
    assert command is None or not command.twist.any()


@pytest.mark.parametrize("name", NAMES)
def test_constructing_opens_nothing(name, monkeypatch):
    monkeypatch.setattr(pygame.display, "set_mode", lambda *a, **k: pytest.fail("a window was opened"))
    made = make(name)
    with pytest.raises(DeviceLostError):
        made.read()
    made.close()
