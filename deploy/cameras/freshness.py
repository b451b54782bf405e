"""How old the newest new picture of a camera is, whatever the camera makes of its stamps."""

from __future__ import annotations

import math

from robofb.deploy.cameras.camera import Frame, StaleFrameError
from robofb.errors import UserError


class Freshness:
    """Say the age of a camera's newest new picture, from each of its frames in turn.

    A frame is no news where its sequence or its stamp has not risen. Nor is it where the pixels have been the
    same `repeats` times in a row: the age then counts from the first of these pictures, and grows until
    the pixels change. Sensors have noise, so that even a scene at rest never gives the same pixels twice; of
    a rendered frame, which has none, sequence and stamp alone tell.

    Args:
        name: of the camera.
        repeats: so many repetitions in a row are a fault. 1 suits every sensor: a picture that came twice
            by itself only ages by a period.

    Attributes:
        why: in words, what is wrong with the newest frame; empty where nothing is.

    Raises:
        UserError: `repeats` below 1.
    """

    def __init__(self, name: str, repeats: int = 1) -> None:
        if repeats < 1:
            raise UserError(f"repeats={repeats}: needs at least 1")
        self.name, self.repeats = name, repeats
        self.why = "no picture has come"
        self._sequence: float = -math.inf
        self._captured_s = self._first_s = -math.inf  # of the newest frame, and of the first with its pixels
        self._digest: int | None = None
        self._repeated = 0

    def see(self, frame: Frame, now_s: float) -> None:
        """Take in a frame that arrived at `now_s`; a stamp from the future counts as now."""
        captured_s = min(frame.captured_s, now_s)
        if frame.sequence <= self._sequence or not captured_s > self._captured_s:
            self.why = "no new frame"
            return
        self._sequence, self._captured_s = frame.sequence, captured_s
        if frame.digest == self._digest and not frame.rendered:
            self._repeated += 1
        else:
            self._digest, self._first_s, self._repeated = frame.digest, captured_s, 0
        self.why = f"same pixels {self._repeated + 1} times" if self._is_repeating else ""

    def age_s(self, now_s: float) -> float:
        """Return the age of the newest new picture; infinite before the first."""
        return now_s - (self._first_s if self._is_repeating else self._captured_s)

    def check(self, now_s: float, most_s: float) -> None:
        """Refuse an age above `most_s`.

        Raises:
            StaleFrameError: it is.
        """
        if (age_s := self.age_s(now_s)) > most_s:
            why = self.why or "no new frame"
            raise StaleFrameError(f"camera {self.name}: nothing new for {age_s:.2f} s ({why})")

    @property
    def _is_repeating(self) -> bool:
        return self._repeated >= self.repeats
