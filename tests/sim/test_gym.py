"""Gymnasium's own checker, and the vector env against the single one."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import robofb.envs
from robofb.envs.teacher.grid import AGENT_RGB
from robofb.errors import UserError


@pytest.mark.parametrize("name", robofb.envs.task_names())
def test_single_env_passes_gymnasiums_checker(name):
    env = gymnasium.make(robofb.envs.gymnasium_id(name))
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("name", robofb.envs.engine_task_names())
def test_vector_env_keeps_gymnasiums_contract(name):
    envs = gymnasium.make_vec(robofb.envs.gymnasium_id(name), num_envs=3, max_steps=4)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    first, _ = envs.reset(seed=5)
    again, _ = envs.reset(seed=5)
    np.testing.assert_array_equal(first["state"], again["state"])
    assert envs.observation_space.contains(first)
    assert not np.array_equal(first["state"][0], first["state"][1])
    envs.action_space.seed(0)
    for step in range(1, 6):
        obs, reward, terminated, truncated, infos = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(obs)
        assert reward.shape == terminated.shape == truncated.shape == (3,)
        assert truncated.all() == (step == 4)  # the time limit of 4, then a new episode
        if step == 4:
            assert infos["_final_obs"].all()
            final = np.stack([row["state"] for row in infos["final_obs"]])
            assert not np.array_equal(final, obs["state"])
            assert infos["length"].tolist() == [4, 4, 4]
    envs.close()


@pytest.mark.parametrize("name", sorted(set(robofb.envs.task_names()) - set(robofb.envs.engine_task_names())))
def test_tasks_with_worlds_of_their_own_keep_gymnasiums_contract(name):
    envs = gymnasium.make_vec(robofb.envs.gymnasium_id(name), num_envs=8, max_steps=4)
    envs.action_space.seed(0)
    first, _ = envs.reset(seed=5)
    again, _ = envs.reset(seed=5)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    for _ in range(12):
        obs, _, terminated, truncated, infos = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(obs)
        done = terminated | truncated
        assert (infos["length"][truncated] == 4).all() and (infos["length"] <= 4).all()
        assert np.array_equal(infos.get("_final_obs", np.zeros(8, bool)), done)
    envs.close()
    with pytest.raises(UserError, match=f"{name} has no cameras"):
        gymnasium.make_vec(robofb.envs.gymnasium_id(name), num_envs=8, cameras=["front"])


def test_choices_are_choices_in_gymnasium_and_the_end_can_be_rendered():
    env = gymnasium.make("robofb/TigerDoor-v0", render_mode="rgb_array")
    assert env.action_space == gymnasium.spaces.Discrete(4)
    obs, _ = env.reset(seed=0)
    for move in (2, 2, 1, 1, 0, 1, 1):
        obs, _, terminated, _, _ = env.step(move)
    assert terminated and obs["grid"][-1, 2, 5] == 1  # the agent stands in the upper door
    picture = env.render()
    door = picture[64:96, 160:192].reshape(-1, 3).tolist()  # 32 pixels a cell
    assert list(AGENT_RGB) in door and list(AGENT_RGB) not in picture[:64].reshape(-1, 3).tolist()
    env.close()


def test_vector_env_works_under_gymnasiums_wrappers():
    envs = gymnasium.make_vec("robofb/OneLegInsert-v0", num_envs=2, max_steps=3)
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(envs)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    for _ in range(3):
        *_, infos = envs.step(envs.action_space.sample())
    assert infos["episode"]["l"].tolist() == [3, 3]
    envs.close()


def test_single_env_ends_with_its_own_last_observation():
    env = gymnasium.make("robofb/OneLegInsert-v0", max_steps=2)
    obs, _ = env.reset(seed=0)
    stay = np.array([0.48, 0, 0.2, 1, 0, 0, 0, -1, 0, -1], np.float32)
    env.step(stay)
    last, _, terminated, truncated, info = env.step(stay)
    inner = env.unwrapped._env  # the world still shows the end, as RecordVideo wants it
    np.testing.assert_array_equal(inner.task.observe(inner.engine)["state"][0], last["state"])
    assert (terminated, truncated, info["length"]) == (False, True, 2)
    assert np.abs(last["state"][:3] - [0.48, 0, 0.2]).max() < np.abs(obs["state"][:3] - [0.48, 0, 0.2]).max()
    env.close()


def test_unknown_task_and_setting_are_named():
    with pytest.raises(UserError, match="one_leg_insert, .*not 'two_legs'"):
        robofb.envs.make_task("two_legs")
    with pytest.raises(UserError, match="no setting 'randomnes'; it has randomness"):
        robofb.envs.make_task("one_leg_insert", randomnes="low")


def test_images_are_observed_where_cameras_are_named():
    kwargs = {"cameras": ["wrist"], "image_size": (16, 24)}
    env = gymnasium.make("robofb/OneLegInsert-v0", **kwargs)
    check_env(env.unwrapped, skip_render_check=True)
    assert env.reset(seed=0)[0]["image_wrist"].shape == (3, 16, 24)
    env.close()
    envs = gymnasium.make_vec("robofb/OneLegInsert-v0", num_envs=2, **kwargs)
    assert envs.observation_space.contains(envs.reset(seed=0)[0])
    envs.close()
