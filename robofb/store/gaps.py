"""Where more time passed between two observations of an episode than a control step takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

PAUSES = "pauses"  # of an episode's meta: how often nothing was recorded in it
GAP_INTERVALS = 1.6  # usual intervals: one lost frame makes two
HOLD_INTERVALS = 3.5  # a frame or two that were lost are no hold: a chunk across them is nearly right

_NONE = np.zeros(0, np.int64)


def usual_interval(timestamps: np.ndarray, control_dt: float) -> float:
    """Return the time [s] between two observations at `timestamps` [s], of which there are two or more.

    That of the quickest quarter: between most of them an arm may have been held.
    """
    return max(control_dt, float(np.quantile(np.diff(timestamps), 0.25, method="lower")))


def find_gaps(timestamps: np.ndarray, control_dt: float) -> np.ndarray:
    """Return the observations (G,) int64 before which time was left out: frames were lost, or an arm held."""
    if len(timestamps) < 2:
        return _NONE
    return _longer(timestamps, GAP_INTERVALS * usual_interval(timestamps, control_dt))


def find_holds(timestamps: np.ndarray, control_dt: float, meta: Mapping[str, Any]) -> np.ndarray:
    """Return the observations (G,) int64 before which an arm was held, or something of the kind.

    Args:
        timestamps: of an episode [s].
        control_dt: of its dataset [s].
        meta: of the episode. One that counts its pauses was recorded step by step: each gap is one of them.
    """
    if len(timestamps) < 2:
        return _NONE
    if num_pauses(meta):
        return _longer(timestamps, GAP_INTERVALS * control_dt)
    return _longer(timestamps, HOLD_INTERVALS * usual_interval(timestamps, control_dt))


def num_pauses(meta: Mapping[str, Any]) -> int | None:
    """Return how often nothing was recorded in an episode; None where its meta says nothing of it."""
    pauses = meta.get(PAUSES)  # whatever whoever wrote it meant
    return pauses if type(pauses) is int else None


def _longer(timestamps: np.ndarray, most_s: float) -> np.ndarray:
    return np.flatnonzero(np.diff(timestamps) > most_s) + 1
