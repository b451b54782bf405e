"""A policy goes the whole way of deployment in simulated time, and loses nothing on it."""

from __future__ import annotations

from contextlib import closing

import pytest
from wide_limits import WIDE

from robofb.deploy.arms.arm import ArmTarget, RobotArm
from robofb.deploy.arms.sim import SimArm
from robofb.deploy.controller import Controller
from robofb.deploy.limits import Limits
from robofb.deploy.modes import Mode
from robofb.deploy.planner import Planner
from robofb.deploy.rehearsal import Rehearsed, rehearse
from robofb.deploy.tick import Tick
from robofb.deploy.timeline import Timeline
from robofb.envs import make_task
from robofb.errors import UserError
from robofb.evaluate import evaluate
from robofb.sim.vec_env import SimVecEnv

TASK = make_task("one_leg_insert")
EPISODES, SEED, PARTS = 4, 7, 6


@pytest.fixture
def arm():
    with closing(SimArm(SimVecEnv(TASK, 1, autoreset=False), PARTS)) as made:
        yield made


def rehearsed(arm: SimArm, limits: Limits = WIDE, episodes: int = EPISODES, **settings) -> Rehearsed:
    def make() -> Controller:
        return Controller(arm, limits, arm.dt_s, arm.env.spec.control_dt, Timeline(execute=1))

    return rehearse(Planner(TASK.expert(1, 0.0)), arm, make, episodes, SEED, **settings)


def test_an_expert_succeeds_as_it_does_in_simulation(arm: SimArm) -> None:
    assert isinstance(arm, RobotArm)
    ticks: list[Tick] = []
    found = rehearsed(arm, watch=ticks.append)
    straight = evaluate(TASK.expert(4, 0.0), SimVecEnv(TASK, 4), EPISODES, SEED)
    assert found.success == [bool(each) for each in straight.success] == [True] * EPISODES
    assert found.ended == [] and len(ticks) == PARTS * sum(found.steps)
    assert found.counts["taken"] == sum(found.steps)
    assert {tick.mode for tick in ticks} == {Mode.POLICY}
    assert all(tick.sent is not None and tick.state is not None for tick in ticks)


def test_plans_that_come_half_a_step_late_are_good_enough(arm: SimArm) -> None:
    ticks: list[Tick] = []
    found = rehearsed(arm, episodes=2, late_parts=3, watch=ticks.append)
    assert found.success == [True, True]
    assert [tick.wanted is not None for tick in ticks[:5]] == [False, False, False, True, True]


def test_the_same_seed_moves_alike(arm: SimArm) -> None:
    ways = []
    for _ in range(2):
        ticks: list[Tick] = []
        rehearsed(arm, episodes=1, watch=ticks.append)
        ways.append([tick.sent for tick in ticks])
    assert ways[0] == ways[1]


def test_an_arm_that_starts_outside_its_box_gives_up_at_once(arm: SimArm) -> None:
    found = rehearsed(arm, Limits(low_m=(0.3, 0.1, 0.02)), episodes=1)
    assert found.success == [False] and found.steps == [0]
    assert found.ended[0].startswith("disarmed: the tool is at")


def test_nothing_is_commanded_after_an_episode(arm: SimArm) -> None:
    rehearsed(arm, episodes=1)
    time_s, stamp = arm.time_s, arm.state().stamp
    arm.command(ArmTarget(arm.home, -1.0))
    assert (arm.time_s, arm.state().stamp) == (time_s, stamp)


def test_what_cannot_be_an_arm_is_refused() -> None:
    with pytest.raises(UserError, match="parts=5: must divide the 12 steps of physics"):
        SimArm(SimVecEnv(TASK, 1, autoreset=False), 5)
    with pytest.raises(ValueError, match="one environment"):
        SimArm(SimVecEnv(TASK, 2, autoreset=False), 6)
    with pytest.raises(UserError, match="half_cheetah_vel has no arm"):
        SimArm(SimVecEnv(make_task("half_cheetah_vel"), 1, autoreset=False), 5)
