"""What came to an arm is found in what it was told; bounds hold between set-points that are no neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from motion_bounds import shares_of
from soak_arm import CAME, TOLD, judged, matched

from robofb.deploy.limits import Limits
from robofb.deploy.pose import Pose

DOWN = (0.0, 1.0, 0.0, 0.0)
STOP = [np.nan] * 7


def row(time_s: float, x_m: float) -> list[float]:
    return [time_s, x_m, 0.0, 0.2, np.pi, 0.0, 0.0]


def test_what_came_is_found_in_order_and_no_earlier_than_it_was_told() -> None:
    told = np.array([row(0.00, 0.4), row(0.01, 0.4), row(0.02, 0.41), row(0.03, 0.42), STOP, row(0.05, 0.4)])
    came = np.array(
        [
            row(0.001, 0.4),
            row(0.011, 0.4),  # the same place, told twice
            row(0.012, 0.4),  # once more: it will be told again, but later
            row(0.031, 0.42),  # the one before it never came
            row(0.032, 0.41),  # too late: out of order
            row(0.033, 0.7),  # nobody said so
            row(0.051, 0.4),
        ]
    )
    rows, again, foreign = matched(told, came)
    assert rows == [0, 1, -1, 3, -1, -1, 5] and (again, foreign) == (1, 2)


def test_a_box_that_got_something_else_breaks_the_bounds(tmp_path) -> None:
    steps = [row(0.01 * number, 0.4 + 0.001 * number) for number in range(10)]  # 0.1 m/s of 0.25
    said, heard = np.array([*steps, STOP]), np.array([[each[0] + 0.002, *each[1:]] for each in steps])
    said.astype("<f8").tofile(tmp_path / TOLD)
    heard.astype("<f8").tofile(tmp_path / CAME)
    found = judged(tmp_path, Limits(), 0.01)
    assert found["violations"] == 0 and found["shares_of_bounds"]["speed"] == pytest.approx(0.4)
    assert found["set_points"]["age_ms"]["p50"] == pytest.approx(2.0)
    heard[5, 1] += 1e-9
    heard.astype("<f8").tofile(tmp_path / CAME)
    found = judged(tmp_path, Limits(), 0.01)
    assert found["violations"] == 1 and found["set_points"]["unknown"] == 1


def test_rates_between_periods_that_are_missing_are_those_of_the_way() -> None:
    periods = [0, 1, 2, 4, 5, 8, 9]  # of x = t^3 / 6 [m]: jerk 1, at each time between the first and last
    dt_s, limits = 0.1, Limits(max_jerk_m_s3=1.0, max_acceleration_m_s2=1.0, max_speed_m_s=1.0)
    poses = [Pose(((dt_s * period) ** 3 / 6, 0.0, 0.2), DOWN) for period in periods]
    shares = shares_of(poses, limits, dt_s, periods)
    assert shares["jerk"] == pytest.approx(1.0)  # the third difference of a cubic, however it is spaced
    assert shares["acceleration"] == pytest.approx((0.5 + 0.8 + 0.9) / 3)  # of a cubic: the mean of the times
    assert shares["speed"] == pytest.approx((0.9**3 - 0.8**3) / 6 / 0.1)
