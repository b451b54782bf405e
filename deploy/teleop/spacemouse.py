"""Drive with a 3Dconnexion SpaceMouse."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout, suppress
from io import StringIO
from typing import Any

import numpy as np

from robofb.deploy.teleop.stick import check_curve, check_speeds, shape_deflection
from robofb.deploy.teleop.window import Window
from robofb.errors import DeviceLostError, UserError
from robofb.types import TeleopCommand

SILENCE_S = 0.25  # a deflected cap reports at some 100 Hz
LINGER_S = 1.0
RETRY_S = 1.0
_MAX_REPORTS = 256  # read at a time; more than a control period brings
GUIDE = (
    "cap: moves and turns the tool; let go, and it holds still",
    "left button: close the gripper",
    "right button: open the gripper",
)


class SpaceMouseTeleop:
    """The cap moves the tool, and is its own dead-man: springs centre it. Satisfies `interfaces.Teleop`.

    After the cap is let go, or a gripper button pressed, it stays engaged at zero twist for `LINGER_S`,
    so that a closing gripper is recorded.

    The device says nothing while at rest, so silence is no fault there; a cap that was deflected and
    then says nothing for `SILENCE_S` is lost. Lost devices are looked for again every `RETRY_S`.

    Args:
        speed_m_s, turn_rad_s: at full deflection.
        deadband, expo: see `shape_deflection`.
        now: the clock [s].

    Raises:
        UserError: a speed or a curve that is not one.
    """

    def __init__(
        self,
        speed_m_s: float = 0.25,
        turn_rad_s: float = 1.5,
        deadband: float = 0.08,
        expo: float = 1.5,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        check_speeds("spacemouse", speed_m_s, turn_rad_s)
        check_curve("spacemouse", deadband, expo)
        self._scale = np.array([speed_m_s] * 3 + [turn_rad_s] * 3)
        self._deadband, self._expo, self._now = deadband, expo, now
        self._window = Window("spacemouse", GUIDE)
        self._device: Any = None
        self._buttons = [False, False]
        self._deflection, self._stamp = np.zeros(6), -1.0  # pyspacemouse's stamp before any report
        self._reported_s = self._engaged_s = self._tried_s = -np.inf

    def connect(self) -> None:
        """Open the first SpaceMouse and the window.

        Raises:
            UserError: pyspacemouse, the HID library, a display or a SpaceMouse is missing.
        """
        self._device = self._device or open_device()
        try:
            self._window.open()
        except UserError:
            self._drop()
            raise

    def read(self) -> TeleopCommand:
        """Return the command of cap and buttons.

        Raises:
            DeviceLostError: it is gone, silent while deflected, or was never connected.
        """
        self._window.poll()
        event = self._window.take_event()
        gripper = self._read_reports()
        if self._device is None:
            if event:
                return TeleopCommand(np.zeros(6), 0.0, False, event)
            raise DeviceLostError("the SpaceMouse is gone")
        now_s = self._now()
        share = shape_deflection(np.clip(self._deflection, -1, 1), self._deadband, self._expo)
        if share.any() and now_s - self._reported_s > SILENCE_S:
            self._drop()
            raise DeviceLostError(f"the SpaceMouse says nothing for {now_s - self._reported_s:.2f} s")
        if share.any() or gripper:
            self._engaged_s = now_s
        engaged = now_s - self._engaged_s <= LINGER_S
        return TeleopCommand(self._scale * share, gripper, engaged, event)

    def show(self, frames: Mapping[str, np.ndarray], status: Mapping[str, str]) -> None:
        """Show pictures and facts in the window."""
        self._window.show(frames, status)

    def close(self) -> None:
        """Let device and window go; safe twice."""
        self._drop()
        self._window.close()

    def _read_reports(self) -> float:
        """Take in every report that waits; return what the gripper was told: 1, -1 or 0.

        Looks for the device again where it is gone.
        """
        gripper = 0.0
        if self._device is None:
            if self._now() - self._tried_s >= RETRY_S:
                self._tried_s = self._now()
                with suppress(UserError):
                    self._device = open_device()
            return gripper
        for _ in range(_MAX_REPORTS):
            try:
                state = self._device.read()
            except Exception:  # each HID backend raises its own kind when the device is pulled out
                self._drop()
                return 0.0
            if state.t == self._stamp:
                break
            self._stamp = state.t
            self._deflection = np.array([state.x, state.y, state.z, state.roll, state.pitch, state.yaw])
            self._reported_s = self._now()
            pressed = [bool(button) for button in (*state.buttons, 0, 0)[:2]]
            for number, value in enumerate((1.0, -1.0)):
                if pressed[number] and not self._buttons[number]:
                    gripper = value
            self._buttons = pressed
        return gripper

    def _drop(self) -> None:
        if self._device is not None:
            with suppress(Exception):  # closing what is already gone
                self._device.close()
        self._device = None
        self._buttons = [False, False]
        self._deflection, self._stamp = np.zeros(6), -1.0
        self._engaged_s = -np.inf


def open_device() -> Any:
    """Open the first SpaceMouse, with axes as in ROS: x forward, y left, z up.

    Raises:
        UserError: what is missing, and what to do.
    """
    try:
        import pyspacemouse
    except ImportError as error:
        raise UserError("teleop=spacemouse needs pyspacemouse: pip install 'robofb[teleop]'") from error
    try:
        with redirect_stdout(StringIO()):  # it prints what it found
            return pyspacemouse.open(axis_convention=pyspacemouse.AxisConvention.ROS)
    except Exception as error:  # RuntimeError where none is found, AttributeError without the HID library
        raise UserError(
            f"teleop=spacemouse: {str(error).splitlines()[0] if str(error) else type(error).__name__} "
            "(on Debian or Ubuntu: apt install libhidapi-hidraw0, and a udev rule for the device)"
        ) from error
