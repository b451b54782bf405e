"""A camera without a device: a moving test picture that tells its number. For dry runs and tests."""

from __future__ import annotations

import time

import numpy as np

from robofb.deploy.cameras.camera import CameraLostError, Frame, frame_of
from robofb.errors import UserError, check_positive

BAR_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
"""RGB of the bars in the lower half of a picture, from the left."""

_BITS, _ROWS = 32, 2  # of the number, black or white, in the upper half
_COLUMNS = _BITS // _ROWS
LEAST_HEIGHT, LEAST_WIDTH = 16, 64
"""Of a picture [px] whose number survives JPEG."""


class SyntheticCamera:
    """Show `numbered_picture`s at a steady rate; satisfies `camera.Camera`.

    A picture's stamp is when it was due. A reader who is late misses pictures, as of a real camera.

    Args:
        name: of the observation `image_<name>` that it is for.
        height, width: of its pictures [px].
        fps: pictures a second.
        timeout_s: after which `read` gives up where it is frozen.
        freeze_at, repeat_at, lose_at: number of the picture from which on no picture comes, the same pixels
            come with new stamps, or it is gone; None: never. They may be set at any time, too.

    Raises:
        UserError: a picture too small for its number, or a rate that is none.
    """

    def __init__(
        self,
        name: str,
        height: int = 480,
        width: int = 640,
        fps: float = 30.0,
        timeout_s: float = 1.0,
        freeze_at: int | None = None,
        repeat_at: int | None = None,
        lose_at: int | None = None,
    ) -> None:
        self.name, self.height, self.width, self.fps, self.timeout_s = name, height, width, fps, timeout_s
        self.freeze_at, self.repeat_at, self.lose_at = freeze_at, repeat_at, lose_at
        check_positive(self, "fps", "timeout_s")
        if height < LEAST_HEIGHT or width < LEAST_WIDTH:
            raise UserError(
                f"camera {name}: a test picture of {height} x {width} pixels (height x width) cannot tell its"
                f" number; it needs {LEAST_HEIGHT} x {LEAST_WIDTH}"
            )
        self.source = "test picture"
        self._number = -1  # of the last picture
        self._start_s: float | None = None  # when picture 0 was, or would have been

    def connect(self) -> None:
        """Begin with the next picture."""
        if self._start_s is None:
            self._start_s = time.monotonic() - (self._number + 1) / self.fps

    def read(self) -> Frame:
        """Wait for the next picture; see `camera.Camera`."""
        if self._start_s is None:
            raise CameraLostError(f"camera {self.name} (synthetic) is not connected")
        number = max(self._number + 1, int((time.monotonic() - self._start_s) * self.fps))
        if self.lose_at is not None and number >= self.lose_at:
            raise CameraLostError(f"camera {self.name} (synthetic) is gone, as it was told")
        if self.freeze_at is not None and number >= self.freeze_at:
            time.sleep(self.timeout_s)
            raise CameraLostError(
                f"camera {self.name} (synthetic): no picture for {self.timeout_s:g} s, as it was told"
            )
        due_s = self._start_s + number / self.fps
        time.sleep(max(0.0, due_s - time.monotonic()))
        self._number = number
        shown = number if self.repeat_at is None else min(number, self.repeat_at)
        return frame_of(numbered_picture(shown, self.height, self.width), due_s, number)

    def close(self) -> None:
        """Stop; safe twice."""
        self._start_s = None


def numbered_picture(number: int, height: int, width: int) -> np.ndarray:
    """Return a picture (height, width, 3) uint8 RGB that tells its number, modulo 2**32; see `number_in`.

    The upper half holds its bits, the lower half three bars of `BAR_COLOURS`, over whose upper part
    a white stripe moves.
    """
    bits = (number >> np.arange(_BITS).reshape(_ROWS, _COLUMNS)) & 1
    upper = bits[_cells(height // 2, _ROWS)][:, _cells(width, _COLUMNS)].astype(np.uint8) * 255
    bars = np.array(BAR_COLOURS, np.uint8)[_cells(width, len(BAR_COLOURS))]
    lower = np.broadcast_to(bars, (height - height // 2, width, 3)).copy()
    left = 2 * number % width
    lower[: len(lower) // 2, left : left + width // 32] = 255
    return np.concatenate([np.repeat(upper[..., None], 3, axis=-1), lower])


def number_in(image: np.ndarray) -> int:
    """Return the number that a picture (H, W, 3) uint8 tells, even a scaled or compressed one."""
    rows, columns = _middles(image.shape[0] // 2, _ROWS), _middles(image.shape[1], _COLUMNS)
    white = image[rows[:, None], columns].mean(axis=-1) > 127  # (rows, columns) of bits
    return int((white.ravel().astype(np.int64) << np.arange(_BITS)).sum())


def _cells(pixels: int, cells: int) -> np.ndarray:
    """Return which of some cells of equal size each pixel of a line is in."""
    return np.arange(pixels) * cells // pixels


def _middles(pixels: int, cells: int) -> np.ndarray:
    """Return the pixel in the middle of each cell of a line."""
    return (2 * np.arange(cells) + 1) * pixels // (2 * cells)
