"""What an arm's joints must do for a motion of its tool: limits and singularities, by its kinematics."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from robofb.deploy.arms.arm import ArmState
from robofb.deploy.kinematics import Chain, jacobian, least_singular
from robofb.deploy.pose import Pose, between, columns_of, difference
from robofb.errors import UserError, check_positive

_DAMPING = 0.01  # of the inverse; smaller than any singular value that is allowed
_AGREE_M, _AGREE_RAD = 0.01, 0.1  # by which the tool may wander in the last joint's frame
_SAME = 1e-9
SINGULAR = "a singularity"


@dataclass(frozen=True)
class JointLimits:
    """Bounds of rotary joints in a row, J of them.

    Attributes:
        chain: of each joint a [m], alpha [rad] and d [m], from the base on: modified Denavit-Hartenberg
            parameters (Craig, Introduction to Robotics, 1986), with angles that are those the arm says.
        low_rad, high_rad: J each.
        margin_rad: set-points keep each joint as far inside.
        least_singular: smallest singular value that the tool's Jacobian may have, its rows in [m] and [rad]
            per [rad]: a tool at speed v needs joints as fast as v / least_singular at most.

    Raises:
        UserError: names the value that no arm could have.
    """

    chain: tuple[tuple[float, float, float], ...]
    low_rad: tuple[float, ...]
    high_rad: tuple[float, ...]
    margin_rad: float = 0.1
    least_singular: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "chain", tuple(tuple(map(float, row)) for row in self.chain))
        for name in ("low_rad", "high_rad"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        if not self.chain or any(len(row) != 3 or not all(map(math.isfinite, row)) for row in self.chain):
            raise UserError(f"chain={self.chain}: needs a row of a, alpha and d for each joint")
        check_positive(self, "margin_rad", "least_singular")
        if not len(self.chain) == len(self.low_rad) == len(self.high_rad):
            raise UserError(f"chain, low_rad and high_rad: {len(self.chain)} joints need as many bounds each")
        for number, (low, high) in enumerate(zip(self.low_rad, self.high_rad, strict=True)):
            if not low + 2.0 * self.margin_rad < high:
                raise UserError(
                    f"low_rad, high_rad of joint {number}: [{low:g}, {high:g}] leaves no room"
                    f" with margin_rad={self.margin_rad:g}"
                )


class JointGuard:
    """Says whether the joints of an arm can take its tool somewhere near.

    Args:
        limits: of the joints.
    """

    def __init__(self, limits: JointLimits) -> None:
        self.limits = limits
        self._low = np.array(limits.low_rad) + limits.margin_rad
        self._high = np.array(limits.high_rad) - limits.margin_rad
        self._chain = Chain(limits.chain)
        self._held: tuple[np.ndarray, np.ndarray] | None = None  # where and how the last joint holds the tool
        self._seen: tuple[Pose, np.ndarray, np.ndarray] | None = None  # tool, joints, its Jacobian there

    def begin(self) -> None:
        """Forget what was seen: the tool may be another one now."""
        self._held = self._seen = None

    def see(self, state: ArmState) -> str:
        """Take in where the arm is; return why its joints cannot be those of the chain, or nothing."""
        if len(state.joints_rad) != len(self._chain):
            return f"the arm says {len(state.joints_rad)} joints, limits.joints has {len(self._chain)}"
        joints, place = np.array(state.joints_rad), np.array(state.pose.position_m)
        frames = self._chain.frames(joints)
        back = frames[-1, :3, :3].T
        held = back @ (place - frames[-1, :3, 3]), back @ np.transpose(columns_of(state.pose.turn))
        self._held = before = self._held or held
        away_m = float(np.linalg.norm(held[0] - before[0]))
        away_rad = math.acos(min(1.0, max(-1.0, 0.5 * (float((held[1] * before[1]).sum()) - 1.0))))
        if not (away_m <= _AGREE_M and away_rad <= _AGREE_RAD):
            away = f"{1000 * away_m:.0f} mm and {away_rad:.2f} rad"
            return f"tool and joints disagree by {away}: limits.joints.chain is another arm's"
        self._seen = state.pose, joints, jacobian(frames, place)
        return ""

    def room(self) -> tuple[str, float, float]:
        """Return the joint with least room, that room [rad], and the least singular value, as it was seen."""
        assert self._seen is not None
        _, joints, here = self._seen
        rooms = np.minimum(joints - self._low, self._high - joints)
        return f"joint_pos_{int(rooms.argmin())}", float(rooms.min()), least_singular(here)

    def hindrance(self, pose: Pose) -> str:
        """Return which joint, or `SINGULAR`, keeps the tool from a pose near where it was seen; or nothing.

        One damped step of Newton's method from there. Who is beyond a bound already may come nearer to it.
        """
        if self._seen is None:
            return "an arm that was not seen"
        tool, joints, here = self._seen
        way = (*difference(pose.position_m, tool.position_m), *between(tool.turn, pose.turn))
        weights = np.linalg.solve(here @ here.T + _DAMPING**2 * np.eye(6), way)
        after = joints + here.T @ weights
        worse = self._beyond(after) > self._beyond(joints) + _SAME
        if worse.any():
            return f"joint_pos_{int(worse.argmax())}"
        value = least_singular(jacobian(self._chain.frames(after), np.array(pose.position_m)))
        near = value < self.limits.least_singular
        return SINGULAR if near and value < least_singular(here) - _SAME else ""

    def _beyond(self, joints: np.ndarray) -> np.ndarray:
        """Return how far each joint is beyond what it may be (J,)."""
        return np.maximum(np.maximum(self._low - joints, joints - self._high), 0.0)
