"""The task's arithmetic by hand, its dimensions, and its expert."""

import math

import numpy as np
import pytest
import torch
from hand_placed import extent_m, placed

from robofb.envs import make_task
from robofb.envs.furniture.lamp import BULB, HOOD, LAMP_BASE, Lamp
from robofb.evaluate import evaluate
from robofb.sim.engine import free_joint_slices
from robofb.sim.vec_env import SimVecEnv

SEAT_M = 0.064  # the base stands 1 mm above the table, 63 mm high
HUNG_M = SEAT_M + 0.105 - 0.068  # height of the hood's lower rim: its plate lies on the bulb's end


def assembled(bulb=(), hood=(), **settings):
    """Return a task and a world in which bulb and hood are displaced by (x, y, z, rotation vector)."""
    task = Lamp(**settings)
    bulb, hood = [*bulb, *(0.0,) * (6 - len(bulb))], [*hood, *(0.0,) * (6 - len(hood))]
    engine = placed(
        task,
        lamp_base=(0.5, 0.1, SEAT_M),
        bulb=(0.5 + bulb[0], 0.1 + bulb[1], SEAT_M + bulb[2], *bulb[3:]),
        hood=(0.5 + hood[0], 0.1 + hood[1], HUNG_M + hood[2], *hood[3:]),
    )
    return task, engine


@pytest.mark.parametrize(
    ("bulb", "hood", "achieved"),
    [
        ((), (), 2),
        ((), (0.0049, -0.0049, 0.0049), 2),
        ((), (0.0051, 0, 0), 1),  # 5 mm count along each axis
        ((), (0, 0, -0.0051), 1),
        ((), (0, 0, 0, 0, 0, 0.4), 2),  # any heading
        ((), (-0.068 * math.sin(0.5), 0, 0.068 * (1 - math.cos(0.5)), 0, 0.5, 0), 2),  # of the hood only ...
        ((0, 0, 0, 0, 0, 1.0), (), 2),  # ... the place counts
        ((0.0051, 0, 0), (), 0),  # the hood is 5.1 mm off the bulb, too
        ((0, 0, 0.0069), (0, 0, 0.0069), 1),  # the hood hangs on a bulb that is not screwed in
    ],
)
def test_success_by_hand(bulb, hood, achieved):
    task, engine = assembled(bulb, hood, max_part_overlap_m=1.0)
    score = task.score(engine)
    assert score.achieved.item() == achieved
    assert score.success.item() is (achieved == 2)


def test_success_through_penetration_is_refused():
    """A hood 2 mm too low overlaps the bulb's end by as much."""
    for bound, success in ((0.0015, False), (0.0025, True)):
        task, engine = assembled(hood=(0, 0, -0.002), max_part_overlap_m=bound)
        score = task.score(engine)
        assert score.metrics["part_overlap"].item() == pytest.approx(0.0020, abs=1e-5)
        assert score.success.item() is success and score.metrics["refused"].item() is not success


@pytest.mark.parametrize(("shift_m", "touches"), [(0.0004, False), (0.0006, True)])
def test_pin_has_half_a_millimetre_all_around(shift_m, touches):
    task, engine = assembled(bulb=(0, shift_m, 0.001), hood=(0, 0, 0.01))
    assert (task.score(engine).metrics["part_overlap"].item() > 0) is touches


def test_relative_features_by_hand():
    task, engine = assembled(hood=(0.003, -0.004, 0.01))
    state = dict(zip(task.spec.obs["state"].names, task.observe(engine)["state"][0].tolist(), strict=True))
    for axis, value in (("x", 0.003), ("y", -0.004), ("z", 0.01)):
        for scale_cm in (1, 4):
            found = state[f"hood_bulb_plug_socket_{axis}_tanh_{scale_cm}cm"]
            assert found == pytest.approx(math.tanh(value / (0.01 * scale_cm)), abs=1e-5)
    assert state["hood_pos_base_z"] == pytest.approx(0.111, abs=1e-6)
    assert len(state) == 16 + 3 * 9 + 2 + 2 * 13


def test_stages_by_hand():
    aside = (-0.2, -0.2)
    lying, standing = 0.030 - SEAT_M, 0.001 - HUNG_M
    for bulb, hood, stage in (
        ((*aside, lying), (*aside, standing), 0),
        ((*aside, 0.1), (*aside, standing), 1),
        ((0, 0, 0.035), (*aside, standing), 2),  # 16 mm of pin, then 19 mm to the mouth
        ((), (*aside, standing), 3),
        ((), (*aside, 0.1), 4),
        ((), (0, 0, 0.087), 5),  # 68 mm from plate to rim, then 19 mm to the bulb
        ((), (), 6),
    ):
        task, engine = assembled(bulb, hood)
        assert task.score(engine).stage.item() == stage


def test_parts_have_furniture_benchs_dimensions():
    model = Lamp().model
    for part, size_m, mass_kg in (
        ("lamp_base", (0.0847, 0.0847, 0.063), LAMP_BASE.mass_kg),
        ("bulb", (0.060, 0.060, 0.121), BULB.mass_kg),
        ("hood", (0.088, 0.088, 0.100), HOOD.mass_kg),
    ):
        np.testing.assert_allclose(extent_m(model, part), size_m, atol=3e-3 if part == "hood" else 3e-4)
        assert model.body(part).mass[0] == pytest.approx(mass_kg)


def test_hung_up_the_hood_stays():
    """The thread holds the bulb at its end, 7 mm below the mouth."""
    task, engine = assembled(hood=(0.002, 0.001, 0.0005))
    thread = task._threads[0]
    thread._place(engine, torch.tensor([0]), torch.tensor([-0.007]).double(), torch.tensor([0.0]).double())
    engine.field("eq_active")[0, thread._equality] = 1
    engine.step(240)
    score = task.score(engine)
    assert score.success.item() is True and score.metrics["part_overlap"].item() < 0.001
    place = task._relations.measure(engine)[0].place[0, 1]
    np.testing.assert_allclose(place, [0.002, 0.001, 0.0], atol=1.5e-3)


def test_parts_stay_where_an_episode_puts_them():
    task = make_task("lamp", randomness="high")
    env = SimVecEnv(task, 32)
    env.reset(0)
    parts = torch.cat([torch.arange(33)[free_joint_slices(task.model, p.name)[0]] for p in task.parts])
    before = env.engine.field("qpos")[:, parts].clone()
    env.engine.step(120)
    assert (env.engine.field("qpos")[:, parts] - before).abs().max() < 2e-3


def test_expert_assembles_the_lamp():
    task = Lamp(max_steps=600)
    result = evaluate(task.expert(8, 0.5), SimVecEnv(task, 8), 8, seed=0)
    assert result.rate.successes >= 7


def test_batch_size_changes_nothing():
    """Two episodes, up to the bulb's insertion, beside each other and one after the other."""
    task = Lamp(max_steps=90)
    runs = [evaluate(task.expert(n, 0.5), SimVecEnv(task, n), 2, seed=3) for n in (1, 2)]
    np.testing.assert_array_equal(runs[0].stage, runs[1].stage)
    np.testing.assert_allclose(runs[0].metrics["part_overlap"], runs[1].metrics["part_overlap"], atol=1e-9)
