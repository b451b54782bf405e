"""What the contract suite of vector envs does not ask of envs in batched torch."""

import io

import numpy as np
import pytest
import torch
from torch_point import TorchPoint

from robofb.envs.teacher.lava_crossing import LavaCrossing
from robofb.envs.teacher.tiger_door import TigerDoor
from robofb.errors import UserError
from robofb.sim.torch_env import Outcome, TorchTask


def wander(env, num_steps):
    """Step with actions that depend on an episode's number and its step alone; return what happened.

    Returns:
        Reward, whether it ended, and the sums of the observations, by the number of the episode and its step.
    """
    rows = {}
    for _ in range(num_steps):
        steps = env._numbers.length
        if env.spec.action.dtype == "int64":
            choices = int(env.spec.action.high[0]) + 1
            action = ((env.episode * 7 + steps * 5 + steps // 3) % choices)[:, None]
        else:
            action = torch.stack([torch.sin(env.episode + steps * 0.3), torch.cos(env.episode + 0.1)], 1)
        step = env.step(action)
        for row in range(env.num_envs):
            seen = tuple(float(step.final_obs[key][row].double().sum()) for key in step.final_obs)
            key = (int(step.info["episode"][row]), int(step.info["length"][row]))
            rows[key] = (float(step.reward[row]), bool(step.done[row]), seen)
    return rows


@pytest.mark.parametrize("task", [TorchPoint(9), TigerDoor(9), LavaCrossing(max_steps=9)])
def test_an_episodes_course_does_not_depend_on_the_number_of_envs(task):
    """Chance of every step included, which the point's wind is."""
    courses = []
    for num_envs, num_steps in ((1, 20 * 9), (64, 10)):
        env = task.make_env(num_envs)
        env.reset(3)
        courses.append(wander(env, num_steps))
    common = courses[0].keys() & courses[1].keys()
    assert len(common) > 100
    assert all(courses[0][key] == courses[1][key] for key in common)


def test_many_more_episodes_than_are_drawn_at_once():
    """Episodes 0 to 600 of one env are those of three hundred envs."""
    one, many = (LavaCrossing(max_steps=1).make_env(num_envs) for num_envs in (1, 300))
    shown = [one.reset(0)["grid"][0]]
    for _ in range(599):
        shown.append(one.step(torch.tensor([[0]])).obs["grid"][0])
    first = many.reset(0)["grid"]
    then = many.step(torch.zeros(300, 1, dtype=torch.int64)).obs["grid"]
    assert torch.equal(torch.stack(shown), torch.cat([first, then]))
    assert one.episode.tolist() == [599]


@pytest.mark.parametrize("task", [TorchPoint(9), TigerDoor(9), LavaCrossing(max_steps=9)])
def test_resume_is_exact(task):
    env = task.make_env(5)
    env.reset(11)
    wander(env, 13)
    saved = io.BytesIO()
    torch.save(env.state_dict(), saved)
    kept = env.state_dict()
    expected = wander(env, 25)
    saved.seek(0)
    for state in (torch.load(saved, weights_only=True), kept):  # what was told stays as it was
        again = task.make_env(5)
        obs = again.load_state_dict(state)
        shown = again.task.observe(again.state)
        assert all(torch.equal(obs[key], shown[key]) for key in obs)
        assert wander(again, 25) == expected


def test_without_autoreset_a_world_stays_where_it_ended():
    env = TigerDoor().make_env(2)
    env.autoreset = False
    env.reset(0)
    for move in (2, 2, 1, 1, 0, 1, 1):
        step = env.step(torch.tensor([[move], [0]]))
    assert step.terminated.tolist() == [True, False] and env.episode.tolist() == [0, 1]
    assert all(torch.equal(step.obs[key], step.final_obs[key]) for key in step.obs)


class Counter(TorchTask):
    """Counts up to the action; succeeds at 2 without an end, and never moves the state it shows."""

    def __init__(self):
        self.spec, self.device = TorchPoint().spec, torch.device("cpu")

    def start(self, rng):
        return {"count": torch.zeros(len(rng))}

    def advance(self, state, action, rng):
        count = state["count"] + 1
        return Outcome({"count": count}, 0.5 * count, torch.zeros_like(count, dtype=torch.bool), count == 2)

    def observe(self, state):
        return {"state": state["count"][:, None].repeat(1, 4)}


def test_a_success_that_ends_nothing_is_remembered_and_returns_add_up():
    env = Counter().make_env(1)
    env.reset(0)
    told = [env.step(torch.zeros(1, 2)).info for _ in range(3)]
    assert [bool(info["success"]) for info in told] == [False, True, False]
    assert [int(info["stage"]) for info in told] == [0, 1, 1]
    assert [float(info["return"]) for info in told] == [0.5, 1.5, 3.0]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (torch.tensor([[0], [4], [-1]]), r"none of the choices 0 to 3 in envs \[1, 2\]"),
        (torch.zeros(3, 1), "must be int64, one of 4 choices, not torch.float32"),
        (torch.zeros(3, 2, dtype=torch.int64), "must have shape"),
    ],
)
def test_what_is_no_choice_is_refused(action, message):
    env = TigerDoor().make_env(3)
    env.reset(0)
    with pytest.raises(ValueError, match=message):
        env.step(action)
    assert env.step(torch.zeros(3, 1, dtype=torch.int64)).info["length"].tolist() == [1, 1, 1]


def test_pictures_grow_by_whole_factors_and_worlds_without_any_say_so():
    env = TigerDoor().make_env(2)
    env.reset(0)
    with env.renderer(240, 272) as renderer:
        large = renderer.frame(1)
    with env.renderer(10, 10) as renderer:
        small = renderer.frame(1)
    assert small.shape == (112, 112, 3) and small.dtype == np.uint8  # 7 cells of 16 pixels
    assert np.array_equal(large, small.repeat(2, 0).repeat(2, 1))
    point = TorchPoint().make_env(1)
    point.reset(0)
    with point.renderer(10, 10) as renderer, pytest.raises(UserError, match="torch_point cannot be filmed"):
        renderer.frame(0)
