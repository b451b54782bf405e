"""Where the tool should be now: plans in time, late parts left out, one faded into the next.

A plan was made from an observation that is old by the time it arrives. Its actions keep the times that they
were meant for: what lies in the past is never done, and the arm goes on where the plan says it is by now.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from robofb.deploy.pose import Pose, Vector, between, blend, difference, moved
from robofb.deploy.safety import Plan

OLD_EPOCH, OUTRUN, LATE = "of an old epoch", "older than the one followed", "too late: all of it is past"


class Target(NamedTuple):
    """What is wanted of the arm at one moment.

    Attributes:
        pose: of the tool.
        gripper: -1 (open) .. 1 (closed).
    """

    pose: Pose
    gripper: float


class TimedPlan(NamedTuple):
    """A plan that passed the gate, in time.

    Attributes:
        epoch: in which it was asked for; see `Timeline.bump`.
        observed_s: when what it was made from was seen.
        dt_s: between its actions: the first ends its step at `observed_s + dt_s`.
        start: the commanded pose at `observed_s`. The plan that follows another gets one from `Timeline`.
        plan: poses and gripper.
    """

    epoch: int
    observed_s: float
    dt_s: float
    start: Pose
    plan: Plan

    @property
    def ends_s(self) -> float:
        """When the last action should have been reached."""
        return self.observed_s + self.dt_s * len(self.plan.poses)

    def at(self, now_s: float) -> Target:
        """Return where the plan is at a time: straight between two actions, at rest before and after.

        The gripper does what the step that is under way says.
        """
        steps = (now_s - self.observed_s) / self.dt_s
        index = min(max(int(steps), 0), len(self.plan.poses) - 1)
        before = self.plan.poses[index - 1] if index else self.start
        share = min(max(steps - index, 0.0), 1.0)
        return Target(blend(before, self.plan.poses[index], share), self.plan.gripper[index])


class Timeline:
    """Follow the newest plan of the present epoch, without a jump where it takes over from the one before.

    What lies between the two when the newer one comes is worked off evenly in `fade_s`.

    Args:
        execute: Ta, actions of a plan after which the next one is due.
        fade_s: how long one plan fades into the next.
        patience_s: how long after a plan was due the old one is still followed.

    Attributes:
        epoch: plans of another one are refused.
        counts: plans "taken", and "refused: <why>".
    """

    def __init__(self, execute: int, *, fade_s: float = 0.1, patience_s: float = 0.5) -> None:
        self.execute, self.fade_s, self.patience_s = execute, fade_s, patience_s
        self.epoch = 0
        self.counts: Counter[str] = Counter()
        self._plan: TimedPlan | None = None
        self._gap: tuple[Vector, Vector] | None = None  # from this plan to what was wanted when it came
        self._since_s = 0.0

    def bump(self) -> int:
        """Begin a new epoch, in which no plan is followed yet; return its number."""
        self.epoch += 1
        self._plan = self._gap = None
        return self.epoch

    @property
    def follows(self) -> bool:
        """Whether a plan was taken in this epoch."""
        return self._plan is not None

    @property
    def observed_s(self) -> float:
        """When what the plan was made from was seen; NaN where none is followed."""
        return math.nan if self._plan is None else self._plan.observed_s

    def take(self, plan: TimedPlan, now_s: float) -> str:
        """Follow `plan` from now on; return why not, empty where it is followed."""
        refused = self._refused(plan, now_s)
        self.counts[f"refused: {refused}" if refused else "taken"] += 1
        if not refused:
            if self._plan is not None:
                plan = plan._replace(start=_as_parallel(plan, self._plan))
            before, ahead = self.target(now_s), plan.at(now_s)
            self._gap = None if before is None else _gap(ahead.pose, before.pose)
            self._plan, self._since_s = plan, now_s
        return refused

    def target(self, now_s: float) -> Target | None:
        """Return what is wanted now; None where there is no plan, or a far too old one."""
        plan = self._plan
        if plan is None or now_s > self.due_s(plan) + self.patience_s:
            return None
        wanted = plan.at(now_s)
        left = 1.0 - (now_s - self._since_s) / self.fade_s if self.fade_s > 0 else 0.0
        if self._gap is None or left <= 0.0:
            return wanted
        return Target(moved(wanted.pose, *self._gap, min(left, 1.0)), wanted.gripper)

    def due_s(self, plan: TimedPlan) -> float:
        """Return when the plan after this one should be there."""
        return plan.observed_s + plan.dt_s * self.execute

    def _refused(self, plan: TimedPlan, now_s: float) -> str:
        if plan.epoch != self.epoch:
            return OLD_EPOCH
        if self._plan is not None and plan.observed_s <= self._plan.observed_s:
            return OUTRUN
        return LATE if now_s >= plan.ends_s else ""


def _as_parallel(plan: TimedPlan, before: TimedPlan) -> Pose:
    """Return where `plan` must start for its first step to be that of the plan before it, beside which it is.

    Plans that agree are then one way, however far the arm lags behind them.
    """
    step = _gap(*(before.at(time_s).pose for time_s in (plan.observed_s, plan.observed_s + plan.dt_s)))
    return moved(plan.plan.poses[0], *step, -1.0)


def _gap(start: Pose, end: Pose) -> tuple[Vector, Vector]:
    """Return the way [m] and the turn [rad] from one pose to another, in the base frame."""
    return difference(end.position_m, start.position_m), between(start.turn, end.turn)
