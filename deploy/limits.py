"""What an arm may be asked to do: a box, a cone, and how fast."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from robofb.deploy.joints import JointLimits
from robofb.deploy.pose import Vector, length
from robofb.errors import UserError, check_positive

LEAST_TILT_RAD = 0.02  # set-points keep off a cone's edge by nearly as much


@dataclass(frozen=True)
class Limits:
    """Bounds of commands, conservative by default. Positions and directions are in the base frame.

    Attributes:
        low_m, high_m: corners of the box that the tool's centre may be in.
        tool_axis: direction that the tool's z axis must stay around.
        most_tilt_rad: how far from it.
        max_speed_m_s, max_acceleration_m_s2, max_jerk_m_s3: of the tool's centre, lengths of vectors.
        max_turn_rad_s, max_turn_acceleration_rad_s2, max_turn_jerk_rad_s3: of its orientation.
        joints: of the arm's joints; None where it bounds them itself, or does not say where they are.
        absurd_m, absurd_rad: an action that lies further than this outside the box or cone, or from the one
            before it, is no slip but nonsense: the whole chunk is refused.

    Raises:
        UserError: names the value that no arm could work with.
    """

    low_m: Vector = (0.3, -0.3, 0.02)
    high_m: Vector = (0.65, 0.3, 0.5)
    tool_axis: Vector = (0.0, 0.0, -1.0)
    most_tilt_rad: float = 0.8
    max_speed_m_s: float = 0.25
    max_acceleration_m_s2: float = 1.5
    max_jerk_m_s3: float = 30.0
    max_turn_rad_s: float = 1.0
    max_turn_acceleration_rad_s2: float = 5.0
    max_turn_jerk_rad_s3: float = 100.0
    absurd_m: float = 0.5
    absurd_rad: float = 2.0
    joints: JointLimits | None = None

    def __post_init__(self) -> None:
        vectors = ("low_m", "high_m", "tool_axis")
        numbers = (each.name for each in fields(self) if each.name not in (*vectors, "joints"))
        for name in vectors:
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != 3 or not all(math.isfinite(value) for value in values):
                raise UserError(f"{name}={list(values)}: needs three finite numbers")
            object.__setattr__(self, name, values)  # lists of a config become what can be hashed
        check_positive(self, *numbers)
        if any(low >= high for low, high in zip(self.low_m, self.high_m, strict=True)):
            raise UserError(f"low_m={list(self.low_m)}: must lie below high_m={list(self.high_m)}")
        if not LEAST_TILT_RAD <= self.most_tilt_rad <= math.pi:
            raise UserError(f"most_tilt_rad={self.most_tilt_rad}: must be {LEAST_TILT_RAD} to pi")
        if self.joints is not None and not isinstance(self.joints, JointLimits):
            raise UserError(f"joints={self.joints!r}: needs the settings of JointLimits, or null")
        size = length(self.tool_axis)
        if size < 1e-6:
            raise UserError("tool_axis=[0, 0, 0]: needs a direction")
        object.__setattr__(self, "tool_axis", tuple(value / size for value in self.tool_axis))
