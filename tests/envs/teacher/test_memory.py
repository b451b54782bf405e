"""Memory S11, walked by hand."""

import math

import pytest
import torch
from walks import fewest_steps, success_of_average_answers, turning_moves, walk

from robofb.envs.teacher.memory import Memory
from robofb.envs.teacher.shortest_path import SMOOTHING
from robofb.errors import UserError
from robofb.types import PRIVILEGED

LEFT, RIGHT, FORWARD = range(3)
MAP = [  # o lies in the room, a and b at the ends
    "###########",
    "###########",
    "###########",
    "#########a#",
    "#o..#####.#",
    "#.........#",
    "#...#####.#",
    "#########b#",
    "###########",
    "###########",
    "###########",
]


def started(x, goal_end, object_=0):
    """Return an env of one world that starts like this, by `PRIVILEGED`, and what is seen first."""
    env = Memory().make_env(1)
    for seed in range(300):
        obs = env.reset(seed)
        if obs[PRIVILEGED][0, :3].tolist() == [object_, goal_end, x]:
            return env, obs
    raise AssertionError("a start was never drawn in 300 episodes")


def rows(obs):
    """Return a view as words: ? unseen, # wall, . free, o round, s square."""
    kinds = obs["grid"][0].argmax(0)
    assert (obs["grid"][0].sum(0) == 1).all()
    return ["".join("?#.os"[kind] for kind in row) for row in kinds.tolist()]


@pytest.mark.parametrize(("end", "reward"), [(0, 98.0), (1, -102.0)])
def test_the_crossing_is_four_moves_from_the_end_of_the_hallway(end, reward):
    """One to the crossing, a turn to the left, two to the upper object."""
    env, _ = started(8, goal_end=end)
    steps = walk(env, [FORWARD, LEFT, FORWARD, FORWARD])
    assert [float(step.reward) for step in steps] == [-2.0, -2.0, -2.0, reward]
    assert steps[-1].terminated and bool(steps[-1].info["success"]) == (end == 0)


def test_the_object_is_seen_from_the_hallway_by_who_turns_around():
    env, first = started(5, goal_end=0)
    assert rows(first) == ["o...s", "##.##", "?#.#?", "?#.#?", "?#.#?"]  # both ends show
    seen = rows(walk(env, [LEFT, LEFT])[-1].obs)
    assert seen == ["#..o#", "#...#", "#...#", "##.##", "?#.#?"]  # right of who faces left is up


def test_no_start_shows_the_object_in_the_room():
    env = Memory().make_env(2000)
    obs = env.reset(0)
    facts = obs[PRIVILEGED]
    assert set(facts[:, 2].tolist()) == set(range(2, 9)) and (facts[:, 3] == 5).all()
    shows = {}
    for x, grid in zip(facts[:, 2].tolist(), obs["grid"], strict=True):
        shows.setdefault(x, set()).add(bytes(grid.flatten().tolist()))
    # only the order of the two objects at the ends differs, where they are in sight
    assert {x: len(views) for x, views in shows.items()} == {x: 1 if x < 5 else 2 for x in range(2, 9)}
    for x in range(2, 9):  # and that order says nothing of which is the goal
        alike = facts[(facts[:, 2] == x) & (facts[:, 0] == 0)][:, 1]
        assert abs(float(alike.mean()) - 0.5) < 4 * 0.5 / math.sqrt(len(alike))


def test_the_object_in_the_room_is_in_the_way():
    env, _ = started(2, goal_end=0)
    # around to face left, on to (1, 5), up against the object, which stops it
    steps = walk(env, [LEFT, LEFT, FORWARD, RIGHT, FORWARD, FORWARD])
    assert steps[-1].obs[PRIVILEGED][0, 2:6].tolist() == [1, 5, 0, -1]
    assert not steps[-1].done and steps[-1].reward == -2.0


@pytest.mark.parametrize("goal_end", [0, 1])
def test_the_teacher_is_optimal_from_every_state(goal_end):
    ends = [(9, 3), (9, 7)]

    def moves(state):
        return [] if state[:2] in ends else turning_moves(state, lambda x, y: MAP[y][x] in ".ab")

    steps = fewest_steps((5, 5, 0), moves, lambda state: state[:2] == ends[goal_end])
    task = Memory()
    known = task.observe({"index": torch.arange(len(task.tables.next))})
    answers = task.teacher().answer(known).exp()
    states = {}
    for facts, answer in zip(known[PRIVILEGED].tolist(), answers, strict=True):
        if facts[1] == goal_end:
            states[facts[0], int(facts[2]), int(facts[3]), tuple(facts[4:6])] = facts[6:], answer
    headings = [(1, 0), (0, 1), (-1, 0), (0, -1)]
    seen = 0
    for state in steps:
        if not moves(state):
            continue
        after = [min(steps[there], 100) for there in moves(state)]
        best = [count == min(after) for count in after]
        expected = torch.tensor([(1 - SMOOTHING) * each / sum(best) + SMOOTHING / 3 for each in best])
        for object_ in (0, 1):
            said, answer = states[object_, state[0], state[1], headings[state[2]]]
            assert said == after
            torch.testing.assert_close(answer, expected)
        seen += 1
    assert seen == 4 * 16  # 8 cells of the room, 5 of the hallway, 3 of the crossing


def test_a_copy_of_the_teacher_without_memory_is_right_half_of_the_time():
    assert abs(success_of_average_answers(Memory().make_env(200), 60) - 0.5) < 0.05


@pytest.mark.parametrize("size", [10, 5, -3])
def test_sizes_without_a_hallway_are_refused(size):
    with pytest.raises(UserError, match=rf"task.size={size}: needs an odd number of at least 7"):
        Memory(size=size)


def test_the_smallest_can_be_solved():
    env = Memory(size=7).make_env(50)
    obs, teacher = env.reset(0), env.task.teacher()
    for _ in range(12):
        step = env.step(teacher.answer(obs).argmax(-1, keepdim=True))
        assert step.info["success"][step.terminated].all()
        obs = step.obs
    assert (env.episode >= 50).all()
