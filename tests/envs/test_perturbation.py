"""Pushes: how often, how hard, and how far they send a part."""

import math

import pytest
import torch

from robofb.envs.furniture.one_leg import OneLeg
from robofb.envs.furniture.one_leg_insert import OneLegInsert
from robofb.envs.furniture.task import PUSH_M_S, PUSH_RAD_S, draw_pushes
from robofb.errors import UserError
from robofb.rng import EpisodeRng
from robofb.sim.engine import free_joint_slices
from robofb.sim.mujoco_engine import MujocoEngine
from robofb.sim.vec_env import SimVecEnv

FRICTION, G_M_S2 = 0.3, 9.81  # of a leg on the table


def test_pushes_are_level_and_fill_their_ranges():
    linear, angular = draw_pushes(EpisodeRng(torch.arange(20000)), 2, 0.3, 3.0)
    assert linear.shape == angular.shape == (20000, 2, 3)
    assert (linear[..., 2] == 0).all() and (angular[..., :2] == 0).all()
    speed = linear.norm(dim=-1)
    assert speed.max() <= 0.3 and speed.max() > 0.295
    assert speed.mean().item() == pytest.approx(0.15, rel=0.02)
    assert linear.mean((0, 1)).abs().max() < 0.003  # every way alike
    assert angular[..., 2].abs().max() <= 3.0 and angular[..., 2].abs().max() > 2.95
    assert angular[..., 2].mean().abs() < 0.03


def test_one_part_in_a_hundred_is_pushed_each_step():
    task = OneLeg(perturbation=0.01)
    engine = MujocoEngine(task.build(), 500)
    moved = torch.zeros(500, 2)
    for step in range(20):
        engine.field("qvel")[:] = 0.0
        task.perturb(engine, EpisodeRng(1000 * step + torch.arange(500)))
        for row, (_, v) in enumerate(task._pushes):
            moved[:, row] += engine.field("qvel")[:, v].any(-1)
    assert moved.sum().item() == pytest.approx(0.01 * 20 * 1000, abs=4 * math.sqrt(200))
    assert (moved.sum(0) > 60).all()


def test_a_push_adds_to_the_parts_velocity_alone_in_the_frames_of_qvel():
    """The leg lies with its z along +y: a spin about the vertical is one about its own -y."""
    task = OneLeg(perturbation=1.0)
    env = SimVecEnv(task, 1)
    env.reset(0)
    engine = env.engine
    before = engine.field("qvel").clone()
    task.perturb(engine, EpisodeRng(torch.tensor([5])))
    rng = EpisodeRng(torch.tensor([5]))
    rng.uniform(2)  # whether
    linear, angular = draw_pushes(rng, 2, PUSH_M_S, PUSH_RAD_S)
    change = engine.field("qvel") - before
    v = free_joint_slices(task.model, "leg")[1]
    torch.testing.assert_close(change[0, v][:3], linear[0, 1])
    turned = torch.stack([change[0, v][3], -change[0, v][4], change[0, v][5]])
    torch.testing.assert_close(turned.norm(), angular[0, 1].norm())
    assert -change[0, v][4].item() == pytest.approx(angular[0, 1, 2].item(), abs=1e-9)
    rest = change.clone()
    for _, each in task._pushes:
        rest[:, each] = 0.0
    assert not rest.any()


def test_a_pushed_leg_slides_as_far_as_friction_lets_it():
    """v^2 / (2 mu g): 0.3 m/s is 15.3 mm. It lies: no spin, no tumbling."""
    task = OneLeg()
    env = SimVecEnv(task, 1)
    env.reset(0)
    env.engine.step(60)
    q, v = free_joint_slices(task.model, "leg")
    start = env.engine.field("qpos")[0, q][:2].clone()
    env.engine.field("qvel")[0, v][1] = 0.3
    env.engine.step(60)
    slid = (env.engine.field("qpos")[0, q][:2] - start).norm().item()
    assert slid == pytest.approx(0.3**2 / (2 * FRICTION * G_M_S2), rel=0.15)


def test_without_perturbation_nothing_is_drawn():
    env = SimVecEnv(OneLeg(), 2)
    env.reset(0)
    rows = torch.cat([torch.arange(v.start, v.stop) for _, v in env.task._pushes])
    assert not env.engine.field("qvel")[:, rows].any()
    assert "perturbation" not in env.task.meta


def test_parts_are_pushed_at_reset_and_on_the_way():
    env = SimVecEnv(OneLegInsert(perturbation=0.05), 64)
    obs = env.reset(0)
    assert env.task.meta["perturbation"] == 0.05
    for _, v in env.task._pushes:
        assert env.engine.field("qvel")[:, v].any(-1).all()
        assert env.engine.field("qvel")[:, v][:, :3].norm(dim=-1).max() <= OneLegInsert.push_m_s
    stay = torch.cat([obs["state"][:, :9], -torch.ones(64, 1)], -1)
    for _ in range(5):
        env.step(stay)
    settled = env.engine.field("qpos")[:, env.task._leg_q].clone()
    for _ in range(30):
        env.step(stay)
    moved = (env.engine.field("qpos")[:, env.task._leg_q] - settled)[:, :2].norm(dim=-1)
    assert (moved > 1e-4).float().mean() > 0.5  # 1 - 0.95^30 = 79 % of the legs were pushed


def test_the_chance_must_be_one():
    for chance in (-0.1, 1.1, math.nan):
        with pytest.raises(UserError, match="needs a chance, 0 to 1"):
            OneLegInsert(perturbation=chance)
