"""Time several ways of doing the same, in turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np


def medians_in_turns(
    ways: Mapping[str, Callable[[], object]],
    *,
    budget_s: float,
    min_rounds: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Return each way's median time [s], of the wall where no other clock is given.

    Args:
        ways: each does one round of the same work; a first round of all is not counted.
        budget_s: start no further round of all after this time, once there are enough.
        min_rounds: rounds of all that are enough.
        clock: returns seconds; `time.process_time` is not disturbed by other processes, and counts threads.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    started = time.perf_counter()
    for way in ways.values():
        way()
    while len(next(iter(times.values()))) < min_rounds or time.perf_counter() - started < budget_s:
        for name, way in ways.items():
            before = clock()
            way()
            times[name].append(clock() - before)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median and the 99th percentile [us]."""
    p50, p99 = np.percentile(seconds, [50, 99]) * 1e6
    return {"p50_us": float(p50), "p99_us": float(p99)}
