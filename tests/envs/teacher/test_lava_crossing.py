"""Lava Crossing: maps, views, and the formula for shortest ways against a plain search."""

import math

import pytest
import torch
from walks import fewest_steps, turning_moves, walk

from robofb.envs.teacher.grid import seen, view_cells
from robofb.envs.teacher.lava_crossing import PLANES, LavaCrossing
from robofb.envs.teacher.lava_maps import FREE, GOAL, LAVA, UNSEEN, WALL
from robofb.envs.teacher.shortest_path import SMOOTHING
from robofb.errors import UserError
from robofb.types import PRIVILEGED

LEFT, RIGHT, FORWARD = range(3)
LETTERS = "?#.~G"  # by kind: unseen, wall, free, lava, goal
DRAWN = [
    "#######",
    "#.~...#",
    "#.....#",
    "#.~...#",
    "#~~.~~#",
    "#.~..G#",
    "#######",
]


def placed(x, y, heading):
    """Return a task and the state of one world with the drawn map, as far as the student's view goes."""
    task = LavaCrossing(7, 2)
    env = task.make_env(1)
    env.reset(0)
    world = dict(env.state)
    kinds = [LETTERS.index(letter) for letter in "".join(DRAWN)] + [UNSEEN]
    world["kinds"] = torch.tensor([kinds], dtype=torch.uint8)
    world |= {"x": torch.tensor([x]), "y": torch.tensor([y]), "heading": torch.tensor([heading])}
    return task, world


def rows(obs):
    assert (obs["grid"][0].sum(0) == 1).all()
    return ["".join(LETTERS[kind] for kind in row) for row in obs["grid"][0].argmax(0).tolist()]


@pytest.mark.parametrize(
    ("x", "y", "heading", "view"),
    [
        (3, 5, 3, [".~...", ".....", ".~...", "~~.~~", ".~..G"]),
        (1, 1, 0, ["?#...", "?#...", "?#...", "?#~.~", "?#..."]),
        (3, 3, 2, ["?????", "#####", ".~...", "~~~.~", "....."]),
        (4, 3, 1, ["?????", "#####", "#G..~", "#~~.~", "#...~"]),
    ],
)
def test_views_are_those_of_a_drawn_map(x, y, heading, view):
    task, world = placed(x, y, heading)
    assert rows(task.observe(world)) == view


