"""Devices that are not there: a joystick inside SDL, and a HID device that says what a test puts in."""

import ctypes
import struct
from collections import deque
from pathlib import Path

import pygame

from robofb.deploy.teleop.window import load_pygame


class VirtualJoystick:
    """A joystick attached to pygame's own SDL: 6 axes, 12 buttons, 1 direction pad."""

    def __init__(self):
        load_pygame().joystick.init()
        libraries = Path(pygame.__file__).parents[1] / "pygame.libs"
        self._sdl = ctypes.CDLL(str(next(libraries.glob("libSDL2-2*"))))  # loaded already: the same one
        self._sdl.SDL_JoystickOpen.restype = ctypes.c_void_p
        self._sdl.SDL_JoystickAttachVirtual.restype = ctypes.c_int
        self._index = self._sdl.SDL_JoystickAttachVirtual(1, 6, 12, 1)  # 1: a game controller
        assert self._index >= 0
        self._joystick = ctypes.c_void_p(self._sdl.SDL_JoystickOpen(self._index))

    def axis(self, axis: int, share: float) -> None:
        """Deflect an axis to -1..1."""
        value = ctypes.c_int16(round(share * 32767))
        assert self._sdl.SDL_JoystickSetVirtualAxis(self._joystick, axis, value) == 0
        self._sdl.SDL_JoystickUpdate()

    def button(self, button: int, down: bool) -> None:
        """Press or release a button."""
        assert self._sdl.SDL_JoystickSetVirtualButton(self._joystick, button, ctypes.c_uint8(down)) == 0
        self._sdl.SDL_JoystickUpdate()

    def hat(self, bits: int) -> None:
        """Push the direction pad: 1 up, 2 right, 4 down, 8 left."""
        assert self._sdl.SDL_JoystickSetVirtualHat(self._joystick, 0, ctypes.c_uint8(bits)) == 0
        self._sdl.SDL_JoystickUpdate()

    def unplug(self) -> None:
        """Pull it out; safe twice."""
        if self._joystick is not None:
            self._sdl.SDL_JoystickClose(self._joystick)
            self._sdl.SDL_JoystickDetachVirtual(self._index)
            self._sdl.SDL_JoystickUpdate()
            self._joystick = None


class FakeHid:
    """What pyspacemouse reads reports from; pulled out, it fails as a HID device does."""

    def __init__(self):
        self.reports = deque()
        self.gone = False
        self.product_string = self.manufacturer_string = self.serial_number = "fake"
        self.release_number = 1

    def open(self):
        """Open."""

    def close(self):
        """Close."""

    def set_nonblocking(self, nonblocking):
        """Accept whatever is asked."""

    def read(self, size):
        """Return the next report, or nothing."""
        if self.gone:
            raise OSError("device pulled out")
        return self.reports.popleft() if self.reports else b""

    def move(self, x=0, y=0, z=0):
        """Report a translation in the device's own counts of -350..350: x right, y back, z down."""
        self.reports.append(b"\x01" + struct.pack("<3h", x, y, z))

    def turn(self, x=0, y=0, z=0):
        """Report a rotation about the same axes."""
        self.reports.append(b"\x02" + struct.pack("<3h", x, y, z))

    def buttons(self, left, right):
        """Report both buttons."""
        self.reports.append(bytes([3, left | right << 1, 0]))


def open_fake_spacemouse(hid):
    """Return pyspacemouse's own device, with its parser, on a fake HID device."""
    from pyspacemouse.api import _create_and_open_device
    from pyspacemouse.loader import get_device_specs
    from pyspacemouse.types import AxisConvention

    specs = get_device_specs()
    return _create_and_open_device(specs["SpaceNavigator"], hid, axis_convention=AxisConvention.ROS)
