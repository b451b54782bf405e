"""What stamps tell of a clock, and wake-ups of a machine, by numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from robofb.deploy.clocks import clock_finding, clock_of, late_wakes, latency_finding, pace_finding
from robofb.doctor import BROKEN, OK, Finding

HERE_S = 100.0 + 0.01 * np.arange(200)  # two seconds


def found(stamps: np.ndarray, arrived_s: np.ndarray = HERE_S, patience_s: float = 0.1) -> Finding:
    return clock_finding("clock", stamps.tolist(), arrived_s.tolist(), 0.01, patience_s)


def test_a_rate_and_a_lateness_are_told_apart() -> None:
    """It gains 2 %; every other stamp comes 4 ms late, which are 4.08 of its own."""
    late_s = 0.004 * (np.arange(200) % 2)
    clock = clock_of(5.0 + 1.02 * HERE_S, HERE_S + late_s)
    assert clock.drift == pytest.approx(0.02, abs=1e-4)
    assert clock.late_s == pytest.approx((0.00408, 0.00408), rel=0.03)  # the line leans a little
    assert clock.drift_error == pytest.approx(1.5 * 0.00408 / 1.99, rel=0.03)


def test_stamps_that_are_no_numbers_are_broken() -> None:
    for odd in (np.nan, np.inf):
        stamps = HERE_S.copy()
        stamps[7] = odd
        assert found(stamps).status == BROKEN and found(stamps).detail == "its stamps are no numbers"


def test_who_cannot_tell_the_rate_says_so() -> None:
    """One stamp of a clock that gains 2 % comes 30 ms late: +- 1.5 x 30 ms / 2 s."""
    late = found(1.02 * HERE_S, HERE_S + 0.03 * (np.arange(200) == 100))
    assert late.status == OK and late.detail.endswith("look for longer by seconds=... to tell the rate")
    assert "too few" in found(HERE_S, np.full(200, 5.0)).detail


def test_what_lateness_explains_is_no_drift() -> None:
    """The later half comes 40 ms late: as if it lost 3 %, of 1.5 x 40 ms / 2 s."""
    arrived_s = HERE_S + 0.04 * (np.arange(200) >= 100)
    clock = clock_of(HERE_S, arrived_s)
    assert clock.drift == pytest.approx(-0.03, abs=0.001)
    assert found(HERE_S, arrived_s).status == OK


@pytest.mark.parametrize(
    ("stamps", "status", "detail"),
    [
        (HERE_S - 90.0, OK, "it gains 0.000 % (+- 0.000), stamps arrive up to 0.0 ms late, p99 0.0"),
        ((1.0 - 1e-9) * HERE_S, OK, "it gains 0.000 %"),
        (1.005 * HERE_S, OK, "it gains 0.500 %"),
        (1.05 * HERE_S, BROKEN, "it gains 5.000 %"),
        (0.95 * HERE_S, BROKEN, "it gains -5.000 %"),
        (np.where(HERE_S < 101.0, HERE_S, HERE_S - 0.5), BROKEN, "it steps back 1 times, by up to 0.490"),
        (HERE_S[:1], BROKEN, "it stands still"),
        (HERE_S[:4], OK, "4 stamps are too few to tell"),
        (np.arange(200.0), OK, "it counts what it sends, and tells no time"),
        (np.arange(200.0) % 50, BROKEN, "it steps back 3 times, by up to 49"),
    ],
)
def test_a_clock_is_judged(stamps: np.ndarray, status: str, detail: str) -> None:
    finding = found(stamps, HERE_S[: len(stamps)])
    assert finding.status == status and finding.detail.startswith(detail)
    assert bool(finding.fix) == (status == BROKEN)


def test_what_comes_late_by_half_of_what_counts_as_dead_is_too_late() -> None:
    """Three of a hundred stamps come 60 ms late."""
    arrived_s = HERE_S + 0.06 * (np.arange(200) % 33 == 5)
    assert found(HERE_S, arrived_s, patience_s=0.1).status == BROKEN
    assert found(HERE_S, arrived_s, patience_s=0.2).status == OK


def test_a_machine_keeps_a_pace_where_it_wakes_in_time() -> None:
    """Half a period of 100 Hz are 5 ms; one wake-up in a thousand may be worse."""
    fine = pace_finding(100.0, [0.001] * 999 + [0.2])
    assert fine.status == OK and fine.detail.endswith("wakes 1.00 ms late, p99 1.00, worst 200.00")
    poor = pace_finding(100.0, [0.001] * 90 + [0.006] * 10)
    assert poor.status == BROKEN and "control_hz=100" in poor.fix
    assert pace_finding(50.0, [0.006] * 10).status == OK


def test_an_arm_says_its_state_in_half_a_period() -> None:
    fine = latency_finding(100.0, [0.001] * 999 + [0.2])
    assert fine == Finding("latency", OK, "a state takes 1.00 ms, p99 1.00")
    poor = latency_finding(100.0, [0.001] * 90 + [0.006] * 10)
    assert poor == Finding("latency", BROKEN, "a state takes 1.00 ms, p99 6.00", "lower control_hz=100")
    assert latency_finding(50.0, [0.006] * 10).status == OK


def test_wake_ups_are_counted() -> None:
    late_s = late_wakes(200.0, 0.1)
    assert len(late_s) == 20 and min(late_s) >= 0.0