def test_only_what_lies_beyond_the_wall_is_out_of_sight():
    """As by the rule of sight that holds where there are walls within."""
    env = LavaCrossing().make_env(64)
    env.reset(0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        obs = env.step(torch.randint(0, 3, (64, 1), generator=generator)).obs
        x, y, heading = env.state["x"], env.state["y"], env.state["heading"]
        shown = view_cells(15, 15, 5)[(y * 15 + x) * 4 + heading]
        kinds = env.state["kinds"].gather(1, shown).reshape(-1, 5, 5)
        sight = seen((kinds == WALL) | (kinds == UNSEEN)) & (kinds != UNSEEN)
        assert torch.equal(obs["grid"][:, PLANES.index("unseen")] == 0, sight)


def test_moves_and_what_they_pay():
    env = LavaCrossing().make_env(8)
    first = env.reset(2)[PRIVILEGED]
    assert (first[:, :4] == torch.tensor([1.0, 1.0, 1.0, 0.0])).all()
    turned = walk(env, [LEFT, FORWARD])  # up, against the wall
    assert (turned[-1].obs[PRIVILEGED][:, :4] == torch.tensor([1.0, 1.0, 0.0, -1.0])).all()
    assert (turned[-1].reward == -2.0).all()
    walk(env, [RIGHT])
    lava = env.state["kinds"][:, 15 + 2] == LAVA  # a river right ahead
    step = walk(env, [FORWARD])[-1]
    assert lava.any() and not lava.all()
    assert torch.equal(step.terminated, lava) and not step.info["success"].any()
    assert (step.reward[lava] == -102.0).all() and (step.reward[~lava] == -2.0).all()
    assert (step.final_obs["grid"][lava, PLANES.index("lava"), 4, 2] == 1).all()  # it stands in it
    assert (step.final_obs[PRIVILEGED][lava, 4:] == 225).all()


def plain_map(kinds, size):
    return [kinds[row * size : (row + 1) * size] for row in range(size)]


@pytest.mark.parametrize(("size", "rivers", "count"), [(15, 10, 40), (15, 12, 20), (15, 2, 4), (5, 1, 4)])
def test_the_teacher_is_optimal_from_every_state_that_can_be_reached(size, rivers, count):
    """Of all actions, ties included, against a breadth-first search; so every map can be solved."""
    task = LavaCrossing(size, rivers)
    env = task.make_env(count)
    env.reset(4)
    index, places, expected = [], [], []
    for world, kinds in enumerate(env.state["kinds"].tolist()):
        plan = plain_map(kinds, size)

        def moves(state, plan=plan):
            over = plan[state[1]][state[0]] in (LAVA, GOAL)
            return [] if over else turning_moves(state, lambda x, y: plan[y][x] != WALL)

        steps = fewest_steps((1, 1, 0), moves, lambda state, plan=plan: plan[state[1]][state[0]] == GOAL)
        assert steps[1, 1, 0] < math.inf
        for state in steps:
            if moves(state):
                index.append(world)
                places.append(state)
                expected.append([min(steps[there], 225) for there in moves(state)])
    world = {name: values[index] for name, values in env.state.items()}
    world["x"], world["y"], world["heading"] = torch.tensor(places).T
    obs = task.observe(world)
    after = torch.tensor(expected, dtype=torch.float32)
    assert torch.equal(obs[PRIVILEGED][:, 4:], after)
    best = (after == after.amin(1, keepdim=True)).float()
    answer = (1 - SMOOTHING) * best / best.sum(1, keepdim=True) + SMOOTHING / 3
    torch.testing.assert_close(task.teacher().answer(obs).exp(), answer)


def test_the_teacher_solves_two_thousand_maps_in_the_steps_it_foretold():
    env = LavaCrossing().make_env(2000)
    obs, teacher = env.reset(1), env.task.teacher()
    foretold = 1 + obs[PRIVILEGED][:, 4:].amin(1)
    taken = torch.zeros(2000)
    for _ in range(60):
        step = env.step(teacher.answer(obs).argmax(-1, keepdim=True))
        own = step.terminated & (step.info["episode"] < 2000)
        taken[own] = step.info["length"][own].float()
        assert step.info["success"][step.terminated].all()
        obs = step.obs
    assert torch.equal(taken, foretold)
    assert 24 < foretold.min() and foretold.max() < 60  # 12 cells each way, and a turn at least


def test_maps_have_ten_rivers_with_one_gap_each():
    env = LavaCrossing().make_env(1500)
    env.reset(9)
    kinds = env.state["kinds"][:, :-1].reshape(-1, 15, 15)
    assert (kinds[:, [0, -1]] == WALL).all() and (kinds[:, :, [0, -1]] == WALL).all()
    assert (kinds[:, 13, 13] == GOAL).all() and (kinds[:, 1, 1] == FREE).all()
    inner = kinds[:, 1:-1, 1:-1]
    lava = inner == LAVA
    rivers = torch.cat([lava.sum(1), lava.sum(2)], 1) == 12  # 13 cells less one gap
    assert (rivers.sum(1) == 10).all()
    even = [line for line in range(26) if line % 13 % 2 == 1]  # coordinates 2, 4, ... of the map
    assert not rivers[:, [line for line in range(26) if line not in even]].any()
    share = rivers[:, even].float().mean(0)  # 10 of 12 places, none before another
    assert ((share - 10 / 12).abs() < 4 * math.sqrt(10 / 12 * 2 / 12 / 1500)).all()
    assert len({bytes(each.tolist()) for each in inner.flatten(1)}) > 1450  # there are some 50,000


def test_gaps_lie_anywhere_along_their_room():
    """With one river across a map of 15: each of its 13 cells is as likely to be the gap."""
    env = LavaCrossing(rivers=1).make_env(3000)
    env.reset(0)
    gaps = env.state["route"][:, 0]
    place = torch.where(gaps[:, 2] == 0, gaps[:, 1], gaps[:, 0]).to(torch.int64)
    counts = place.bincount(minlength=15)
    assert counts[0] == counts[14] == 0
    assert ((counts[1:14] - 3000 / 13).abs() < 4.5 * math.sqrt(3000 / 13)).all()
    assert abs(float((gaps[:, 2] == 0).float().mean()) - 0.5) < 4 * 0.5 / math.sqrt(3000)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"size": 14}, "task.size=14: needs an odd number from 5 to 63"),
        ({"size": 65}, "task.size=65: needs an odd number from 5 to 63"),
        ({"rivers": 13}, "task.rivers=13: needs 1 to 12 for size 15"),
        ({"rivers": 0}, "task.rivers=0: needs 1 to 12 for size 15"),
    ],
)
def test_maps_that_cannot_be_drawn_are_refused(kwargs, message):
    with pytest.raises(UserError, match=message):
        LavaCrossing(**kwargs)
