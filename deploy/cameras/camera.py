"""What every camera does for deployment."""

from __future__ import annotations

import zlib
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from robofb.errors import DeviceLostError


class CameraLostError(DeviceLostError):
    """A camera brings no new picture, and opening it again did not help. Says which, and from where."""


class StaleFrameError(DeviceLostError):
    """The newest new picture of a camera is older than it may be. Says which camera, how old, and why."""


class Frame(NamedTuple):
    """One picture.

    Attributes:
        image: (H, W, 3) uint8 RGB, the receiver's own.
        captured_s: when, by `time.monotonic`, as near to the exposure as the camera's class says.
        sequence: rises with every picture, over reconnections too; gaps are pictures that were missed.
        digest: CRC-32 of the pixels: equal where the picture is.
        rendered: without a sensor's noise: a scene that stands still gives the same pixels.
    """

    image: np.ndarray
    captured_s: float
    sequence: int
    digest: int
    rendered: bool = False


@runtime_checkable
class Camera(Protocol):
    """A camera in a process of its own, which waits in `read`. The constructor opens nothing."""

    name: str  # of the observation `image_<name>` that it is for
    source: str  # of its pictures, in words; tells no password

    def connect(self) -> None:
        """Open it, unless it is open.

        Raises:
            UserError: there is no such camera, or a package is missing; says what to do.
        """
        ...

    def read(self) -> Frame:
        """Wait for the next picture and return it.

        Raises:
            CameraLostError: none came in time, or it is not connected. Another call tries again.
        """
        ...

    def close(self) -> None:
        """Let it go; safe twice."""
        ...


def frame_of(image: np.ndarray, captured_s: float, sequence: int) -> Frame:
    """Return a frame of an image (H, W, 3) uint8 RGB, with its digest."""
    image = np.ascontiguousarray(image)
    return Frame(image, captured_s, sequence, zlib.crc32(image.data))
