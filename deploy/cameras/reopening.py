"""What cameras that can be lost have in common: opened again a few times, pictures counted and checked."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from robofb.deploy.cameras.camera import CameraLostError, Frame, frame_of
from robofb.errors import UserError, check_at_least, check_positive

LOG = logging.getLogger(__name__)


class Picture(NamedTuple):
    """What a device brought.

    Attributes:
        image: (H, W, 3) uint8 RGB, the receiver's own.
        captured_s: when, by `time.monotonic`.
        number: the device's own, which rises while it stays open; None where it has none.
    """

    image: np.ndarray
    captured_s: float
    number: int | None = None


class ReopeningCamera(ABC):
    """Read a device that may die; satisfies `camera.Camera`. A subclass opens it, takes pictures, closes it.

    Where no picture comes, `read` closes the device, waits `pause_s`, opens it and waits for a picture, up to
    `tries` times, each of which is logged. Nobody else is told: the age of the newest picture says it.

    Args:
        name: of the observation `image_<name>` that it is for.
        timeout_s: most that `read` waits for a picture before the device counts as dead.
        tries: how often one `read` opens a dead device again.
        pause_s: before each of them.

    Attributes:
        source: what it reads, in words.
        reopened: how often it was opened again.

    Raises:
        UserError: a number that makes no sense.
    """

    source: str

    def __init__(self, name: str, timeout_s: float = 1.0, tries: int = 3, pause_s: float = 0.5) -> None:
        self.name, self.timeout_s, self.tries, self.pause_s = name, timeout_s, tries, pause_s
        check_positive(self, "timeout_s")
        check_at_least(self, 0, "tries", "pause_s")
        self.reopened = 0
        self._connected = False
        self._sequence = -1
        self._number: int | None = None  # the device's own, of the last picture

    def connect(self) -> None:
        """Open the device; see `camera.Camera`."""
        if not self._connected:
            self._number = None
            self._open()
            self._connected = True

    def read(self) -> Frame:
        """Wait for the next picture, opening the device anew where none comes; see `camera.Camera`."""
        if not self._connected:
            raise CameraLostError(f"{self} is not connected")
        try:
            return self._frame(self._next())
        except CameraLostError as error:
            lost = error
        for attempt in range(1, self.tries + 1):
            LOG.warning("%s; opening it again, try %d of %d", lost, attempt, self.tries)
            try:
                return self._frame(self._reopened())
            except CameraLostError as error:
                lost = error
        raise lost

    def close(self) -> None:
        """Let the device go; safe twice."""
        self._connected = False
        self._shut()

    def __str__(self) -> str:
        return f"camera {self.name} ({self.source})"

    def _reopened(self) -> Picture:
        self._shut()
        time.sleep(self.pause_s)
        self._number = None
        try:
            self._open()
        except UserError as error:
            raise CameraLostError(str(error)) from error
        self.reopened += 1
        return self._next()

    def _frame(self, picture: Picture) -> Frame:
        """Number a picture, with gaps where the device has them."""
        missed = 0
        if picture.number is not None and self._number is not None:
            missed = max(0, picture.number - self._number - 1)
        self._number = picture.number
        self._sequence += 1 + missed
        return frame_of(picture.image, picture.captured_s, self._sequence)

    @abstractmethod
    def _open(self) -> None:
        """Open the device, or leave nothing open.

        Raises:
            UserError: it cannot; says what to do.
        """

    @abstractmethod
    def _next(self) -> Picture:
        """Wait for the next picture.

        Raises:
            CameraLostError: none came within `timeout_s`.
        """

    @abstractmethod
    def _shut(self) -> None:
        """Let the device go; safe twice."""


class StampClock:
    """Believe a device's stamps where they are times of this machine's clock, else the arrival.

    Which of both is decided by the first picture after opening, the one whose age is known: it is fresh.

    Args:
        believable_s: most that the first picture's stamp may be before its arrival.
    """

    def __init__(self, believable_s: float = 1.0) -> None:
        self.believable_s = believable_s
        self.believed: bool | None = None

    def captured_s(self, stamp_s: float, arrived_s: float) -> float:
        """Return when a picture was captured; never after it arrived."""
        if self.believed is None:
            self.believed = 0 < arrived_s - stamp_s < self.believable_s
        return min(stamp_s, arrived_s) if self.believed else arrived_s
