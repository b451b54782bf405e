"""Limits that bound nothing that policies of simulated tasks do."""

from __future__ import annotations

import math

from robofb.deploy.limits import Limits

WIDE = Limits(
    low_m=(0.2, -0.45, 0.0),
    high_m=(0.8, 0.45, 0.6),
    most_tilt_rad=math.pi,
    max_speed_m_s=1.0,
    max_acceleration_m_s2=20.0,
    max_jerk_m_s3=1000.0,
    max_turn_rad_s=4.0,
    max_turn_acceleration_rad_s2=80.0,
    max_turn_jerk_rad_s3=4000.0,
)
