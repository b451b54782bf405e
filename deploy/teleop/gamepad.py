"""Drive with a gamepad or joystick, through SDL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robofb.deploy.teleop.stick import check_curve, check_speeds, shape_deflection
from robofb.deploy.teleop.window import Window
from robofb.errors import DeviceLostError, UserError
from robofb.types import TELEOP_EVENTS, TeleopCommand

TWIST_NAMES = ("x", "y", "z", "roll", "pitch", "yaw")
_REST = 0.05  # deflection of a stick that is at rest


class GamepadTeleop:
    """Sticks move the tool while the dead-man button is held. Satisfies `interfaces.Teleop`.

    An unplugged gamepad is lost until one is plugged in; it is then taken up by itself. An axis drives
    only once it was seen at rest, for the triggers of some pads rest at full deflection.

    Args:
        axes: by component of the twist, (number of the stick's axis, sign).
        hat: the same for the axes 0 and 1 of the first direction pad.
        deadman, close, open: numbers of buttons.
        events: button by the session's event.
        speed_m_s, turn_rad_s: at full deflection.
        deadband, expo: see `shape_deflection`.

    Raises:
        UserError: a component, event or number that there is not.
    """

    def __init__(
        self,
        axes: Mapping[str, Sequence[int]],
        hat: Mapping[str, Sequence[int]],
        deadman: int,
        close: int,
        open: int,
        events: Mapping[str, int],
        speed_m_s: float = 0.25,
        turn_rad_s: float = 1.5,
        deadband: float = 0.12,
        expo: float = 2.0,
    ) -> None:
        check_speeds("gamepad", speed_m_s, turn_rad_s)
        check_curve("gamepad", deadband, expo)
        for name, given, valid in (
            ("axes", axes, TWIST_NAMES),
            ("hat", hat, TWIST_NAMES),
            ("events", events, TELEOP_EVENTS),
        ):
            if unknown := sorted(set(given) - set(valid)):
                raise UserError(f"teleop=gamepad: {name} holds {unknown[0]}; valid: {', '.join(valid)}")
        self._axes = [(TWIST_NAMES.index(name), int(axis), int(sign)) for name, (axis, sign) in axes.items()]
        self._hat = [(TWIST_NAMES.index(name), int(axis), int(sign)) for name, (axis, sign) in hat.items()]
        self._deadman, self._gripper_of = deadman, {close: 1.0, open: -1.0}
        self._event_of = {button: event for event, button in events.items()}
        self._scale = np.array([speed_m_s] * 3 + [turn_rad_s] * 3)
        self._deadband, self._expo = deadband, expo
        self._window = Window("gamepad", _guide(deadman, close, open, self._event_of))
        self._pad: Any = None
        self._rested: set[int] = set()  # axes seen at rest since the gamepad was plugged in

    def connect(self) -> None:
        """Open the window and the first gamepad.

        Raises:
            UserError: pygame, a display or a gamepad is missing.
        """
        self._window.open()
        self._window.pygame.joystick.init()
        self._adopt()
        if self._pad is None:
            self._window.close()
            raise UserError("teleop=gamepad: no gamepad is plugged in; plug one in or use teleop=auto")

    def read(self) -> TeleopCommand:
        """Return the command of sticks and buttons.

        Raises:
            DeviceLostError: no gamepad is plugged in, or it was never connected.
        """
        happened = self._window.poll()
        pygame = self._window.pygame
        gripper = 0.0
        for event in happened:
            if event.type == pygame.JOYDEVICEREMOVED and self._is_ours(event):
                self._pad.quit()
                self._pad = None
            elif event.type == pygame.JOYBUTTONDOWN and self._is_ours(event):
                gripper = self._gripper_of.get(event.button, gripper)
                if event.button in self._event_of:
                    self._window.push_event(self._event_of[event.button])
        if self._pad is None:
            self._adopt()
        event = self._window.take_event()
        if self._pad is None and not event:
            raise DeviceLostError("the gamepad is unplugged")
        if self._pad is not None:
            self._watch_rest()
        if self._pad is None or not self._down(self._deadman):
            return TeleopCommand(np.zeros(6), 0.0, False, event)
        return TeleopCommand(self._twist(), gripper, True, event)

    def show(self, frames: Mapping[str, np.ndarray], status: Mapping[str, str]) -> None:
        """Show pictures and facts in the window."""
        self._window.show(frames, status)

    def close(self) -> None:
        """Let gamepad and window go; safe twice."""
        if self._pad is not None:
            self._pad.quit()
            self._pad = None
        self._window.close()

    def _adopt(self) -> None:
        """Take the first gamepad that is plugged in, if any."""
        if self._window.pygame.joystick.get_count():
            self._rested.clear()
            self._pad = self._window.pygame.joystick.Joystick(0)

    def _is_ours(self, event: Any) -> bool:
        return self._pad is not None and event.instance_id == self._pad.get_instance_id()

    def _watch_rest(self) -> None:
        for axis in range(self._pad.get_numaxes()):
            if abs(self._pad.get_axis(axis)) <= max(self._deadband, _REST):
                self._rested.add(axis)

    def _down(self, button: int) -> bool:
        return button < self._pad.get_numbuttons() and bool(self._pad.get_button(button))

    def _twist(self) -> np.ndarray:
        deflection = np.zeros(6)
        for component, axis, sign in self._axes:
            if axis in self._rested:
                deflection[component] += sign * self._pad.get_axis(axis)
        if self._pad.get_numhats():
            hat = self._pad.get_hat(0)
            for component, axis, sign in self._hat:
                deflection[component] += sign * hat[axis]
        return self._scale * shape_deflection(np.clip(deflection, -1, 1), self._deadband, self._expo)


def _guide(deadman: int, close: int, open: int, event_of: Mapping[int, str]) -> list[str]:
    buttons = {deadman: "hold it, or nothing moves", close: "close the gripper", open: "open the gripper"}
    lines = [f"button {number}: {text}" for number, text in (buttons | dict(event_of)).items()]
    return [*lines, "sticks and direction pad: as in configs/teleop/gamepad.yaml"]
