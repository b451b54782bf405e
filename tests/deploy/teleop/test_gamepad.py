"""A gamepad through SDL itself: a virtual joystick with axes, buttons, and a cable to pull."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from hydra.utils import instantiate
from virtual_devices import VirtualJoystick

from robofb.build import build
from robofb.errors import DeviceLostError, UserError

CONFIG = yaml.safe_load((Path(__file__).resolve().parents[3] / "configs/teleop/gamepad.yaml").read_text())
DEADMAN, CLOSE, OPEN = CONFIG["deadman"], CONFIG["close"], CONFIG["open"]


def make(**values):
    return instantiate({**CONFIG, **values})


@pytest.fixture
def stick():
    made = VirtualJoystick()
    yield made
    made.unplug()


@pytest.fixture
def gamepad(stick):
    device = make(deadband=0.2, expo=2.0, speed_m_s=0.25, turn_rad_s=2.0)
    device.connect()
    device.read()  # sees the sticks at rest
    yield device
    device.close()


def test_a_stick_moves_by_its_curve(stick, gamepad):
    stick.button(DEADMAN, True)
    stick.axis(1, -0.6)  # forward
    command = gamepad.read()
    assert command.engaged
    # (0.6 - 0.2) / 0.8 = 0.5; 0.5 ** 2 = 0.25; of 0.25 m/s
    np.testing.assert_allclose(command.twist, [0.0625, 0, 0, 0, 0, 0], atol=1e-5)
    stick.axis(1, 0.1)  # inside the band
    stick.axis(3, -1.0)
    np.testing.assert_allclose(gamepad.read().twist, [0, 0, 0, 0, 0, 2.0], atol=1e-3)


def test_an_axis_that_rests_deflected_drives_nothing(stick, gamepad):
    """SDL lets axis 4 of a virtual pad rest at -1, as triggers do; our config takes it for a stick."""
    stick.button(DEADMAN, True)
    assert gamepad.read().twist[2] == 0
    stick.axis(4, 0.0)
    gamepad.read()
    stick.axis(4, -1.0)
    assert gamepad.read().twist[2] == pytest.approx(0.25, abs=1e-4)


def test_the_direction_pad_tips_the_tool(stick, gamepad):
    stick.button(DEADMAN, True)
    stick.hat(1)
    np.testing.assert_allclose(gamepad.read().twist, [0, 0, 0, 0, 2.0, 0])
    stick.hat(8)
    np.testing.assert_allclose(gamepad.read().twist, [0, 0, 0, -2.0, 0, 0])


def test_nothing_moves_without_the_dead_man(stick, gamepad):
    stick.axis(0, 1.0)
    stick.button(CLOSE, True)
    command = gamepad.read()
    assert not command.engaged and not command.twist.any() and command.gripper == 0


def test_buttons_say_gripper_and_events_once(stick, gamepad):
    stick.button(DEADMAN, True)
    stick.button(CLOSE, True)
    assert [gamepad.read().gripper for _ in range(2)] == [1, 0]
    stick.button(OPEN, True)
    assert gamepad.read().gripper == -1
    for button in CONFIG["events"].values():
        stick.button(button, True)
    events = [gamepad.read().event for _ in range(len(CONFIG["events"]) + 1)]
    assert sorted(events[:-1]) == sorted(CONFIG["events"]) and events[-1] == ""


def test_unplugged_it_is_lost_and_comes_back_at_rest(stick, gamepad):
    stick.button(DEADMAN, True)
    stick.axis(1, -1.0)
    assert gamepad.read().twist[0] > 0
    stick.unplug()
    for _ in range(3):
        with pytest.raises(DeviceLostError, match="unplugged"):
            gamepad.read()
    again = VirtualJoystick()
    again.axis(1, 0.0)
    command = gamepad.read()
    assert not command.engaged and not command.twist.any()
    again.button(DEADMAN, True)
    again.axis(1, -1.0)
    assert gamepad.read().twist[0] == pytest.approx(0.25, abs=1e-4)
    again.unplug()


def test_without_a_gamepad_it_says_what_to_do():
    with pytest.raises(UserError, match="no gamepad is plugged in"):
        make().connect()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"axes": {"forward": [0, 1]}}, "axes holds forward; valid: x, y, z, roll, pitch, yaw"),
        ({"events": {"begin": 1}}, "events holds begin; valid: start, "),
        ({"deadband": 1.0}, "deadband=1.0"),
        ({"expo": 0}, "expo=0"),
    ],
)
def test_bad_values_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        build({**CONFIG, **values})


def test_numbers_that_the_pad_lacks_do_nothing(stick):
    device = make(deadman=40, axes={"x": [30, 1]})
    device.connect()
    assert not device.read().engaged
    device.close()
