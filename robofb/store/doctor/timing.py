"""Timestamps: order, repeats, gaps and the rate they really have."""

from __future__ import annotations

import numpy as np

from robofb.store.doctor.finding import ERROR, WARNING, EpisodeCheck, Finding, runs
from robofb.store.doctor.recorded import Recorded
from robofb.store.gaps import GAP_INTERVALS, find_gaps, find_holds, num_pauses, usual_interval

BACKWARDS, NO_NEW_FRAME, GAP, DRIFT = "time_backwards", "no_new_frame", "time_gap", "rate_drift"

RATE_ERROR = 0.02  # share by which the measured rate may differ from the declared one


def check_order(recorded: Recorded) -> list[Finding]:
    """Find time that runs backwards, stands still (no new observation came) or leaps."""
    time = recorded.arrays.get("timestamp")
    if time is None:
        return []
    intervals = np.diff(time)
    number, findings = recorded.number, []
    for step in np.flatnonzero(intervals < 0).tolist():
        text = f"the timestamp falls from {time[step]:.6f} s to {time[step + 1]:.6f} s"
        findings.append(Finding(BACKWARDS, ERROR, number, (step + 1, step + 1), "timestamp", text))
    for first, last in runs(intervals == 0):
        text = f"{last - first + 1} observations have the timestamp of the one before, {time[first]:.6f} s"
        text += _repeated(recorded, first, last)
        findings.append(Finding(NO_NEW_FRAME, ERROR, number, (first + 1, last + 1), "timestamp", text))
    return findings + _gaps(recorded, time)


def _gaps(recorded: Recorded, time: np.ndarray) -> list[Finding]:
    """Find leaps of time; where its recorder says that the arm was held as often, that is no fault of it."""
    pauses, dt = num_pauses(recorded.meta), recorded.spec.control_dt
    gaps = find_holds(time, dt, recorded.meta) if pauses else find_gaps(time, dt)
    held, usual = len(gaps) <= (pauses or 0), dt if pauses else usual_interval(time, dt)
    return [
        Finding(
            GAP,
            WARNING if held else ERROR,
            recorded.number,
            (frame, frame),
            "timestamp",
            f"{time[frame] - time[frame - 1]:.3f} s between two observations, usually {usual:.3f} s"
            + ("; the arm was held, and windows end there" if held else ""),
        )
        for frame in gaps.tolist()
    ]


def _repeated(recorded: Recorded, first: int, last: int) -> str:
    """Return which images show no new pixels in observations first + 1 .. last + 1 either."""
    frozen = [
        key
        for key, frames in recorded.images().items()
        if (frames[first + 1 : last + 2] == frames[first]).all()
    ]
    return f"; {', '.join(frozen)} repeats its pixels" if frozen else ""


def interval(recorded: Recorded) -> float | None:
    """Return the mean time between observations [s], without gaps and steps that are not forward."""
    time = recorded.arrays.get("timestamp")
    if time is None:
        return None
    intervals = np.diff(time)
    usual = usual_interval(time, recorded.spec.control_dt)
    regular = intervals[(intervals > 0) & (intervals <= GAP_INTERVALS * usual)]
    return float(regular.mean()) if len(regular) else None


def check_rate(recorded: Recorded) -> list[Finding]:
    """Find episodes whose timestamps run at another rate than the dataset declares."""
    measured, declared = interval(recorded), recorded.spec.control_dt
    if measured is None or abs(measured / declared - 1.0) <= RATE_ERROR:
        return []
    late = (measured - declared) * recorded.length
    text = (
        f"{1 / measured:.2f} Hz by timestamps, {1 / declared:.2f} Hz declared:"
        f" {abs(late):.2f} s {'late' if late > 0 else 'early'} at the end"
    )
    return [Finding(DRIFT, ERROR, recorded.number, None, "timestamp", text)]


ORDER_CHECK = EpisodeCheck("time", check_order)
RATE_CHECK = EpisodeCheck("rate", check_rate)
