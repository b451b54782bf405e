"""Follow a moving target within bounds of speed, acceleration and jerk, inside box and cone (Ruckig)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from robofb.deploy.arms.arm import ArmState
from robofb.deploy.joints import JointGuard
from robofb.deploy.limits import Limits
from robofb.deploy.pose import (
    Pose,
    Vector,
    between,
    moved,
    product,
    tilt,
    turn_of,
    upright,
)
from robofb.errors import UserError

BRAKED, UNSOLVED, NO_POSE = "braked before an edge", "braked for want of a way", "braked: no pose"
BRAKED_FOR = "braked before"  # a joint's limit, or a singularity
_AXES = 6  # three of the position, three of the orientation
_SHARE = 1.0 / math.sqrt(3.0)  # of a bound that each axis gets, so that the vector keeps it
_EDGE_M, _EDGE_RAD = 1e-5, 0.01  # targets stay so far inside: who arrives there need not brake
_MARGIN_RAD = 0.005  # of the cone: a brake's orientations are looked at here and there alone
_LOOKS = 6
_STILL = 1e-6
_NO_UNIT = 1e-3  # by which a quaternion's length may be off
_DUST = 1e-9  # rates and ways below are rounding, at which Ruckig gives up

Rates = Sequence[float]  # of six axes
_State = tuple[Pose, Rates, Rates]  # pose, speeds, accelerations


class MotionLimiter:
    """Make set-points, one every `dt_s`, that go after a target pose as fast as the limits allow.

    Position and orientation have speeds and accelerations of their own; the orientation's way is the rotation
    vector from the commanded to the wanted one in the base frame, taken anew at each step. A step is taken
    only where one could still brake after it without leaving box or cone, and where the joints, if there are
    limits of theirs, could take the tool to where it would rest. Else the tool brakes now, as it was found
    able to one step before: whatever the targets are, no set-point leaves.

    Args:
        limits: of the arm.
        dt_s: time between set-points [s].
        pose: the tool's, at rest.

    Attributes:
        pose: the last set-point.
        hindered: why it braked in place of going after the last target; empty where it did not.
        counts: how often it `BRAKED` before an edge, because no way was found (`UNSOLVED`), or because the
            target was none (`NO_POSE`): not finite, or not turned by a unit quaternion; and for which joint.

    Raises:
        UserError: the package ruckig is missing, or `pose` is outside box or cone.
    """

    pose: Pose
    hindered: str

    def __init__(self, limits: Limits, dt_s: float, pose: Pose) -> None:
        try:
            import ruckig
        except ImportError as error:
            raise UserError("ruckig is missing: pip install ruckig") from error
        self.limits, self.dt_s = limits, dt_s
        self.counts: Counter[str] = Counter()
        self._error = ruckig.RuckigError
        self._calculator = ruckig.Ruckig(_AXES)
        self._onward, self._brake_way = ruckig.Trajectory(_AXES), ruckig.Trajectory(_AXES)
        self._follow, self._brake = ruckig.InputParameter(_AXES), ruckig.InputParameter(_AXES)
        for bounds in (self._follow, self._brake):
            bounds.max_velocity = _each(limits.max_speed_m_s, limits.max_turn_rad_s)
            bounds.max_acceleration = _each(limits.max_acceleration_m_s2, limits.max_turn_acceleration_rad_s2)
            bounds.max_jerk = _each(limits.max_jerk_m_s3, limits.max_turn_jerk_rad_s3)
        self._guard = None if limits.joints is None else JointGuard(limits.joints)
        self._brake.control_interface = ruckig.ControlInterface.Velocity
        self._brake.synchronization = ruckig.Synchronization.No  # the same brake, begun anew, goes on alike
        self.reset(pose)

    def reset(self, pose: Pose) -> None:
        """Start anew, at rest.

        Raises:
            UserError: the pose is outside box or cone.
        """
        limits, tilted = self.limits, tilt(pose.turn, self.limits.tool_axis)
        if not self._in_box(pose.position_m) or tilted > limits.most_tilt_rad:
            raise UserError(
                f"the tool is at {_text(pose.position_m)} m, tilted by {tilted:.2f} rad: outside"
                f" low_m={_text(limits.low_m)} high_m={_text(limits.high_m)}"
                f" most_tilt_rad={limits.most_tilt_rad:g}; bring it inside by hand"
            )
        if self._guard is not None:
            self._guard.begin()
        self.pose, self.hindered = pose, ""
        self._speed: Rates = (0.0,) * _AXES
        self._acceleration: Rates = (0.0,) * _AXES

    @property
    def at_rest(self) -> bool:
        """Whether the set-points stand still, but for rounding."""
        return all(abs(rate) < _STILL for rate in (*self._speed, *self._acceleration))

    def see(self, state: ArmState) -> str:
        """Take in where the arm is, if its joints have limits; return what is wrong with them, or nothing."""
        return "" if self._guard is None else self._guard.see(state)

    def step(self, target: Pose | None) -> Pose:
        """Return the next set-point, on the way to `target`; None brakes.

        Raises:
            RuntimeError: not even a brake was found.
        """
        self.hindered = ""
        if target is not None and not _is_pose(target):
            self.hindered = NO_POSE
        elif target is not None:
            after = self._after(self._follow, self._onward, self._way_to(target))
            self.hindered = UNSOLVED if after is None else self._hindrance(*after)
            if after is not None and not self.hindered:
                self.pose, self._speed, self._acceleration = after
                return self.pose
        if self.hindered:
            self.counts[self.hindered] += 1
        braked = self._after(self._brake, self._brake_way, None)
        if braked is None:
            raise RuntimeError(f"no brake was found from {self._speed} at {self._acceleration}")
        self.pose, self._speed, self._acceleration = braked
        return self.pose

    def _way_to(self, target: Pose) -> list[float]:
        """Return where `target` is from here, kept inside: [m], then a rotation vector [rad]."""
        limits = self.limits
        place = [
            min(max(value, low + _EDGE_M), high - _EDGE_M)
            for value, low, high in zip(target.position_m, limits.low_m, limits.high_m, strict=True)
        ]
        turn = upright(target.turn, limits.tool_axis, max(0.0, limits.most_tilt_rad - _EDGE_RAD))
        ahead = [end - start for end, start in zip(place, self.pose.position_m, strict=True)]
        return [*ahead, *between(self.pose.turn, turn)]

    def _after(self, mode: Any, trajectory: Any, way: list[float] | None) -> _State | None:
        """Return the state one step on; None where there is no way there."""
        if not self._plan(mode, trajectory, self._speed, self._acceleration, way):
            return None
        ahead, speed, acceleration = trajectory.at_time(self.dt_s)[:3]
        return moved(self.pose, ahead[:3], ahead[3:]), _without_dust(speed), _without_dust(acceleration)

    def _plan(
        self, mode: Any, trajectory: Any, speed: Rates, acceleration: Rates, way: list[float] | None
    ) -> bool:
        """Compute a trajectory; return whether there is one."""
        mode.current_velocity, mode.current_acceleration = speed, acceleration
        if way is not None:
            mode.target_position = _without_dust(way)
        try:
            return int(self._calculator.calculate(mode, trajectory)) >= 0
        except self._error:
            return False

    def _hindrance(self, pose: Pose, speed: Rates, acceleration: Rates) -> str:
        """Return why a step there must not be taken; empty where it may."""
        if not self._can_brake(pose, speed, acceleration):
            return BRAKED
        if self._guard is None:
            return ""
        rested = self._brake_way.at_time(self._brake_way.duration)[0]
        hindrance = self._guard.hindrance(moved(pose, rested[:3], rested[3:]))
        return f"{BRAKED_FOR} {hindrance}" if hindrance else ""

    def _can_brake(self, pose: Pose, speed: Rates, acceleration: Rates) -> bool:
        """Return whether braking from here stays in box and cone; who is at its edge may come away."""
        if not self._plan(self._brake, self._brake_way, speed, acceleration, None):
            return False
        extremes = self._brake_way.position_extrema
        for value, bound, low, high in zip(
            pose.position_m, extremes[:3], self.limits.low_m, self.limits.high_m, strict=True
        ):
            if value + bound.min < low or value + bound.max > high:
                return False
        axis = self.limits.tool_axis
        most = max(self.limits.most_tilt_rad - _MARGIN_RAD, tilt(self.pose.turn, axis))
        furthest = math.hypot(*(max(-bound.min, bound.max) for bound in extremes[3:]))
        if tilt(pose.turn, axis) + furthest <= most:
            return True
        duration = self._brake_way.duration
        turn, before = pose.turn, (0.0, 0.0, 0.0)
        for look in range(1, _LOOKS + 1):
            now = self._brake_way.at_time(duration * look / _LOOKS)[0][3:]
            ahead = (now[0] - before[0], now[1] - before[1], now[2] - before[2])
            turn, before = product(turn_of(ahead), turn), now
            if tilt(turn, axis) > most:
                return False
        return True

    def _in_box(self, place: Vector) -> bool:
        corners = zip(place, self.limits.low_m, self.limits.high_m, strict=True)
        return all(low <= value <= high for value, low, high in corners)


def _each(linear: float, angular: float) -> list[float]:
    return [linear * _SHARE] * 3 + [angular * _SHARE] * 3


def _without_dust(values: Rates) -> list[float]:
    return [0.0 if abs(value) < _DUST else value for value in values]


def _is_pose(target: Pose) -> bool:
    return all(map(math.isfinite, target.position_m)) and abs(math.hypot(*target.turn) - 1.0) < _NO_UNIT


def _text(vector: Vector) -> str:
    return "[" + ", ".join(f"{value:.3f}" for value in vector) + "]"
