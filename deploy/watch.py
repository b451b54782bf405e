"""When something is wrong with an arm, or with what it is told by."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from robofb.deploy.arms.arm import ArmState
from robofb.deploy.pose import Pose, angle_between, difference, length
from robofb.errors import check_positive

_NO_UNIT = 1e-3  # by which a quaternion's length may be off


@dataclass(frozen=True)
class Watch:
    """When something is wrong.

    Attributes:
        stale_s: the arm's stamp stands still for longer: FAULT.
        lag_m, lag_rad: the arm is further than this from the set-point: FAULT.
        most_force_n: it feels more than this, where it feels at all: FAULT.
        refused: so many chunks in a row are refused: it stops.
        first_plan_s: no plan has come so long after `RUN`: HOLD.
        frozen_s: a camera shows nothing new for longer: HOLD.
        silent_s: the person's device says nothing for longer: HOLD.
        alone_s: the supervisor, to whom keys and buttons speak, shows no life for longer: it stops.
        lead_m, lead_rad: how far a person's target may be ahead of the set-point.
    """

    stale_s: float = 0.1
    lag_m: float = 0.1
    lag_rad: float = 0.6
    most_force_n: float = 40.0
    refused: int = 3
    first_plan_s: float = 5.0
    frozen_s: float = 0.2
    silent_s: float = 0.2
    alone_s: float = 1.0
    lead_m: float = 0.03
    lead_rad: float = 0.3

    def __post_init__(self) -> None:
        check_positive(self, *(each.name for each in fields(self)))


class ArmWatch:
    """Says what is wrong with an arm; remembers when its stamp last moved.

    Args:
        watch: what is too much.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._stamp: tuple[float, float] | None = None  # the arm's, and when it was new

    def wrong(self, state: ArmState, now_s: float, set_point: Pose | None) -> str:
        """Return what is wrong with an arm that was last sent `set_point`; empty where nothing is."""
        watch = self.watch
        if self._stamp is None or state.stamp != self._stamp[0]:
            self._stamp = (state.stamp, now_s)
        if state.fault:
            return f"the arm says {state.fault}"
        numbers = (state.stamp, *state.pose.position_m, *state.joints_rad, *(state.force_n or ()))
        if not all(map(math.isfinite, numbers)):
            return "the arm's state is not finite"
        if not abs(math.hypot(*state.pose.turn) - 1.0) < _NO_UNIT:
            return "the arm's orientation is none"
        if (old_s := now_s - self._stamp[1]) > watch.stale_s:
            return f"the arm said nothing new for {old_s:.2f} s"
        if state.force_n is not None and length(state.force_n) > watch.most_force_n:
            return f"the tool feels {length(state.force_n):.0f} N"
        if set_point is None:
            return ""
        behind = length(difference(state.pose.position_m, set_point.position_m))
        if behind > watch.lag_m:
            return f"the arm is {1000 * behind:.0f} mm from its set-point"
        turned = angle_between(state.pose.turn, set_point.turn)
        return f"the arm is {turned:.2f} rad from its set-point" if turned > watch.lag_rad else ""
