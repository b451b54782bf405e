"""Hold set-points against the bounds that they were made within: rotations by scipy, rates by differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from robofb.deploy.limits import Limits
from robofb.deploy.pose import Pose


def largest(values: np.ndarray) -> float:
    """Return the length of the longest of some vectors (n, 3)."""
    return float(np.linalg.norm(values, axis=1).max())


def shares_of(
    poses: Sequence[Pose], limits: Limits, dt_s: float, periods: Sequence[int] | None = None
) -> dict[str, float]:
    """Return by name how much of each bound some set-points use; above 1 it is broken.

    Divided differences exceed no bound of a rate that was kept at every moment.

    Args:
        poses: one after the other.
        limits: the bounds.
        dt_s: a period.
        periods: the number of each pose's, ever higher; None where they follow each other at once.
    """
    times_s = dt_s * np.asarray(range(len(poses)) if periods is None else periods)
    places = np.array([pose.position_m for pose in poses])
    turns = Rotation.from_quat(np.array([pose.turn for pose in poses]), scalar_first=True)
    cosine = np.clip(turns.apply([0, 0, 1]) @ np.array(limits.tool_axis), -1, 1)
    middle, half = np.add(limits.low_m, limits.high_m) / 2, np.subtract(limits.high_m, limits.low_m) / 2
    shares = {
        "box": float((np.abs(places - middle) / half).max()),
        "tilt": float(np.arccos(cosine).max()) / limits.most_tilt_rad,
    }
    rates = {
        "": (
            np.diff(places, axis=0) / np.diff(times_s)[:, None],
            limits.max_speed_m_s,
            limits.max_acceleration_m_s2,
            limits.max_jerk_m_s3,
        ),
        "turn ": (
            (turns[1:] * turns[:-1].inv()).as_rotvec() / np.diff(times_s)[:, None],
            limits.max_turn_rad_s,
            limits.max_turn_acceleration_rad_s2,
            limits.max_turn_jerk_rad_s3,
        ),
    }
    for name, (rate, *bounds) in rates.items():
        for order, (what, most) in enumerate(zip(("speed", "acceleration", "jerk"), bounds, strict=True)):
            if order:
                rate = (
                    np.diff(rate, axis=0)
                    / ((times_s[order + 1 :] - times_s[: -order - 1]) / (order + 1))[:, None]
                )
            if len(rate):
                shares[name + what] = largest(rate) / most
    return shares


def assert_within(poses: Sequence[Pose], limits: Limits, dt_s: float) -> None:
    """Hold poses against all limits."""
    broken = {name: share for name, share in shares_of(poses, limits, dt_s).items() if share > 1 + 1e-6}
    assert not broken, broken
