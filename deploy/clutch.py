"""A person drives the tool from where it is: no jump where they take hold, and nothing runs ahead of it."""

from __future__ import annotations

import numpy as np

from robofb.deploy.pose import Pose, moved, toward, turned_toward
from robofb.types import TeleopCommand

_MOST = 1e3  # [m/s, rad/s] that nobody means


class Clutch:
    """Integrate a person's twists into a target that starts at the set-point and stays near it.

    Args:
        lead_m, lead_rad: how far the target may be ahead of the set-point; more would be worked off after the
            person let go.
    """

    def __init__(self, lead_m: float, lead_rad: float) -> None:
        self.lead_m, self.lead_rad = lead_m, lead_rad
        self._pose: Pose | None = None

    def release(self) -> None:
        """Forget the target: the next one starts from the set-point."""
        self._pose = None

    def drive(self, command: TeleopCommand | None, set_point: Pose, dt_s: float) -> Pose | None:
        """Return the target after `dt_s` of a command; None, which brakes, where there is no sound one."""
        if command is None or not (np.abs([*command.twist, command.gripper]) <= _MOST).all():
            self.release()
            return None
        vx, vy, vz, wx, wy, wz = (float(value) for value in command.twist)
        ahead = moved(self._pose or set_point, (vx, vy, vz), (wx, wy, wz), dt_s)
        place = toward(set_point.position_m, ahead.position_m, self.lead_m)
        self._pose = Pose(place, turned_toward(set_point.turn, ahead.turn, self.lead_rad))
        return self._pose
