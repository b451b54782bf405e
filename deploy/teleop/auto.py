"""Choose the device that works here without anything to buy."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import numpy as np

from robofb.errors import DeviceLostError, UserError
from robofb.interfaces import Teleop
from robofb.types import TeleopCommand


def has_display() -> bool:
    """Tell whether windows can be opened here."""
    return sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


class AutoTeleop:
    """Be one of two devices, chosen when it connects.

    Args:
        display: device for a machine with a display.
        headless: device for one without, if there is any.
    """

    def __init__(self, display: Teleop, headless: Teleop | None = None) -> None:
        self._choices = {True: display, False: headless}
        self._device: Teleop | None = None

    def connect(self) -> None:
        """Open the device that suits this machine.

        Raises:
            UserError: there is none, or it cannot be opened.
        """
        device = self._choices[has_display()]
        if device is None:
            raise UserError("teleop=auto: no display here, and no device that does without: name one")
        device.connect()
        self._device = device

    def read(self) -> TeleopCommand:
        """Return the device's command."""
        if self._device is None:
            raise DeviceLostError("no device is connected")
        return self._device.read()

    def show(self, frames: Mapping[str, np.ndarray], status: Mapping[str, str]) -> None:
        """Show pictures and facts on the device."""
        if self._device is not None:
            self._device.show(frames, status)

    def close(self) -> None:
        """Let the device go; safe twice."""
        if self._device is not None:
            self._device.close()
            self._device = None
