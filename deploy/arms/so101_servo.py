"""How a servo of the SO-101 stands to its joint, in the words of LeRobot's calibration file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from robofb.deploy.arms.so101_kinematics import LINKS, So101Kinematics
from robofb.errors import UserError

STEPS = 4096  # in a turn
_MARGIN_RAD = 0.02  # of the calibrated range: its ends are hard stops
_LEAST_RANGE = 200  # steps: no joint of this arm turns less
_BOUNDS = {
    "id": (0, 252),
    "drive_mode": (0, 1),
    "homing_offset": (-2047, 2047),
    "range_min": (0, STEPS - 1),
    "range_max": (0, STEPS - 1),
}


@dataclass(frozen=True)
class Servo:
    """What LeRobot's calibration says of one servo; positions are steps of the encoder, 4096 a turn.

    A joint's zero is the middle of its range, and its angle grows with the position.

    Attributes:
        id: on the bus.
        drive_mode: 1 where the angle falls as the position grows.
        homing_offset: that the servo itself takes off what its encoder says; the servo keeps it.
        range_min, range_max: positions at the joint's two ends.
    """

    id: int
    drive_mode: int
    homing_offset: int
    range_min: int
    range_max: int

    @staticmethod
    def of(joint: str, facts: Mapping[str, object]) -> Servo:
        """Return the servo of a joint.

        Raises:
            UserError: something is missing, unknown or impossible.
        """
        known = [field.name for field in fields(Servo)]
        if set(facts) != set(known):
            raise UserError(f"joints.{joint} has {', '.join(facts) or 'nothing'}: needs {', '.join(known)}")
        numbers: dict[str, int] = {}
        for name, (low, high) in _BOUNDS.items():
            value = facts[name]
            if type(value) is not int or not low <= value <= high:
                raise UserError(
                    f"joints.{joint}.{name}={value}: needs a whole number from {low} to {high};"
                    " copy it from the calibration of this very arm"
                )
            numbers[name] = value
        servo = Servo(**numbers)
        if servo.range_max - servo.range_min < _LEAST_RANGE:
            raise UserError(
                f"joints.{joint}.range_max={servo.range_max}: must lie at least {_LEAST_RANGE} steps above"
                f" range_min={servo.range_min}"
            )
        return servo

    @property
    def reach_rad(self) -> float:
        """How far it turns to either side of its zero."""
        return (self.range_max - self.range_min) * math.pi / STEPS

    def angle_rad(self, position: int) -> float:
        """Return the joint's angle at a position."""
        return self._sign * (position - self._middle) * 2 * math.pi / STEPS

    def position(self, angle_rad: float) -> int:
        """Return the position nearest to an angle, within the range."""
        return self._kept(self._middle + self._sign * angle_rad * STEPS / (2 * math.pi))

    def closed(self, position: int) -> float:
        """Return -1 (open) .. 1 (closed) of a gripper, which is closed at `range_min`."""
        share = 2 * (self._middle - position) / (self.range_max - self.range_min)
        return max(-1.0, min(1.0, self._sign * share))

    def closing(self, closed: float) -> int:
        """Return the position of a gripper that is to be open (-1) or closed (1)."""
        return self._kept(self._middle - self._sign * closed * 0.5 * (self.range_max - self.range_min))

    @property
    def _middle(self) -> float:
        return 0.5 * (self.range_min + self.range_max)

    @property
    def _sign(self) -> int:
        return -1 if self.drive_mode else 1

    def _kept(self, position: float) -> int:
        return max(self.range_min, min(self.range_max, round(position)))


def servos_of(joints: Mapping[str, Mapping[str, object]], names: Sequence[str]) -> dict[str, Servo]:
    """Return the servos of the named joints, in that order.

    Raises:
        UserError: `joints` has others, or something in them is impossible.
    """
    if set(joints) != set(names):
        raise UserError(f"joints has {', '.join(joints) or 'nothing'}: needs {', '.join(names)}")
    servos = {name: Servo.of(name, joints[name]) for name in names}
    owners: dict[int, str] = {}
    for name, servo in servos.items():
        if (owner := owners.setdefault(servo.id, name)) != name:
            raise UserError(f"joints.{name}.id={servo.id}: is {owner}'s already")
    return servos


def kinematics_of(servos: Sequence[Servo]) -> So101Kinematics:
    """Return the chain with the narrower of the model's limits and the calibrated ones."""
    reaches = [servo.reach_rad - _MARGIN_RAD for servo in servos]
    links = list(zip(LINKS.values(), reaches, strict=True))
    return So101Kinematics(
        [max(link.reach_rad[0], -reach) for link, reach in links],
        [min(link.reach_rad[1], reach) for link, reach in links],
    )


def checked_home(home_rad: Sequence[float], kinematics: So101Kinematics) -> Sequence[float]:
    """Return angles of home that the joints can take.

    Raises:
        UserError: they cannot.
    """
    if len(home_rad) != len(LINKS) or not all(map(math.isfinite, home_rad)):
        raise UserError(f"home_rad={list(home_rad)}: needs {len(LINKS)} finite numbers")
    for name, angle, low, high in zip(
        LINKS, home_rad, kinematics.lower_rad, kinematics.upper_rad, strict=True
    ):
        if not low <= angle <= high:
            raise UserError(
                f"home_rad: {name}={angle:g} is beyond what its joint reaches, {low:.2f} .. {high:.2f}"
            )
    return home_rad
