"""Bottlenecks: marks where there are some, a rule where there are none, states that are true."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from robofb import config
from robofb.augment.bottlenecks import command_switches
from robofb.augment.demonstrations import find_starts
from robofb.deploy.collect import collect
from robofb.envs import make_task
from robofb.errors import UserError
from robofb.sim.vec_env import SimVecEnv
from robofb.store.episodes import EpisodeStore

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


def copy_with(path, out, spec=None, meta=None, state_shift=0.0, episodes=3):
    """Copy a dataset with other facts."""
    with EpisodeStore.open(path) as source, EpisodeStore.create(out, spec or source.spec, {}) as copy:
        for each in (source[number] for number in range(episodes)):
            obs = {**each.obs, "state": each.obs["state"] + np.float32(state_shift)}
            copy.append(replace(each, obs=obs, meta=each.meta if meta is None else meta))
    return EpisodeStore.open(out)


def test_the_rule_finds_the_grasp_and_the_snippet_goes_on_after_it(data, env):
    with EpisodeStore.open(data[0]) as store:
        found = find_starts(store, env, after_change=4, rule="gripper")
        assert [start.episode for start in found] == [0, 1, 2]
        for grasp in found:
            demonstration = store[grasp.episode]
            (close, _), *_ = command_switches(demonstration.action[:, GRIPPER])
            assert (grasp.mark.step, grasp.mark.by) == (close, "rule")
            assert (grasp.until, grasp.hold, grasp.succeeds) == (close + 4, -1.0, False)
            np.testing.assert_array_equal(grasp.onward, demonstration.action[close : close + 4])
            np.testing.assert_array_equal(grasp.goal, demonstration.obs["state"][close + 4])
            np.testing.assert_array_equal(grasp.sim_state, demonstration.obs["sim_state"][close])


def test_without_a_rule_named_all_serve_and_some_lead_to_success(data, env):
    found = find_starts(EpisodeStore.open(data[0]), env, after_change=4)
    words = " ".join(start.mark.why for start in found)
    assert all(word in words for word in ("told to close", "touches", "reached"))
    assert {start.episode for start in found if start.succeeds} == {0, 1, 2}


def test_marks_of_the_dataset_go_before_the_rule(data, env, tmp_path):
    """A mark at the very end has nothing to go on with; an empty list says: no bottlenecks."""
    length = len(EpisodeStore.open(data[0])[0])
    steps = (length - 5, length, 2)
    marked = copy_with(data[0], tmp_path / "a", meta=meta_of(*steps), episodes=1)
    early, late = find_starts(marked, env, after_change=4)
    assert (early.mark.step, late.mark.step, late.until) == (2, length - 5, length)
    assert late.mark.by == "person" and late.hold == 1.0 and late.succeeds
    np.testing.assert_array_equal(late.onward, marked[0].action[-5:])
    with pytest.raises(UserError, match="there are no marks, and rule auto finds none"):
        find_starts(copy_with(data[0], tmp_path / "b", meta=meta_of()), env, 4)


def meta_of(*steps):
    return {"bottlenecks": [{"step": step, "by": "person", "why": "insert"} for step in steps]}


@pytest.mark.parametrize("mark", [{"step": 3}, 7, {"step": True, "by": "person", "why": ""}])
def test_bad_marks_are_refused(data, env, tmp_path, mark):
    bad = copy_with(data[0], tmp_path / "a", meta={"bottlenecks": [mark]})
    with pytest.raises(UserError, match="a: episode 0: meta bottlenecks holds"):
        find_starts(bad, env, 4)


def test_replayed_states_are_the_recorded_ones_bit_for_bit(data, env):
    full, plain = (find_starts(EpisodeStore.open(path), env, after_change=4) for path in data)
    assert [start.mark for start in full] == [start.mark for start in plain]
    for recorded, replayed in zip(full, plain, strict=True):
        np.testing.assert_array_equal(recorded.sim_state, replayed.sim_state)


def test_episodes_that_take_another_course_are_left_out(data, env, tmp_path):
    wrong = copy_with(data[1], tmp_path / "a", state_shift=0.01)
    with pytest.raises(UserError, match="no bottleneck to start from: none repeats in this simulator"):
        find_starts(wrong, env, 4)
    with pytest.raises(UserError, match=r"away from what was recorded"):
        find_starts(copy_with(data[0], tmp_path / "b", state_shift=0.01), env, 4)


def test_without_states_and_seeds_there_is_no_way(data, env, tmp_path):
    with pytest.raises(UserError, match="no sim_state, and no episode_seed"):
        find_starts(copy_with(data[1], tmp_path / "c", meta={}), env, 4)


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
