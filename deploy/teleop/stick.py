"""What devices with sticks and caps share: the curve from deflection to speed."""

from __future__ import annotations

import numpy as np

from robofb.errors import UserError


def shape_deflection(deflection: np.ndarray, deadband: float, expo: float) -> np.ndarray:
    """Return speeds as shares of the fastest, of deflections -1..1.

    sign(d) * max((|d| - b) / (1 - b), 0)^e: zero within the band b, 1 at full deflection, finer near
    the middle for e > 1.
    """
    beyond = np.clip((np.abs(deflection) - deadband) / (1.0 - deadband), 0.0, 1.0)
    return np.sign(deflection) * beyond**expo


def check_speeds(device: str, speed_m_s: float, turn_rad_s: float) -> None:
    """Refuse speeds that are not positive numbers."""
    for name, value in (("speed_m_s", speed_m_s), ("turn_rad_s", turn_rad_s)):
        if not 0.0 < value < np.inf:
            raise UserError(f"teleop={device}: {name}={value} must be positive")


def check_curve(device: str, deadband: float, expo: float) -> None:
    """Refuse a curve that is not one."""
    if not 0.0 <= deadband < 1.0:
        raise UserError(f"teleop={device}: deadband={deadband} must lie in 0..1")
    if not 0.0 < expo < np.inf:
        raise UserError(f"teleop={device}: expo={expo} must be positive")
