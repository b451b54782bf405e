"""What the families in MuJoCo pay, by hand, and that a hole can be found by who sees it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import torch

from robofb.config import compose
from robofb.envs.meta.ant_semi_circle_sparse import AntSemiCircleSparse
from robofb.envs.meta.half_cheetah_vel import HalfCheetahVel
from robofb.envs.meta.hidden_holes import ASIDE, HEIGHT, HiddenHoles
from robofb.envs.robots import half_cheetah
from robofb.errors import UserError
from robofb.rng import EpisodeRng
from robofb.sim.vec_env import SimVecEnv
from robofb.store.agent_logs import AgentLogs
from robofb.train import agents
from robofb.types import PRIVILEGED


def make(family, params: torch.Tensor) -> SimVecEnv:
    return SimVecEnv(family.fixed(params), len(params))


def test_a_cheetah_is_paid_by_its_speed_and_effort() -> None:
    family = HalfCheetahVel()
    state = torch.zeros(2, 17)
    state[:, half_cheetah.SPEED] = torch.tensor([1.2, 3.5])
    action = torch.tensor([[0.5, -1.0, 0, 0, 0, 0], [2.0, 0, 0, 0, 0, 0]])  # 2 counts as 1
    paid = family.relabel(torch.tensor([[2.0], [2.0]]), state, action, state)
    torch.testing.assert_close(paid, torch.tensor([-0.8 - 0.05 * 1.25, -1.5 - 0.05]))


def test_a_cheetahs_speed_is_how_far_it_comes() -> None:
    """Over two seconds, the mean of the speeds that are seen is the way over the time."""
    with closing(make(HalfCheetahVel(), torch.tensor([[1.0], [2.0]]))) as env:
        env.reset(0)
        start = env.engine.field("qpos")[:, 0].clone()
        rng, speeds = EpisodeRng(torch.arange(2)), []
        for _ in range(40):
            step = env.step(2 * rng.uniform(6) - 1)
            speeds.append(step.obs["state"][:, half_cheetah.SPEED])
        way = env.engine.field("qpos")[:, 0] - start
        assert step.obs[PRIVILEGED].flatten().tolist() == [1.0, 2.0]
    torch.testing.assert_close(torch.stack(speeds).mean(0).double() * 2.0, way.double(), atol=0.1, rtol=0.1)


def test_an_ant_is_paid_near_its_goal_or_by_distance_where_asked() -> None:
    goals = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    action = torch.full((2, 8), 0.5)
    for dense in (False, True):
        with closing(make(AntSemiCircleSparse(dense=dense), goals)) as env:
            env.reset(0)
            step = env.step(action)
            place = step.final_obs["state"][:, :2]
            effort = 0.1 * 8 * 0.25
            distance = (place - goals).abs().sum(-1)
            expected = -distance - effort if dense else torch.full((2,), -effort)
            torch.testing.assert_close(step.reward, expected)
    state = torch.zeros(3, 29)
    state[:, :2] = torch.tensor([[1.0, 0.19], [1.0, 0.21], [0.9, -0.1]])
    paid = AntSemiCircleSparse().relabel(goals[0].expand(3, -1), state, torch.zeros(3, 8), state)
    assert paid.tolist() == [1.0, 0.0, 1.0]


def test_who_sees_the_hole_inserts_in_every_task() -> None:
    params = torch.linspace(-0.01, 0.01, 8)[:, None]
    family = HiddenHoles()
    teacher = family.teacher()
    with closing(make(family, params)) as env:
        obs, earned = env.reset(3), torch.zeros(8)
        done = torch.zeros(8, dtype=torch.bool)
        for _ in range(family.spec.max_steps):
            step = env.step(teacher.answer(obs))
            earned += torch.where(done, 0.0, step.reward)
            assert torch.equal(step.reward > 0, step.final_obs["state"][:, HEIGHT] <= -0.009)
            done |= step.done
            obs = step.obs
    assert (earned == 1).all()


def test_a_dense_hole_pays_by_centimetres() -> None:
    params = torch.tensor([[0.008], [-0.004]])
    with closing(make(HiddenHoles(dense=True), params)) as env:
        env.reset(0)
        step = env.step(torch.zeros(2, 3))
        state = step.final_obs["state"]
        aside = (state[:, ASIDE] - params[:, 0]).abs()
        torch.testing.assert_close(step.reward, -5.0 * (aside + state[:, HEIGHT] + 0.009))


def test_logs_hold_what_the_task_pays_however_its_agent_was_paid(tmp_path: Path) -> None:
    words = ["task=ant_semi_circle_sparse", "task.dense=true", "task.max_steps=4", "num_tasks=2"]
    sizes = ["env_steps=24", "updates=1", "select_every=10", f"out={tmp_path / 'run'}"]
    agents.train(compose("train_agents", [*words, *sizes]))
    with AgentLogs(tmp_path / "run" / "logs") as logs:
        store = logs.stores[0]
        action = torch.from_numpy(store.read_finite("action"))
        reward = torch.from_numpy(store.read_finite("reward"))
    assert len(reward) == 12
    torch.testing.assert_close(reward, -0.1 * (action**2).sum(-1))


@pytest.mark.parametrize("family", [HalfCheetahVel, AntSemiCircleSparse, HiddenHoles])
def test_an_episode_needs_a_step(family) -> None:
    with pytest.raises(UserError, match="max_steps=0: needs at least 1"):
        family(max_steps=0)
