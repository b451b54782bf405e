"""Tiger Door, walked by hand."""

import math

import pytest
import torch
from walks import fewest_steps, success_of_average_answers, walk

from robofb.envs.teacher.shortest_path import SMOOTHING
from robofb.envs.teacher.tiger_door import PLANES, TigerDoor
from robofb.interfaces import EnvMaker, TaughtTask, Teacher
from robofb.types import PRIVILEGED, num_choices

UP, RIGHT, DOWN, LEFT = range(4)
DIRECT = [DOWN, DOWN, RIGHT, RIGHT, UP, RIGHT, RIGHT]  # to the upper door
BY_BUTTON = [DOWN, DOWN, DOWN, UP, RIGHT, RIGHT, UP, RIGHT, RIGHT]
MAP = ["#######", "#.#####", "#.#...#", "#...###", "#.#...#", "#######", "#######"]


def started(goal_door):
    """Return an env of one world with the goal behind this door (0 upper, 1 lower), and what is seen."""
    env = TigerDoor().make_env(1)
    for seed in range(20):
        obs = env.reset(seed)
        if obs[PRIVILEGED][0, 0] == goal_door:
            return env, obs
    raise AssertionError("one side was never drawn in 20 episodes")


def cells(grid, plane):
    """Return the cells (x, y) of a plane."""
    return [(x, y) for y, x in grid[PLANES.index(plane)].nonzero().tolist()]


def test_the_direct_way_takes_7_moves_and_returns_86():
    env, _ = started(0)
    steps = walk(env, DIRECT)
    assert [float(step.reward) for step in steps] == [-2.0] * 6 + [98.0]
    assert steps[-1].info["return"] == 86.0 and steps[-1].info["success"] and steps[-1].terminated


def test_the_way_by_the_button_takes_9_moves_and_returns_82():
    env, _ = started(0)
    steps = walk(env, BY_BUTTON)
    assert steps[-1].info["return"] == 82.0 and steps[-1].info["length"] == 9 and steps[-1].terminated
    assert not any(step.done for step in steps[:-1])


def test_the_wrong_door_is_lava():
    env, _ = started(1)
    last = walk(env, DIRECT)[-1]
    assert last.reward == -102.0 and last.terminated and not last.info["success"]
    assert last.info["stage"] == 0 and last.info["return"] == -114.0


@pytest.mark.parametrize("goal_door", [0, 1])
def test_doors_look_alike_until_the_button_is_stepped_on(goal_door):
    env, first = started(goal_door)
    doors = [(5, 2), (5, 4)]
    steps = walk(env, BY_BUTTON[:4])
    for obs in (first, steps[0].obs, steps[1].obs):
        assert cells(obs["grid"][0], "unknown") == doors
        assert cells(obs["grid"][0], "goal") == cells(obs["grid"][0], "lava") == []
    for step in steps[2:]:  # and from then on, also off the button
        grid = step.obs["grid"][0]
        assert cells(grid, "unknown") == []
        assert cells(grid, "goal") == [doors[goal_door]] and cells(grid, "lava") == [doors[1 - goal_door]]
    assert [cells(step.obs["grid"][0], "agent") for step in steps] == [[(1, 2)], [(1, 3)], [(1, 4)], [(1, 3)]]


def test_the_students_view_holds_no_trace_of_the_hidden_side():
    """Of two worlds that differ in it alone, until the button."""
    upper, lower = started(0), started(1)
    assert torch.equal(upper[1]["grid"], lower[1]["grid"])
    for step, other in zip(walk(upper[0], DIRECT[:6]), walk(lower[0], DIRECT[:6]), strict=True):
        assert torch.equal(step.obs["grid"], other.obs["grid"])
        assert not torch.equal(step.obs[PRIVILEGED], other.obs[PRIVILEGED])


def test_the_map_is_the_papers():
    _, obs = started(0)
    grid = obs["grid"][0]
    assert sorted(cells(grid, "free")) == sorted(
        [(1, 1), (1, 2), (1, 3), (2, 3), (3, 2), (3, 3), (3, 4), (4, 2), (4, 4)]
    )
    assert cells(grid, "button") == [(1, 4)] and cells(grid, "agent") == [(1, 1)]
    assert (grid[:-1].sum(0) == 1).all()  # each cell is one thing, beside the agent


def test_both_sides_are_as_likely():
    env = TigerDoor().make_env(4000)
    share = float(env.reset(0)[PRIVILEGED][:, 0].mean())
    assert abs(share - 0.5) < 4 * 0.5 / math.sqrt(4000)


def test_100_moves_are_the_limit():
    env, _ = started(0)
    steps = walk(env, [UP] * 100)
    assert steps[-1].truncated and not steps[-1].terminated and steps[-1].info["return"] == -200.0
    assert not any(step.done for step in steps[:-1])


@pytest.mark.parametrize("goal_door", [0, 1])
def test_the_teacher_is_optimal_from_every_state(goal_door):
    goal, lava = [(5, 2), (5, 4)][:: 1 if goal_door == 0 else -1]

    def moves(cell):
        x, y = cell
        ahead = [(x, y - 1), (x + 1, y), (x, y + 1), (x - 1, y)]
        return [] if cell in (goal, lava) else [to if MAP[to[1]][to[0]] != "#" else cell for to in ahead]

    steps = fewest_steps((1, 1), moves, lambda cell: cell == goal)
    task = TigerDoor()
    known = task.observe({"index": torch.arange(48)})
    answers = task.teacher().answer(known).exp()
    seen = 0
    for facts, answer in zip(known[PRIVILEGED].tolist(), answers, strict=True):
        cell = (int(facts[2]), int(facts[3]))
        if facts[0] != goal_door or not moves(cell):
            continue
        after = [min(steps[there], 100) for there in moves(cell)]
        assert facts[4:] == after
        best = [count == min(after) for count in after]
        expected = [(1 - SMOOTHING) * is_best / sum(best) + SMOOTHING / 4 for is_best in best]
        torch.testing.assert_close(answer, torch.tensor(expected))
        seen += 1
    assert seen == 20  # ten cells, before and after the button


def test_a_blind_copy_of_the_teacher_finds_the_goal_half_of_the_time():
    assert abs(success_of_average_answers(TigerDoor().make_env(200), 80) - 0.5) < 0.05


def test_it_is_a_task_with_a_teacher():
    task = TigerDoor()
    assert isinstance(task, EnvMaker) and isinstance(task, TaughtTask) and isinstance(task.teacher(), Teacher)
    assert num_choices(task.spec.action) == 4 and task.spec.task == task.name == "tiger_door"
