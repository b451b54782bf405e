"""Plans in time: what is past is left out, and nothing jumps where one plan takes over."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robofb.deploy.pose import Pose, angle_between, difference, length, product, turn_of
from robofb.deploy.safety import Plan
from robofb.deploy.timeline import LATE, OLD_EPOCH, OUTRUN, TimedPlan, Timeline

DOWN = (0.0, 1.0, 0.0, 0.0)
DT_S = 0.1


def turned(angle: float) -> tuple[float, float, float, float]:
    return product(turn_of((0.0, 0.0, angle)), DOWN)


def plan(x: float, observed_s: float, *, epoch: int = 0, actions: int = 4, step: float = 0.01) -> TimedPlan:
    """Return a plan that starts at x and moves by `step` m and turns by 0.1 rad an action."""
    poses = [Pose((x + step * (k + 1), 0.0, 0.2), turned(0.1 * (k + 1))) for k in range(actions)]
    gripper = tuple(-1.0 if k < 2 else 1.0 for k in range(actions))
    return TimedPlan(epoch, observed_s, DT_S, Pose((x, 0.0, 0.2), DOWN), Plan(tuple(poses), gripper))


@pytest.mark.parametrize(
    ("now_s", "x", "angle", "gripper"),
    [
        (9.0, 0.40, 0.0, -1.0),  # before it begins
        (10.0, 0.40, 0.0, -1.0),
        (10.05, 0.405, 0.05, -1.0),
        (10.1, 0.41, 0.1, -1.0),
        (10.25, 0.425, 0.25, 1.0),
        (10.4, 0.44, 0.4, 1.0),
        (99.0, 0.44, 0.4, 1.0),  # its end is where it stays
    ],
)
def test_a_plan_is_straight_between_its_actions(now_s: float, x: float, angle: float, gripper: float) -> None:
    target = plan(0.4, 10.0).at(now_s)
    assert target.pose.position_m == pytest.approx((x, 0.0, 0.2), abs=1e-9)
    assert angle_between(target.pose.turn, turned(angle)) < 1e-7
    assert target.gripper == gripper


def test_a_late_plan_is_entered_where_it_is_by_now() -> None:
    timeline = Timeline(execute=4)
    assert timeline.target(10.0) is None
    assert timeline.take(plan(0.4, 10.0), 10.25) == ""
    target = timeline.target(10.25)
    assert target is not None and target.pose.position_m[0] == pytest.approx(0.425)


def test_one_plan_fades_into_the_next() -> None:
    """2 cm lie between them; half of that is left after half of the 0.2 s."""
    timeline = Timeline(execute=4, fade_s=0.2)
    timeline.take(plan(0.4, 10.0, step=0.0), 10.0)
    timeline.take(plan(0.42, 10.1, step=0.0), 10.2)
    x = [timeline.target(now_s).pose.position_m[0] for now_s in (10.2, 10.25, 10.3, 10.4, 10.45)]
    assert x == pytest.approx([0.40, 0.405, 0.41, 0.42, 0.42])


def test_plans_that_agree_are_one_way() -> None:
    """A chunk told anew at every action, each time without its past, is followed as if it were told once."""
    once, often = Timeline(execute=4), Timeline(execute=4)
    whole = plan(0.4, 10.0)
    once.take(whole, 10.0)
    for k in range(4):
        rest = Plan(whole.plan.poses[k:], whole.plan.gripper[k:])
        lagging = Pose((0.3, 0.0, 0.2), DOWN)  # where a slow arm was commanded to be
        start = whole.start if k == 0 else lagging
        assert often.take(TimedPlan(0, 10.0 + k * DT_S, DT_S, start, rest), 10.0 + k * DT_S + 0.03) == ""
        for now_s in np.arange(10.0 + k * DT_S + 0.03, 10.13 + k * DT_S, 0.01):
            a, b = once.target(now_s), often.target(now_s)
            assert a is not None and b is not None
            assert a.pose.position_m == pytest.approx(b.pose.position_m, abs=1e-9)
            assert angle_between(a.pose.turn, b.pose.turn) < 1e-7 and a.gripper == b.gripper


@given(st.lists(st.tuples(st.floats(0.02, 0.3), st.floats(0.3, 0.6)), min_size=2, max_size=8))
def test_nothing_jumps_however_plans_come(arrivals: list[tuple[float, float]]) -> None:
    """Within 1 ms a target moves by no more than its plan and the fade of all gaps so far can."""
    timeline, now_s, times = Timeline(execute=4, fade_s=0.2), 10.0, []
    for wait_s, x in arrivals:
        now_s += wait_s
        times.append((now_s, x))
    found = []
    coming = iter([*times, (math.inf, 0.0)])
    next_s, x = next(coming)
    for tick in range(int(1000 * (now_s - 10.0)) + 300):
        at_s = 10.0 + 0.001 * tick
        if at_s >= next_s:
            assert timeline.take(plan(x, next_s - 0.02), at_s) == ""
            next_s, x = next(coming)
        if (target := timeline.target(at_s)) is not None:
            found.append(target.pose)
    furthest = 0.34 + 0.04  # between any two plans
    steps = [length(difference(b.position_m, a.position_m)) for a, b in pairwise(found)]
    assert max(steps) <= 0.001 * (0.01 / DT_S + furthest / 0.2) + 1e-9
    turns = [angle_between(a.turn, b.turn) for a, b in pairwise(found)]
    assert max(turns) <= 0.001 * (0.1 / DT_S + 0.8 / 0.2) + 1e-7
    assert np.isfinite(steps).all()


def test_who_plans_no_more_is_followed_for_half_a_second_after_it_was_due() -> None:
    timeline = Timeline(execute=2)  # the next plan is due 0.2 s after what was observed
    timeline.take(plan(0.4, 10.0), 10.05)
    assert timeline.target(10.69) is not None
    assert timeline.target(10.71) is None


def test_plans_of_the_past_are_refused() -> None:
    timeline = Timeline(execute=4)
    assert timeline.take(plan(0.4, 10.0), 10.0) == ""
    assert timeline.take(plan(0.5, 10.0), 10.1) == OUTRUN
    assert timeline.take(plan(0.5, 10.1), 10.5) == LATE
    assert timeline.bump() == 1
    assert timeline.target(10.1) is None
    assert timeline.take(plan(0.5, 10.2), 10.25) == OLD_EPOCH
    assert timeline.take(plan(0.5, 9.9, epoch=1), 10.25) == ""  # a new epoch remembers no plan
    assert timeline.counts == {
        "taken": 2,
        f"refused: {OUTRUN}": 1,
        f"refused: {LATE}": 1,
        f"refused: {OLD_EPOCH}": 1,
    }
