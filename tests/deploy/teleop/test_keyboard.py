"""Keys by events: held, tapped, released elsewhere."""

import os

import numpy as np
import pygame
import pytest

from robofb.deploy.teleop.keyboard import MOTION_KEYS, KeyboardTeleop
from robofb.errors import DeviceLostError, UserError


@pytest.fixture
def keyboard():
    device = KeyboardTeleop(speed_m_s=0.2, turn_rad_s=1.0, slow=0.25)
    device.connect()
    pygame.event.clear()
    yield device
    device.close()


def press(*names):
    for name in names:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.key.key_code(name)))


def release(*names):
    for name in names:
        pygame.event.post(pygame.event.Event(pygame.KEYUP, key=pygame.key.key_code(name)))


def test_held_keys_move_and_turn(keyboard):
    press("space", "w", "f", "j")
    for _ in range(3):  # held, though no further event comes
        command = keyboard.read()
        assert command.engaged
        np.testing.assert_allclose(command.twist, [0.2, 0, -0.2, 0, 0, 1.0])
    release("w", "j")
    np.testing.assert_allclose(keyboard.read().twist, [0, 0, -0.2, 0, 0, 0])


def test_every_motion_key_moves_its_own_way_and_opposites_cancel(keyboard):
    seen = set()
    for key, (component, sign) in MOTION_KEYS.items():
        press("space", key)
        twist = keyboard.read().twist
        assert np.sign(twist[component]) == sign and np.count_nonzero(twist) == 1
        seen.add((component, sign))
        release(key)
        keyboard.read()
    assert len(seen) == 12
    press("a", "d")
    assert not keyboard.read().twist.any()


def test_shift_is_slow(keyboard):
    press("space", "left shift", "w")
    np.testing.assert_allclose(keyboard.read().twist[0], 0.05)


def test_nothing_moves_without_the_dead_man(keyboard):
    press("w", "c")
    command = keyboard.read()
    assert not command.engaged and not command.twist.any() and command.gripper == 0
    press("space")
    assert keyboard.read().engaged
    release("space")
    command = keyboard.read()
    assert not command.engaged and not command.twist.any()


def test_a_tap_between_two_reads_counts_once(keyboard):
    press("space")
    keyboard.read()
    press("w")
    release("w")
    assert keyboard.read().twist[0] == pytest.approx(0.2)
    assert keyboard.read().twist[0] == 0


def test_a_tapped_dead_man_does_not_engage(keyboard):
    press("w", "space")
    release("space")
    assert not keyboard.read().engaged


def test_losing_the_focus_releases_everything(keyboard):
    press("space", "w")
    assert keyboard.read().engaged
    pygame.event.post(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    command = keyboard.read()
    assert not command.engaged and not command.twist.any()
    assert not keyboard.read().engaged


def test_gripper_keys_say_what_is_meant_and_nothing_else(keyboard):
    press("space", "c")
    assert keyboard.read().gripper == 1
    release("c")
    keyboard.read()
    assert keyboard.read().gripper == 0
    press("v")
    assert keyboard.read().gripper == -1


def test_events_come_once_in_order(keyboard):
    press("return", "z", "p")
    assert [keyboard.read().event for _ in range(4)] == ["start", "undo", "pause", ""]
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert keyboard.read().event == "quit"


def test_shows_pictures_and_facts_of_any_size(keyboard):
    for frames in ({}, {"a": np.full((24, 32, 3), 200, np.uint8), "b": np.zeros((7, 3, 3), np.uint8)}):
        keyboard.show(frames, {"state": "recording", "message": "x" * 500})
    assert pygame.display.get_surface().get_at((20, 60))[:3] == (200, 200, 200)


def test_is_lost_when_it_is_not_connected():
    device = KeyboardTeleop()
    with pytest.raises(DeviceLostError, match="keyboard is not connected"):
        device.read()


@pytest.mark.parametrize(
    "values", [{"speed_m_s": 0}, {"turn_rad_s": float("nan")}, {"slow": 0}, {"slow": 1.5}]
)
def test_speeds_that_are_none_are_refused(values):
    with pytest.raises(UserError, match=f"teleop=keyboard: {next(iter(values))}="):
        KeyboardTeleop(**values)


def test_a_window_that_nobody_sees_is_refused_unless_it_was_asked_for(monkeypatch):
    """Without a display SDL may draw into memory, and wait for keys for ever."""
    monkeypatch.setattr(pygame.display, "get_driver", lambda: "offscreen")
    device = KeyboardTeleop()
    with pytest.raises(UserError, match="teleop=keyboard needs a display .*; use teleop=web"):
        device.connect()
    monkeypatch.undo()  # what this process was told to use, and does
    device.connect()
    assert pygame.display.get_driver() == os.environ["SDL_VIDEODRIVER"] == "dummy"
    device.close()
