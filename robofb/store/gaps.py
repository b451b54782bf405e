"""Where more time passed between two observations of an episode than a control step takes."""

from __future__ import annotations

import numpy as np

GAP_INTERVALS = 1.6  # usual intervals: one lost frame makes two


def usual_interval(timestamps: np.ndarray, control_dt: float) -> float:
    """Return the time [s] between two observations at `timestamps` [s], of which there are two or more."""
    return max(control_dt, float(np.median(np.diff(timestamps))))


def find_gaps(timestamps: np.ndarray, control_dt: float) -> np.ndarray:
    """Return the observations (G,) int64 before which time was left out: frames were lost, or an arm held."""
    if len(timestamps) < 2:
        return np.zeros(0, np.int64)
    usual = usual_interval(timestamps, control_dt)
    return np.flatnonzero(np.diff(timestamps) > GAP_INTERVALS * usual) + 1
