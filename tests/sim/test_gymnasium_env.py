"""What is the Gymnasium adapter's own: spaces, ways to reset, bounds, success, pictures."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from stand_ins import PointGym

import robofb.envs
from robofb.errors import UserError
from robofb.sim.gymnasium_env import GymnasiumVecEnv
from robofb.sim.gymnasium_spaces import ActionLayout, ObsLayout
from robofb.sim.success import SuccessRule

ALL = torch.ones(2, dtype=torch.bool)


def wrap(vec: Any, **changes: Any) -> GymnasiumVecEnv:
    return GymnasiumVecEnv(
        vec, "point", **{"control_dt_s": 0.1, "max_steps": 4, "success": SuccessRule(), **changes}
    )


def points(num_envs: int, mode: AutoresetMode = AutoresetMode.DISABLED, max_steps: int = 4, **kwargs: Any):
    return SyncVectorEnv([lambda: TimeLimit(PointGym(**kwargs), max_steps)] * num_envs, autoreset_mode=mode)


def test_observations_are_sorted_into_a_vector_and_images():
    space = spaces.Dict(
        {
            "inner": spaces.Dict({"b": spaces.Box(-1, 1, (1,)), "a": spaces.Box(-1, 1, (1, 2), np.float64)}),
            "image_top": spaces.Box(0, 255, (3, 4, 5), np.uint8),
            "front": spaces.Box(0, 255, (4, 5, 1), np.uint8),
            "bytes": spaces.Box(0, 255, (2,), np.uint8),
        }
    )
    layout = ObsLayout(space, "t")
    assert layout.specs["state"].names == ("bytes_0", "bytes_1", "inner_a_0", "inner_a_1", "inner_b")
    assert {key: spec.shape for key, spec in layout.specs.items()} == {
        "state": (5,),
        "image_front": (1, 4, 5),
        "image_top": (3, 4, 5),
    }
    front = np.arange(40, dtype=np.uint8).reshape(2, 4, 5, 1)
    top = np.arange(120, dtype=np.uint8).reshape(2, 3, 4, 5)
    inner = {"b": np.array([[7.0], [8.0]]), "a": np.array([[[1.0, 2.0]], [[3.0, 4.0]]])}
    bytes_ = np.array([[5, 6], [9, 10]], np.uint8)
    got = layout.tensors({"inner": inner, "image_top": top, "front": front, "bytes": bytes_})
    assert got["state"].tolist() == [[5, 6, 1, 2, 7], [9, 10, 3, 4, 8]]
    assert torch.equal(got["image_top"], torch.from_numpy(top))
    assert got["image_front"][1, 0, 2, 3] == front[1, 2, 3, 0]
    top[:] = 0
    assert got["image_top"].any()  # never a view of the environment's buffers


def test_plain_pixels_have_a_name():
    assert ObsLayout(spaces.Box(0, 255, (84, 96, 3), np.uint8), "t").specs.keys() == {"image_pixels"}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Discrete(3), r"t shows observations Discrete\(3\)"),
        (spaces.Dict({"a": spaces.Text(4)}), "t shows observation 'a' Text"),
    ],
)
def test_other_observations_are_refused(space, message):
    with pytest.raises(UserError, match=message):
        ObsLayout(space, "t")


@pytest.mark.parametrize("space", [spaces.Discrete(2), spaces.Box(0, 3, (2,), np.int64)])
def test_other_actions_are_refused(space):
    with pytest.raises(UserError, match="t takes actions .* only a Box of floats"):
        ActionLayout(space, "t")


def test_actions_are_shaped_and_clipped():
    low = np.array([[-1, -2], [-3, 0]], np.float64)
    layout = ActionLayout(spaces.Box(low, low + 2, dtype=np.float64), "t")
    assert layout.spec.low == (-1, -2, -3, 0) and layout.spec.high == (1, 0, -1, 2)
    got = layout.array(torch.tensor([[0.5, 5.0, -9.0, 1.0]]))
    assert got.dtype == np.float64 and got.tolist() == [[[0.5, 0.0], [-3.0, 1.0]]]


def test_unbounded_actions_have_no_bounds_in_the_spec():
    assert ActionLayout(spaces.Box(-np.inf, np.inf, (2,)), "t").spec.low is None


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_env_step_is_a_step_of_ours(mode):
    """Nothing is lost to resets: what the envs saw is what was commanded, in every way to reset."""
    with closing(wrap(points(2, mode))) as env:
        env.reset(0)
        commanded = []
        for index in range(10):
            commanded.append(torch.full((2, 2), index / 20))
            env.step(commanded[-1])
        for world, inner in enumerate(env.vec.envs):
            seen = torch.from_numpy(np.stack(inner.unwrapped.actions))
            torch.testing.assert_close(seen, torch.stack(commanded)[:, world])


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_one_env_may_end_alone(mode):
    """Env 0 is carried to its goal; env 1 must go on as if nothing had happened."""
    with closing(wrap(points(2, mode, 50), max_steps=50)) as env:
        env.reset(0)
        env.vec.envs[0].unwrapped.position = env.vec.envs[0].unwrapped.goal + 0.1
        before = env.vec.envs[1].unwrapped.position.copy()
        step = env.step(torch.tensor([[-0.5, -0.5], [0.5, 0.5]]))
        assert step.terminated.tolist() == [True, False] == step.info["success"].tolist()
        assert step.info["episode"].tolist() == [0, 1] and env.episode.tolist() == [2, 1]
        torch.testing.assert_close(step.final_obs["state"][0, 2:], step.final_obs["state"][0, :2])
        assert (step.obs["state"][0, 2:] - step.obs["state"][0, :2] >= 1).all()
        moved = torch.from_numpy(before + 0.1).float()
        torch.testing.assert_close(step.obs["state"][1, 2:], moved)
        assert torch.equal(step.obs["image_camera"][1], step.final_obs["image_camera"][1])
        assert not torch.equal(step.obs["image_camera"][0], step.final_obs["image_camera"][0])
        assert env.step(torch.zeros(2, 2)).info["length"].tolist() == [1, 2]


class Deaf(SyncVectorEnv):
    """A vector env that resets all envs whatever `reset_mask` says."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=[seed[0] or 0] * self.num_envs)


