"""The task's arithmetic by hand, its dimensions, and its expert."""

import math

import numpy as np
import pytest
import torch
from hand_placed import extent_m, placed

from robofb.envs import make_task
from robofb.envs.furniture.round_table import CROSS_BASE, ROUND_LEG, ROUND_TOP, RoundTable
from robofb.evaluate import evaluate
from robofb.sim.engine import free_joint_slices
from robofb.sim.vec_env import SimVecEnv

TOP = (0.5, 0.1, 0.0345)  # stands 2 mm above the table, 32.5 mm thick
ON_LEG_M = 0.0345 + 0.059  # height of the leg's upper shoulder


def assembled(leg=(), base=(), **settings):
    """Return a task and a world in which leg and base are displaced by (x, y, z, rotation vector)."""
    task = RoundTable(**settings)
    leg, base = [*leg, *(0.0,) * (6 - len(leg))], [*base, *(0.0,) * (6 - len(base))]
    engine = placed(
        task,
        top=TOP,
        leg=(0.5 + leg[0], 0.1 + leg[1], 0.0345 + leg[2], *leg[3:]),
        table_base=(0.5 + base[0], 0.1 + base[1], ON_LEG_M + base[2], *base[3:]),
    )
    return task, engine


@pytest.mark.parametrize(
    ("leg", "base", "achieved"),
    [
        ((), (), 2),
        ((), (0.0049, 0, 0), 2),
        ((), (0.0051, 0, 0), 1),  # 5 mm count along each axis
        ((), (0.0049, -0.0049, 0.0049), 2),
        ((), (0, 0, 0.0051), 1),  # laid on, not screwed
        ((), (0, 0, 0, 0.342, 0, 0), 2),  # cosine 0.9421
        ((), (0, 0, 0, 0.355, 0, 0), 1),  # cosine 0.9376
        ((), (0, 0, 0, 0, 0, 2.5), 2),  # any heading
        ((0, 0, 0, 0, 0, -1.0), (), 2),
        ((0, 0, 0.0069), (0, 0, 0.0069), 1),  # the base sits on a leg that is not screwed in
        ((0, 0, 0, math.pi, 0, 0), (), 0),  # upside down
    ],
)
def test_success_by_hand(leg, base, achieved):
    task, engine = assembled(leg, base, max_part_overlap_m=1.0)
    score = task.score(engine)
    assert score.achieved.item() == achieved
    assert score.success.item() is (achieved == 2)


def test_success_through_penetration_is_refused():
    """A base 1.5 mm off the pin's axis overlaps it by 1.0 mm: the hole is 0.5 mm wider all around."""
    for bound, success in ((0.0008, False), (0.0025, True)):
        task, engine = assembled(base=(0.0015, 0, 0.001), max_part_overlap_m=bound)
        score = task.score(engine)
        assert score.metrics["part_overlap"].item() == pytest.approx(0.0010, abs=2e-4)
        assert score.success.item() is success and score.metrics["refused"].item() is not success


@pytest.mark.parametrize(("shift_m", "touches"), [(0.0004, False), (0.0006, True)])
def test_pins_have_half_a_millimetre_all_around(shift_m, touches):
    for change in ({"leg": (shift_m, 0, 0.002), "base": (shift_m, 0, 0.004)}, {"base": (0, shift_m, 0.002)}):
        task, engine = assembled(**change)
        assert (task.score(engine).metrics["part_overlap"].item() > 0) is touches


def test_relative_features_by_hand():
    task, engine = assembled(base=(0.003, -0.004, 0.01, 0, 0, 0.5))
    state = dict(zip(task.spec.obs["state"].names, task.observe(engine)["state"][0].tolist(), strict=True))
    for axis, value in (("x", 0.003), ("y", -0.004), ("z", 0.01)):
        for scale_cm in (1, 4):
            found = state[f"table_base_leg_plug_socket_{axis}_tanh_{scale_cm}cm"]
            assert found == pytest.approx(math.tanh(value / (0.01 * scale_cm)), abs=1e-5)
    assert state["table_base_pos_base_z"] == pytest.approx(0.1035, abs=1e-6)
    assert state["leg_top_plug_tilt_socket_x_tanh_100mrad"] == pytest.approx(0.0, abs=1e-6)
    assert len(state) == 16 + 3 * 9 + 2 + 2 * 13


def test_stages_by_hand():
    over = 0.016 + 0.02  # the tip is then 20 mm above the mouth
    aside = (-0.2, -0.2)
    for leg, base, stage in (
        ((*aside, 0.02125 - 0.0345), (*aside, 0.001 - ON_LEG_M), 0),
        ((*aside, 0.1), (*aside, 0.0), 1),
        ((0, 0, over - 0.001), (*aside, 0.0), 2),
        ((), (*aside, 0.001 - ON_LEG_M), 3),
        ((), (*aside, 0.0), 4),
        ((), (0, 0, over - 0.001), 5),
        ((), (), 6),
    ):
        task, engine = assembled(leg, base)
        assert task.score(engine).stage.item() == stage


def test_parts_have_furniture_benchs_dimensions():
    model = RoundTable().model
    for part, size_m, mass_kg in (
        ("top", (0.200, 0.200, 0.0325), ROUND_TOP.mass_kg),
        ("leg", (0.0425, 0.0425, 0.091), ROUND_LEG.mass_kg),
        ("table_base", (0.130, 0.130, 0.040), CROSS_BASE.mass_kg),
    ):
        np.testing.assert_allclose(extent_m(model, part), size_m, atol=3e-4)
        assert model.body(part).mass[0] == pytest.approx(mass_kg)


def test_parts_stay_where_an_episode_puts_them():
    task = make_task("round_table", randomness="high")
    env = SimVecEnv(task, 32)
    env.reset(0)
    parts = torch.cat([torch.arange(36)[free_joint_slices(task.model, p.name)[0]] for p in task.parts])
    before = env.engine.field("qpos")[:, parts].clone()
    env.engine.step(120)
    assert (env.engine.field("qpos")[:, parts] - before).abs().max() < 2e-3


def test_expert_assembles_the_table():
    task = RoundTable()
    result = evaluate(task.expert(8, 0.5), SimVecEnv(task, 8), 8, seed=0)
    assert result.rate.successes >= 7
    assert result.metrics["part_overlap"][result.success].max() < 0.0015


def test_batch_size_changes_nothing():
    """Two episodes, up to the leg's insertion, beside each other and one after the other."""
    task = RoundTable(max_steps=90)
    runs = [evaluate(task.expert(n, 0.5), SimVecEnv(task, n), 2, seed=3) for n in (1, 2)]
    np.testing.assert_array_equal(runs[0].stage, runs[1].stage)
    np.testing.assert_allclose(runs[0].metrics["part_overlap"], runs[1].metrics["part_overlap"], atol=1e-9)
