"""Hold set-points against the bounds that they were made within."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from robofb.deploy.limits import Limits
from robofb.deploy.pose import Pose


def largest(values: np.ndarray) -> float:
    return float(np.linalg.norm(values, axis=1).max())


def assert_within(poses: list[Pose], limits: Limits, dt_s: float) -> None:
    """Hold poses against all limits: rotations by scipy, rates by differences, which no rate can exceed."""
    places = np.array([pose.position_m for pose in poses])
    assert (places >= limits.low_m).all() and (places <= limits.high_m).all()
    turns = Rotation.from_quat(np.array([pose.turn for pose in poses]), scalar_first=True)
    cosine = np.clip(turns.apply([0, 0, 1]) @ np.array(limits.tool_axis), -1, 1)
    assert np.arccos(cosine).max() <= limits.most_tilt_rad + 1e-9
    speed = np.diff(places, axis=0) / dt_s
    turning = (turns[1:] * turns[:-1].inv()).as_rotvec() / dt_s
    for rate, bounds in (
        (speed, (limits.max_speed_m_s, limits.max_acceleration_m_s2, limits.max_jerk_m_s3)),
        (
            turning,
            (limits.max_turn_rad_s, limits.max_turn_acceleration_rad_s2, limits.max_turn_jerk_rad_s3),
        ),
    ):
        for order, most in enumerate(bounds):
            assert largest(np.diff(rate, n=order, axis=0) / dt_s**order) <= most * (1 + 1e-6), order
