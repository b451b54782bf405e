"""Two boxes: what shows from where, and that to copy the teacher is right half of the time."""

import pytest
import torch
from taught_rollouts import one_thread, play, rate
from taught_rules import SIDES, look_then_reach, on_average

from robofb.envs.teacher.two_boxes import LEFT_Y_M, VIEW_HEIGHT_M, VIEW_X_M, TwoBoxes
from robofb.sim.vec_env import SimVecEnv
from robofb.types import PRIVILEGED

ONE = torch.tensor([0])
STAY = torch.zeros(1, 3)


@pytest.fixture(scope="module")
def task():
    return TwoBoxes()


@pytest.fixture
def env(task):
    """One world with the ball in the left box."""
    env = SimVecEnv(task, 1, one_thread)
    for seed in range(20):
        if env.reset(seed)[PRIVILEGED].item() == 1:
            return env
    raise AssertionError("the left box was never drawn in 20 episodes")


def put(env, x, y, z):
    """Put the TCP there, from the middle of the rims; return what is seen."""
    env.task.place_hand(env.engine, ONE, torch.tensor([[x, y, z]]))
    env.engine.forward(ONE)
    return env.task.observe(env.engine)["state"][0]


@pytest.mark.parametrize(
    ("place", "success", "failure"),
    [
        ((0.0, LEFT_Y_M, 0.0110), False, False),  # the pads end 10.5 mm below the TCP
        ((0.0, LEFT_Y_M, 0.0100), True, False),
        ((0.0, -LEFT_Y_M, 0.0100), False, True),
        ((0.05, 0.001, 0.0100), True, False),  # the wall that they share: the nearer box counts
        ((-0.12, LEFT_Y_M, 0.0100), False, False),  # in front of the boxes
    ],
)
def test_the_box_below_whose_rim_the_fingers_reach_counts(env, place, success, failure):
    put(env, *place)
    score = env.task.score(env.engine)
    assert (score.success.item(), score.failure.item()) == (success, failure)
    assert score.achieved.item() == float(success) and (score.stage.item() == 2) == success


def test_the_ball_shows_only_from_behind_and_above_and_stays_known(env):
    assert put(env, 0.0, 0.0, 0.25)[9] == 0
    assert put(env, VIEW_X_M - 0.01, 0.0, VIEW_HEIGHT_M - 0.01)[9] == 0
    assert put(env, VIEW_X_M + 0.01, 0.0, VIEW_HEIGHT_M + 0.01)[9] == 0
    env.step(STAY)
    assert env.task.observe(env.engine)["state"][0, 9] == 0
    assert put(env, VIEW_X_M - 0.02, 0.0, VIEW_HEIGHT_M + 0.02)[9] == 1
    assert env.step(STAY).obs["state"][0, 9] == 1
    assert put(env, 0.0, 0.0, 0.15)[9] == 1
    saved = env.engine.snapshot()
    assert env.reset(0)["state"][0, 9] == 0
    env.engine.restore(ONE, saved)
    assert env.task.observe(env.engine)["state"][0, 9] == 1


def test_what_is_seen_is_true_on_both_sides(task):
    env = SimVecEnv(task, 32, one_thread)
    side = env.reset(1)[PRIVILEGED][:, 0]
    assert set(side.tolist()) == {1.0, -1.0}
    place = torch.tensor([[-0.16, 0.0, 0.23]]).expand(32, -1)
    task.place_hand(env.engine, torch.arange(32), place)
    env.engine.forward(torch.arange(32))
    assert torch.equal(task.observe(env.engine)["state"][:, 9], side)


def test_balls_are_hidden_evenly(task):
    """Three deviations of 512 fair draws are 0.066."""
    side = SimVecEnv(task, 512, one_thread).reset(0)[PRIVILEGED]
    assert abs((side > 0).float().mean() - 0.5) < 0.067


def test_the_teacher_never_looks_and_is_always_right(task):
    found = play(task, task.teacher().answer, 64)
    assert found["success"].all() and not found["looked"].any()


def test_who_averages_the_teachers_answers_is_right_half_of_the_time(task):
    """256 episodes: a fair coin's three deviations are 0.094."""
    assert rate(task, on_average(task, SIDES), 256) == pytest.approx(0.5, abs=0.094)


def test_to_look_first_is_always_right(task):
    found = play(task, look_then_reach(task.teacher()), 64)
    assert found["success"].float().mean() > 0.95 and found["looked"].all()
