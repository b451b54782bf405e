"""Bottlenecks: marks where there are some, a rule where there are none, states that are true."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from robofb import config
from robofb.augment.demonstrations import LEAD_STEPS, find_bottlenecks, gripper_changes, marks_of
from robofb.deploy.collect import collect
from robofb.envs import make_task
from robofb.errors import UserError
from robofb.sim.vec_env import SimVecEnv
from robofb.store.episodes import EpisodeStore
from robofb.types import Episode

GRIPPER = 9


@pytest.fixture(scope="module")
def env():
    made = SimVecEnv(make_task("one_leg_insert"), 2, autoreset=False, sim_state=True)
    yield made
    made.close()


def demonstrations(path, *words):
    collect(config.compose("collect", [f"out={path}", "episodes=3", "num_envs=3", *words]))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return demonstrations(folder / "full"), demonstrations(folder / "plain", "sim_state=false")


def episode(gripper, success=True, meta=None):
    action = np.zeros((len(gripper), 10), np.float32)
    action[:, GRIPPER] = gripper
    return Episode({}, action, np.zeros(0), True, success, np.zeros(0), np.zeros(0), meta or {})


def test_gripper_changes_by_hand():
    assert gripper_changes(np.array([-1, -1, 1, 0.5, -0.1, -1])).tolist() == [2, 4]


def test_the_rule_marks_gripper_changes_and_the_way_to_success():
    steps = [-1] * 3 + [1] * 9
    assert [mark["step"] for mark in marks_of(episode(steps), GRIPPER, "e")] == [3, 12 - LEAD_STEPS]
    assert [mark["step"] for mark in marks_of(episode(steps, False), GRIPPER, "e")] == [3]
    assert marks_of(episode([1] * LEAD_STEPS), GRIPPER, "e") == []


def test_marks_of_the_dataset_go_before_the_rule():
    marks = [{"step": 2, "by": "person", "why": "insert"}]
    assert marks_of(episode([-1, 1, 1], meta={"bottlenecks": marks}), GRIPPER, "e") == marks
    assert marks_of(episode([-1, 1, 1], meta={"bottlenecks": []}), GRIPPER, "e") == []


@pytest.mark.parametrize("mark", [{"step": 3}, {"step": -1}, {"step": 1.5}, {}, 7, {"step": True}])
def test_bad_marks_are_refused(mark):
    with pytest.raises(UserError, match=r"d, episode 4: bottleneck .* needs a step in 0\.\.2"):
        marks_of(episode([-1, 1, 1], meta={"bottlenecks": [mark]}), GRIPPER, "d, episode 4")


def test_a_bottleneck_goes_on_after_the_next_change(data, env):
    with EpisodeStore.open(data[0]) as store:
        found = find_bottlenecks(store, env, GRIPPER, after_change=4)
        assert len(found) == 6
        for grasp, insertion in zip(found[::2], found[1::2], strict=True):
            demonstration = store[grasp.episode]
            close = int(gripper_changes(demonstration.action[:, GRIPPER])[0])
            assert (grasp.step, grasp.until, grasp.hold, grasp.succeeds) == (close, close + 4, -1.0, False)
            assert (insertion.step, insertion.until) == (len(demonstration) - 5, len(demonstration))
            assert insertion.hold == 1.0 and insertion.succeeds
            np.testing.assert_array_equal(insertion.onward, demonstration.action[-5:])
            np.testing.assert_array_equal(insertion.goal, demonstration.obs["state"][-1])
            np.testing.assert_array_equal(grasp.sim_state, demonstration.obs["sim_state"][close])


def test_replayed_states_are_the_recorded_ones_bit_for_bit(data, env):
    full, plain = (find_bottlenecks(EpisodeStore.open(path), env, GRIPPER, after_change=4) for path in data)
    assert len(full) == len(plain)
    for recorded, replayed in zip(full, plain, strict=True):
        np.testing.assert_array_equal(recorded.sim_state, replayed.sim_state)


def copy_with(path, out, spec=None, meta=None, state_shift=0.0):
    """Copy a dataset with other facts."""
    with EpisodeStore.open(path) as source, EpisodeStore.create(out, spec or source.spec, {}) as copy:
        for each in source:
            obs = {**each.obs, "state": each.obs["state"] + np.float32(state_shift)}
            copy.append(replace(each, obs=obs, meta=each.meta if meta is None else meta))
    return EpisodeStore.open(out)


def test_episodes_that_take_another_course_are_left_out(data, env, tmp_path):
    wrong = copy_with(data[1], tmp_path / "a", state_shift=0.01)
    with pytest.raises(UserError, match="no bottleneck to start from: none repeats in this simulator"):
        find_bottlenecks(wrong, env, GRIPPER, 4)
    with pytest.raises(UserError, match=r"away from what was recorded"):
        find_bottlenecks(copy_with(data[0], tmp_path / "b", state_shift=0.01), env, GRIPPER, 4)


def test_without_states_and_seeds_there_is_no_way(data, env, tmp_path):
    with pytest.raises(UserError, match="no sim_state, and no episode_seed"):
        find_bottlenecks(copy_with(data[1], tmp_path / "c", meta={}), env, GRIPPER, 4)


def test_envs_go_on_from_a_recorded_state_bit_for_bit(data, env):
    demonstration = EpisodeStore.open(data[0])[0]
    middle = len(demonstration) // 2
    state = torch.from_numpy(demonstration.obs["sim_state"][middle].copy())
    obs = env.restore(state.repeat(2, 1))
    assert env.elapsed.tolist() == [0, 0]
    for index in range(middle, len(demonstration)):
        np.testing.assert_array_equal(obs["state"][1].numpy(), demonstration.obs["state"][index])
        step = env.step(torch.from_numpy(demonstration.action[index].copy()).repeat(2, 1))
        obs = step.final_obs
    assert step.info["success"].all() and step.reward.tolist() == [1.0, 1.0]
    np.testing.assert_array_equal(obs["sim_state"][0].numpy(), demonstration.obs["sim_state"][-1])
