"""Hold devices' clocks against this machine's, and this machine against the pace that it must keep."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robofb.deploy.live.process import Pace
from robofb.doctor import BROKEN, OK, Finding

ARM_DRIFT, CAMERA_DRIFT = 0.01, 0.001  # of a second in each; see `clock_finding`
MOST_LATE_PERIODS = 0.5  # of a wake-up or of a state, in 99 of 100
_COARSE_S = 0.001
_FEWEST = 5  # stamps from which anything follows
_SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")


@dataclass(frozen=True)
class Clock:
    """What a device's stamps tell of its clock, beside the times at which they arrived.

    Attributes:
        drift: seconds that it gains in a second of this machine's.
        drift_error: most of them that lateness alone explains: where the later half comes late by L over a
            time T, the line through all is wrong by 1.5 L / T.
        late_s: (p99, worst) by which a stamp arrived later than the earliest one, drift left out.
    """

    drift: float
    drift_error: float
    late_s: tuple[float, float]


def clock_of(stamps_s: Sequence[float], arrived_s: Sequence[float]) -> Clock:
    """Return what follows from stamps, by the straight line of least squares through them.

    Args:
        stamps_s: by the device's clock.
        arrived_s: by this machine's, as many.
    """
    here, there = np.subtract(arrived_s, arrived_s[0]), np.subtract(stamps_s, stamps_s[0])
    away = here - here.mean()
    rate = float(away @ there) / float(away @ away)
    left = there - there.mean() - rate * away
    late = left.max() - left
    worst = float(late.max())
    return Clock(rate - 1.0, 1.5 * worst / float(here[-1]), (float(np.quantile(late, 0.99)), worst))


def clock_finding(
    name: str, stamps: Sequence[float], arrived_s: Sequence[float], most_drift: float, patience_s: float
) -> Finding:
    """Return whether a device's clock is one to rely on.

    An arm whose clock runs at another rate moves as much faster or slower than set-points say, which come
    by this machine's clock. Pictures stamped by such a camera seem older and older, or never old. Whoever
    arrives later by half of what counts as dead will be taken for dead.

    Args:
        name: of the finding.
        stamps: the device's own, of what was new alone; whole numbers count what came, and tell no time.
        arrived_s: of each, by `time.monotonic`.
        most_drift: see `Clock.drift`. What lateness may explain is none.
        patience_s: after which a device that says nothing new is taken for dead.
    """
    steps = np.diff(stamps)
    if not np.isfinite(stamps).all():
        return Finding(name, BROKEN, "its stamps are no numbers", "another driver, or a mended device")
    if len(steps) == 0:
        return Finding(name, BROKEN, "it stands still", "start the device anew, or mend its link")
    back = -steps[steps < 0]
    if len(back):
        detail = f"it steps back {len(back)} times, by up to {back.max():.3f}"
        return Finding(name, BROKEN, detail, "two devices behind one name, or one that sets its clock")
    if (steps == np.round(steps)).all():
        return Finding(name, OK, "it counts what it sends, and tells no time")
    if len(stamps) < _FEWEST or arrived_s[-1] <= arrived_s[0]:
        return Finding(name, OK, f"{len(stamps)} stamps are too few to tell: look for longer by seconds=...")
    clock = clock_of(stamps, arrived_s)
    p99_s, worst_s = clock.late_s
    detail = (
        f"it gains {round(100 * clock.drift, 3) + 0.0:.3f} % (+- {100 * clock.drift_error:.3f}), "
        f"stamps arrive up to {1000 * worst_s:.1f} ms late, p99 {1000 * p99_s:.1f}"
    )
    if abs(clock.drift) - clock.drift_error > most_drift:
        return Finding(
            name, BROKEN, detail, f"more than {100 * most_drift:g} %: times and speeds would be wrong"
        )
    if p99_s > 0.5 * patience_s:
        return Finding(name, BROKEN, detail, f"more than half of {patience_s:g} s: a better link")
    coarse = clock.drift_error > most_drift
    return Finding(
        name, OK, f"{detail}; look for longer by seconds=... to tell the rate" if coarse else detail
    )


def latency_finding(hz: float, took_s: Sequence[float]) -> Finding:
    """Return whether an arm says its state in time for a control loop, with half a period to spare.

    Args:
        hz: of the loop.
        took_s: each state.
    """
    p99_s = float(np.quantile(took_s, 0.99))
    detail = f"a state takes {1000 * float(np.median(took_s)):.2f} ms, p99 {1000 * p99_s:.2f}"
    if p99_s > MOST_LATE_PERIODS / hz:
        return Finding("latency", BROKEN, detail, f"lower control_hz={hz:g}")
    return Finding("latency", OK, detail)


def late_wakes(hz: float, seconds: float) -> list[float]:
    """Return how late [s] a loop of `hz` turns a second woke each time, with nothing else to do."""
    pace, due_s = Pace(1.0 / hz), time.monotonic()
    late_s = []
    for _ in range(max(1, round(hz * seconds))):
        due_s = max(due_s + 1.0 / hz, time.monotonic())
        pace.wait()
        late_s.append(max(0.0, time.monotonic() - due_s))
    return late_s


def pace_finding(hz: float, late_s: Sequence[float]) -> Finding:
    """Return whether this machine keeps a control loop's pace.

    A loop that wakes late by half a period sends every set-point as much late, and the arm stutters.

    Args:
        hz: of the loop.
        late_s: see `late_wakes`.
    """
    resolution_s = time.get_clock_info("monotonic").resolution
    source = _SOURCE.read_text().strip() if _SOURCE.is_file() else "the system's"
    p99_s = float(np.quantile(late_s, 0.99))
    detail = (
        f"clock {source}, {hz:g} times a second: wakes {1000 * float(np.median(late_s)):.2f} ms late, "
        f"p99 {1000 * p99_s:.2f}, worst {1000 * max(late_s):.2f}"
    )
    if resolution_s > _COARSE_S:
        return Finding(
            "pace", BROKEN, detail, f"a clock that goes by {1000 * resolution_s:g} ms is too coarse"
        )
    if p99_s > MOST_LATE_PERIODS / hz:
        fix = f"more than half a period: end other programs, or lower control_hz={hz:g}"
        return Finding("pace", BROKEN, detail, fix)
    return Finding("pace", OK, detail)
