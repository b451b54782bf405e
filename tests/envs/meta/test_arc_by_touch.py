"""The arc felt by touch: who knows the angle finds the post, and free motion is not felt."""

from __future__ import annotations

import math
from contextlib import closing

import torch

from robofb.envs.meta.arc_by_touch import ARC_M, FELT, POST_RADIUS_M, SIDE_FORCE, ArcByTouch
from robofb.envs.teacher.felt_peg import PEG_RADIUS_M
from robofb.sim.vec_env import SimVecEnv

ANGLES = torch.linspace(0.0, math.pi, 6)[:, None]


def test_who_knows_the_angle_feels_the_post_and_stays() -> None:
    family = ArcByTouch()
    teacher = family.teacher()
    with closing(SimVecEnv(family.fixed(ANGLES), 6)) as env:
        obs, earned = env.reset(0), torch.zeros(6)
        for t in range(30):
            step = env.step(teacher.answer(obs))
            earned += step.reward
            obs = step.obs
            if t == 20:
                place = step.final_obs["state"][:, :2]
    assert (earned >= 18).all() and step.info["success"].all()
    post = ARC_M * torch.cat([ANGLES.cos(), ANGLES.sin()], -1)
    away = (place - post).norm(dim=-1)  # the TCP's: it leans on a wrist that yields by 1 mm for 20 N
    torch.testing.assert_close(away, torch.full((6,), POST_RADIUS_M + PEG_RADIUS_M), atol=0.003, rtol=0)


def test_nothing_is_felt_in_the_air() -> None:
    """The worlds' posts stand at both ends of the arc, the hand swings between them in full strokes."""
    family = ArcByTouch()
    ends = torch.tensor([[0.0], [math.pi]])
    with closing(SimVecEnv(family.fixed(ends), 2)) as env:
        env.reset(0)
        for t in range(30):
            sign = 1.0 if t % 4 < 2 else -1.0
            step = env.step(torch.tensor([[sign, sign, 0.0], [-sign, sign, 0.0]]))
            assert (step.final_obs["state"][:, SIDE_FORCE].norm(dim=-1) < FELT / 10).all()
            assert (step.reward == 0).all()


def test_what_is_felt_pays_from_three_newtons_on() -> None:
    state = torch.zeros(3, 15)
    state[:, SIDE_FORCE[0]] = torch.tensor([math.tanh(0.29), math.tanh(0.31), -math.tanh(0.2)])
    state[2, SIDE_FORCE[1]] = math.tanh(0.25)  # 2 and 2.5 N together: 3.2
    family = ArcByTouch()
    assert family.relabel(torch.zeros(3, 1), state, state, state).tolist() == [0.0, 1.0, 1.0]
    assert family.relabel(torch.ones(5, 1, 1), state, state, state).shape == (5, 3)