def test_an_env_that_cannot_reset_singly_is_refused():
    vec = Deaf([lambda: TimeLimit(PointGym(), 50)] * 2)
    with closing(wrap(vec)) as env:
        env.reset(0)
        env.vec.envs[0].unwrapped.position = env.vec.envs[0].unwrapped.goal.copy()
        with pytest.raises(UserError, match="resets in the next step and cannot reset single envs"):
            env.step(torch.zeros(2, 2))


class Batched(SyncVectorEnv):
    """A vector env that keeps last observations and infos of all envs in whole batches, in torch."""

    def step(self, actions):
        obs, *rest, infos = super().step(actions)
        if "final_obs" in infos:
            rows = [
                last or {key: obs[key][env] for key in obs} for env, last in enumerate(infos["final_obs"])
            ]
            last = {key: torch.as_tensor(np.stack([row[key] for row in rows])) for key in obs}
            won = torch.as_tensor(infos["final_info"]["is_success"])
            infos = {"final_observation": last, "final_info": {"success": won}}
        return obs, *rest, infos


def test_last_observations_may_come_in_batches():
    vec = Batched([lambda: TimeLimit(PointGym(), 50)] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    with closing(wrap(vec)) as env:
        env.reset(0)
        env.vec.envs[1].unwrapped.position = env.vec.envs[1].unwrapped.goal.copy()
        step = env.step(torch.zeros(2, 2))
        assert step.info["success"].tolist() == [False, True] == step.terminated.tolist()
        state, final = step.obs["state"], step.final_obs["state"]
        assert torch.equal(final[0], state[0]) and torch.equal(final[1, :2], final[1, 2:])
        assert (state[1, 2:] - state[1, :2] >= 1).all()


def test_success_may_end_the_episode():
    with closing(wrap(points(2, terminate=False), end_on_success=True)) as env:
        env.reset(0)
        env.vec.envs[1].unwrapped.position = env.vec.envs[1].unwrapped.goal.copy()
        step = env.step(torch.zeros(2, 2))
        assert step.terminated.tolist() == [False, True] and env.episode.tolist() == [0, 2]
    with closing(points(1, AutoresetMode.SAME_STEP)) as vec, pytest.raises(UserError, match="resets itself"):
        wrap(vec, end_on_success=True)


def test_success_is_found_in_every_form_of_info():
    reward, total = torch.tensor([0.1, 0.3]), torch.tensor([5.0, 1.0])
    objects = np.array([np.True_, None], dtype=object)
    judge = SuccessRule().judge
    success, known = judge({"success": objects, "_success": np.array([True, False])}, reward, total)
    assert (success.tolist(), known.tolist()) == ([True, False], [True, False])
    assert judge({"is_success": np.array([0.0, 1.0])}, reward, total)[0].tolist() == [False, True]
    assert judge({"success": torch.tensor([1, 0])}, reward, total)[0].tolist() == [True, False]
    assert judge({"success": 0.5}, reward, total)[1].tolist() == [False, False]  # a mean says nothing of each
    assert SuccessRule(key="won").judge({"won": objects != None}, reward, total)[0].tolist() == [  # noqa: E711
        True,
        False,
    ]
    assert SuccessRule(reward=0.3).judge({}, reward, total)[0].tolist() == [False, True]
    assert SuccessRule(total=5.0).judge({}, reward, total)[0].tolist() == [True, False]
    with pytest.raises(UserError, match="success_reward and success_total: say one of them"):
        SuccessRule(reward=1.0, total=2.0)


def test_an_episode_without_a_word_of_success_is_refused():
    with closing(wrap(points(1, max_steps=1), success=SuccessRule(key="won"))) as env:
        env.reset(0)
        with pytest.raises(UserError, match="without 'won' in its info: set task.success_key"):
            env.step(torch.zeros(1, 2))


def test_our_own_tasks_come_back_through_gymnasium(caplog):
    """A vector env that resets in the same step and takes one seed for all."""
    robofb.envs.task_names()
    vec = gymnasium.make_vec("robofb/OneLegInsert-v0", num_envs=2, max_steps=2)
    with caplog.at_level(logging.WARNING), closing(wrap(vec, seeds_each=False, max_steps=2)) as env:
        assert "draws its own starts" in caplog.text
        env.reset(0)
        middle = (torch.tensor(env.spec.action.low) + torch.tensor(env.spec.action.high)) / 2
        steps = [env.step(middle.expand(2, -1)) for _ in range(3)]
        assert steps[1].truncated.all() and not steps[0].done.any()
        gap = (steps[1].obs["state"] - steps[1].final_obs["state"]).abs().amax(1)
        assert (gap > 1e-3).all()


def test_renders_each_env_once_a_step_and_small():
    vec = points(2, render_mode="rgb_array")
    with closing(wrap(vec)) as env:
        env.reset(0)
        with env.renderer(100, 100) as renderer:
            frame = renderer.frame(1)
            assert frame.shape == (60, 80, 3)  # 240 x 320, every fourth pixel
            assert frame.max() == env.vec.envs[1].unwrapped._obs()["camera"].max()
            env.step(-torch.ones(2, 2))
            assert renderer.frame(1).max() < frame.max()
    with closing(wrap(points(1))) as env, pytest.raises(UserError, match="render_mode is None"):
        env.renderer(100, 100)


def test_a_vector_env_that_does_not_say_how_it_resets_is_refused():
    vec = points(1)
    del vec.metadata["autoreset_mode"]
    with closing(vec), pytest.raises(UserError, match="does not say how it resets"):
        wrap(vec)


def test_seeds_of_single_resets_are_those_of_the_episodes():
    """Episode 2 begins the same in whichever env it falls."""
    starts = []
    for num_envs in (1, 2):
        with closing(wrap(points(num_envs, max_steps=1), max_steps=1)) as env:
            seen = {}
            obs = env.reset(5)
            for _ in range(3):
                seen |= dict(zip(env.episode.tolist(), obs["state"].tolist(), strict=True))
                obs = env.step(torch.zeros(num_envs, 2)).obs
            starts.append([seen[number] for number in range(3)])
    assert starts[0] == starts[1]
