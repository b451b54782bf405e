"""A SpaceMouse by raw reports through pyspacemouse's own parser."""

import numpy as np
import pygame
import pytest
from virtual_devices import FakeHid, open_fake_spacemouse

from robofb.deploy.teleop import spacemouse
from robofb.errors import DeviceLostError, UserError


class Rig:
    """A connected SpaceMouse, its HID device and its clock."""

    def __init__(self, monkeypatch):
        self.hid, self.time_s = FakeHid(), 50.0
        monkeypatch.setattr(spacemouse, "open_device", self.open)
        self.device = spacemouse.SpaceMouseTeleop(
            speed_m_s=0.2, turn_rad_s=1.0, deadband=0.1, expo=1.0, now=lambda: self.time_s
        )

    def open(self):
        if self.hid.gone:
            raise UserError("none there")
        return open_fake_spacemouse(self.hid)


@pytest.fixture
def rig(monkeypatch):
    made = Rig(monkeypatch)
    made.device.connect()
    pygame.event.clear()
    yield made
    made.device.close()


def test_the_cap_moves_the_tool_in_the_frame_of_the_base(rig):
    rig.hid.move(y=-350)  # pushed away from the person: x, forward
    np.testing.assert_allclose(rig.device.read().twist, [0.2, 0, 0, 0, 0, 0], atol=1e-9)
    rig.hid.move(x=-350)  # to the left: y
    np.testing.assert_allclose(rig.device.read().twist, [0, 0.2, 0, 0, 0, 0], atol=1e-9)
    rig.hid.move(z=-350)  # pulled up: z
    np.testing.assert_allclose(rig.device.read().twist, [0, 0, 0.2, 0, 0, 0], atol=1e-9)
    rig.hid.move()
    rig.hid.turn(z=-350)  # counterclockwise from above
    np.testing.assert_allclose(rig.device.read().twist, [0, 0, 0, 0, 0, 1.0], atol=1e-9)


def test_deflection_follows_the_curve(rig):
    rig.hid.move(y=-192, x=30)  # 0.5486 of full: (0.5486 - 0.1) / 0.9 = 0.4984; 0.0857 is inside the band
    np.testing.assert_allclose(rig.device.read().twist, [0.2 * (192 / 350 - 0.1) / 0.9, 0, 0, 0, 0, 0])


def test_takes_in_every_report_that_waits(rig):
    for count in range(0, -351, -10):
        rig.hid.move(y=count)
    assert rig.device.read().twist[0] == pytest.approx(0.2)


def test_the_cap_is_the_dead_man(rig):
    assert not rig.device.read().engaged
    rig.hid.move(y=-350)
    assert rig.device.read().engaged
    rig.hid.move()
    command = rig.device.read()
    assert command.engaged and not command.twist.any()  # lingers, at rest
    rig.time_s += 1.01
    assert not rig.device.read().engaged


def test_silence_while_deflected_is_a_loss_and_silence_at_rest_is_none(rig):
    rig.hid.move(y=-350)
    assert rig.device.read().twist[0] > 0
    rig.time_s += 0.24
    assert rig.device.read().twist[0] > 0
    rig.time_s += 0.02
    with pytest.raises(DeviceLostError, match="says nothing for 0.26 s"):
        rig.device.read()
    rig.time_s += 1.1
    command = rig.device.read()  # found again, at rest
    assert not command.twist.any() and not command.engaged
    rig.time_s += 60
    assert not rig.device.read().engaged


def test_pulled_out_it_is_lost_and_looked_for_again(rig):
    rig.hid.gone = True
    for _ in range(3):
        with pytest.raises(DeviceLostError):
            rig.device.read()
        rig.time_s += 1.1
    rig.hid.gone = False
    rig.hid.move(y=-350)
    rig.device.read()
    assert rig.device.read().twist[0] == pytest.approx(0.2)


def test_buttons_are_the_gripper_once_a_press(rig):
    rig.hid.buttons(1, 0)
    command = rig.device.read()
    assert command.gripper == 1 and command.engaged and not command.twist.any()
    rig.hid.buttons(1, 0)
    assert rig.device.read().gripper == 0
    rig.hid.buttons(0, 1)
    assert rig.device.read().gripper == -1


def test_keys_of_the_window_are_its_events(rig):
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_RETURN))
    assert [rig.device.read().event for _ in range(2)] == ["start", ""]


def test_without_one_it_says_what_to_do():
    with pytest.raises(UserError, match="teleop=spacemouse: .*libhidapi"):
        spacemouse.SpaceMouseTeleop().connect()
