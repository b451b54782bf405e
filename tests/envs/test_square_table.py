"""square_table: four legs, four holes, one after the other."""

import pytest
import torch

from robofb.envs.furniture.one_leg import LEG, TOP
from robofb.envs.furniture.square_table import HOLES, SquareTable
from robofb.sim.vec_env import SimVecEnv


def test_holes_are_filled_from_the_far_row_to_the_near_one():
    """A hand that brings a leg along +y stands behind it: what is placed must lie ahead or beside."""
    assert [y for _, y in HOLES] == [1, 1, -1, -1]
    assert len(set(HOLES)) == 4
    assert 2 * TOP.hole_xy - LEG.width == pytest.approx(0.090)  # between neighbours


def test_top_weighs_what_it_should():
    task = SquareTable()
    model = task.model
    plain, holes = TOP.mass_kg * (1 - 4 * (TOP.cell / TOP.side) ** 2), 4 * (0.04 + 0.004) * TOP.mass_kg
    assert model.body("top").mass.item() == pytest.approx(plain + holes, rel=1e-6)
    for number in range(1, 5):
        assert model.body(f"leg{number}").mass.item() == pytest.approx(LEG.mass_kg)


def test_legs_are_solid_to_each_other():
    """Two legs put into one another come apart."""
    task = SquareTable()
    env = SimVecEnv(task, 1)
    env.reset(0)
    qpos = env.engine.field("qpos")
    first, second = task._part_q[1], task._part_q[2]
    qpos[0, second] = qpos[0, first]
    qpos[0, second][0] += 0.025
    env.engine.forward(torch.tensor([0]))
    env.engine.step(60)
    assert abs(qpos[0, second][0] - qpos[0, first][0]) > 0.0295


def test_expert_screws_the_first_leg_in():
    """The whole table is assembled in tests/contracts."""
    env = SimVecEnv(SquareTable(), 4, autoreset=False)
    agent = env.task.expert(4, 0.5)
    obs = env.reset(0)
    agent.reset(torch.ones(4, dtype=torch.bool), env.episode_seed)
    paid = torch.zeros(4)
    for _ in range(260):
        step = env.step(agent.next(obs))
        obs, paid = step.obs, paid + step.reward
    assert (paid == 1.0).sum() >= 3
    assert (step.info["stage"] >= 3).sum() >= 3
    env.close()
