"""Where a viewer stands in one episode."""

from __future__ import annotations

import numpy as np


class Player:
    """Step through the observations of one episode, by hand or in its own time.

    Args:
        times_s: (T + 1,) never decreasing times of the observations [s].
        speed: episode seconds per second.

    Attributes:
        step: of the observation shown, 0..T.
        playing: whether time moves on in `tick`.
    """

    def __init__(self, times_s: np.ndarray, speed: float = 1.0) -> None:
        self._times_s = np.asarray(times_s, np.float64) - times_s[0]
        self.step, self.playing, self.speed = 0, False, speed
        self._now_s = 0.0

    @property
    def last(self) -> int:
        """T, the step of the last observation."""
        return len(self._times_s) - 1

    @property
    def time_s(self) -> float:
        """Time of the observation shown, since the first [s]."""
        return float(self._times_s[self.step])

    def seek(self, step: int) -> None:
        """Show a step, or the nearest that exists; playing ends at the last."""
        self.step = max(0, min(int(step), self.last))
        self._now_s = self.time_s
        self.playing = self.playing and self.step < self.last

    def move(self, steps: int) -> None:
        """Pause, and go on or back by some steps."""
        self.playing = False
        self.seek(self.step + steps)

    def toggle(self) -> None:
        """Play or pause; at the end play from the start."""
        self.playing = not self.playing
        if self.playing and self.step == self.last:
            self.seek(0)

    def tick(self, elapsed_s: float) -> None:
        """Let real time pass; playing, the last observation not after the new time is shown."""
        if not self.playing:
            return
        self._now_s += elapsed_s * self.speed
        shown = int(np.searchsorted(self._times_s, self._now_s + 1e-9, side="right")) - 1
        self.step = max(self.step, shown)
        self.playing = self.step < self.last
