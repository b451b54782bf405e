"""Drive with a keyboard, in a window that shows the cameras."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robofb.deploy.teleop.stick import check_speeds
from robofb.deploy.teleop.window import Window
from robofb.errors import UserError
from robofb.types import TeleopCommand

DEADMAN_KEY = "space"
MOTION_KEYS = {  # key: (component of the twist, sign)
    "w": (0, 1),
    "s": (0, -1),
    "a": (1, 1),
    "d": (1, -1),
    "r": (2, 1),
    "f": (2, -1),
    "u": (3, 1),
    "o": (3, -1),
    "i": (4, 1),
    "k": (4, -1),
    "j": (5, 1),
    "l": (5, -1),
}
GRIPPER_KEYS = {"c": 1.0, "v": -1.0}
SLOW_KEYS = ("left shift", "right shift")
GUIDE = (
    "space: hold it, or nothing moves",
    "w s: away from the robot's base, towards it",
    "a d: to the robot's left, right",
    "r f: up, down",
    "j l: turn left, right    i k: pitch    u o: roll",
    "c v: close, open the gripper",
    "shift: slow",
)


class KeyboardTeleop:
    """Keys that are held move the tool; see `GUIDE`. Satisfies `interfaces.Teleop`.

    What is held is known from key events alone, and forgotten where the window loses the focus: a
    key that is released elsewhere never stays down here. A tap shorter than a control period counts
    as held for one; only the dead-man key must be down at the very moment.

    Args:
        speed_m_s, turn_rad_s: while one key is held.
        slow: share of the speed while shift is held.

    Raises:
        UserError: a speed that is not positive.
    """

    def __init__(self, speed_m_s: float = 0.15, turn_rad_s: float = 1.0, slow: float = 0.25) -> None:
        check_speeds("keyboard", speed_m_s, turn_rad_s)
        if not 0.0 < slow <= 1.0:
            raise UserError(f"teleop=keyboard: slow={slow} must lie in 0..1")
        self._scale = np.array([speed_m_s] * 3 + [turn_rad_s] * 3)
        self._slow = slow
        self._window = Window("keyboard", GUIDE)
        self._held: set[str] = set()

    def connect(self) -> None:
        """Open the window.

        Raises:
            UserError: pygame is missing, or there is no display.
        """
        self._window.open()

    def read(self) -> TeleopCommand:
        """Return the command of the keys that are held.

        Raises:
            DeviceLostError: it is not connected.
        """
        active = self._update_held()
        engaged = DEADMAN_KEY in self._held
        gripper = next((value for key, value in GRIPPER_KEYS.items() if key in active), 0.0)
        twist = np.zeros(6)
        if engaged:
            for key in active & MOTION_KEYS.keys():
                component, sign = MOTION_KEYS[key]
                twist[component] += sign
            twist *= self._scale * (self._slow if active & set(SLOW_KEYS) else 1.0)
        return TeleopCommand(twist, gripper if engaged else 0.0, engaged, self._window.take_event())

    def show(self, frames: Mapping[str, np.ndarray], status: Mapping[str, str]) -> None:
        """Show pictures and facts in the window."""
        self._window.show(frames, status)

    def close(self) -> None:
        """Close the window; safe twice."""
        self._held.clear()
        self._window.close()

    def _update_held(self) -> set[str]:
        """Follow the events; return the keys that are down, or were pressed since the last call."""
        happened = self._window.poll()
        pygame = self._window.pygame
        pressed: set[str] = set()
        for event in happened:
            if event.type == pygame.KEYDOWN:
                name = pygame.key.name(event.key)
                self._held.add(name)
                pressed.add(name)
            elif event.type == pygame.KEYUP:
                self._held.discard(pygame.key.name(event.key))
            elif event.type in (pygame.WINDOWFOCUSLOST, pygame.QUIT):
                self._held.clear()
                pressed.clear()
        return pressed | self._held
