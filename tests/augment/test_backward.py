"""Backward augmentation: snippets are what they say, and the same whatever the number of envs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from robofb import cli, config
from robofb.augment.backward import ROUND, BackwardAugmenter, draw_attempts
from robofb.augment.demonstrations import find_starts
from robofb.deploy.collect import collect
from robofb.envs import make_task
from robofb.sim.vec_env import SimVecEnv
from robofb.store.episodes import EpisodeStore
from robofb.train.bc import train
from robofb.types import SOURCE_AUGMENTED


def augment(path, out, *words):
    return cli.run(["data", "augment", str(path), "--out", str(out), *words])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "d"
    collect(config.compose("collect", [f"out={path}", "episodes=3", "num_envs=3"]))
    return path


@pytest.fixture(scope="module")
def snippets(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("snippets") / "s"
    assert augment(data, out, "--snippets", "8", "--num-envs", "16") == 0
    return out


def test_rarely_reached_bottlenecks_are_drawn_in_proportion():
    """Weights 1, 1/4, 1/4 of sum 1.5."""
    attempts = [each for index in range(60) for each in draw_attempts(ROUND * index, 0, [0, 3, 3])]
    places = np.bincount([each.place for each in attempts], minlength=3)
    assert len(attempts) == 60 * ROUND
    np.testing.assert_allclose(places / places.sum(), [2 / 3, 1 / 6, 1 / 6], atol=0.03)


def test_an_attempt_depends_on_its_number_alone():
    whole, rest = draw_attempts(0, 5, [0, 0]), draw_attempts(20, 5, [0, 0])
    assert whole[20:] == rest and [each.number for each in rest] == list(range(20, ROUND))
    assert draw_attempts(0, 6, [0, 0])[0].retreat != whole[0].retreat


def test_snippets_are_what_they_say(data, snippets):
    with EpisodeStore.open(data) as source, EpisodeStore.open(snippets) as store:
        assert len(store) == 8
        for snippet in store:
            facts = snippet.meta["augmentation"]
            demonstration = source[facts["episode"]]
            step, until, back = facts["step"], facts["until"], facts["steps_back"]
            assert (snippet.source == SOURCE_AUGMENTED).all()
            assert "episode_seed" not in snippet.meta and snippet.meta["robot"] == "franka"
            onward = snippet.action[back:]
            np.testing.assert_array_equal(onward, demonstration.action[step:until][: len(onward)])
            np.testing.assert_array_equal(  # the last step back commands the pose of the bottleneck
                snippet.action[back - 1, :3], demonstration.obs["state"][step, :3]
            )
            hold = demonstration.action[step - 1, 9]
            assert (snippet.action[:back, 9] == hold).all()
            away = np.linalg.norm(snippet.obs["state"][0, :3] - demonstration.obs["state"][step, :3])
            assert away > 0.1  # one lift and 20 cm along a ray at the least, one step of lag
            final, goal = snippet.obs["state"][-1], demonstration.obs["state"][until]
            for part in (slice(16, 19), slice(25, 28)):
                assert np.linalg.norm(final[part] - goal[part]) <= 0.017
            assert abs(final[15] - goal[15]) <= 0.005
            assert snippet.success == (until == len(demonstration))
            np.testing.assert_allclose(np.diff(snippet.timestamps), 0.1)


def test_a_snippet_repeats_from_its_own_first_state(snippets):
    snippet = EpisodeStore.open(snippets)[0]
    env = SimVecEnv(make_task("one_leg_insert"), 1, autoreset=False, sim_state=True)
    obs = env.restore(torch.from_numpy(snippet.obs["sim_state"][:1].copy()))
    for index, action in enumerate(snippet.action):
        np.testing.assert_array_equal(obs["state"][0].numpy(), snippet.obs["state"][index])
        obs = env.step(torch.from_numpy(action[None].copy())).final_obs
    env.close()


def test_same_snippets_for_any_number_of_envs_and_when_continued(data, snippets, tmp_path):
    assert augment(data, tmp_path / "s", "--snippets", "3", "--num-envs", "5") == 0
    assert augment(data, tmp_path / "s", "--snippets", "8", "--num-envs", "7") == 0
    for first, second in zip(EpisodeStore.open(snippets), EpisodeStore.open(tmp_path / "s"), strict=True):
        assert first.meta == second.meta and first.success == second.success
        np.testing.assert_array_equal(first.action, second.action)
        for key in first.obs:
            np.testing.assert_array_equal(first.obs[key], second.obs[key])


def test_what_ends_elsewhere_is_not_kept(data):
    env = SimVecEnv(make_task("one_leg_insert"), 8, autoreset=False, sim_state=True)
    grasps = find_starts(EpisodeStore.open(data), env, 10, "gripper")
    augmenter = BackwardAugmenter(str(data), grasps, env, seed=0)
    attempts = draw_attempts(0, 0, [0] * len(grasps))[:8]
    found = [(a, e) for a, e in zip(attempts, augmenter.run(attempts), strict=True) if e is not None]
    assert found
    attempt, episode = found[0]

    def arrives(element, shift):
        state = episode.obs["state"].copy()
        state[-1] = grasps[attempt.place].goal
        state[-1, element] += shift
        return augmenter.arrived(replace(episode, obs={**episode.obs, "state": state}), attempt)

    leg_x, top_y, width = 16, 26, 15
    assert arrives(leg_x, 0.0165) and not arrives(leg_x, 0.0175)
    assert arrives(top_y, -0.0165) and not arrives(top_y, -0.0175)
    assert arrives(width, 0.0045) and not arrives(width, 0.0055)
    assert arrives(0, 0.5)  # the end-effector itself is free
    assert not augmenter.arrived(replace(episode, terminated=True, success=False), attempt)
    env.close()


def test_dry_run_writes_nothing(data, tmp_path, capsys):
    assert augment(data, tmp_path / "s", "--snippets", "8", "--dry-run") == 0
    assert "of 32 attempts" in capsys.readouterr().out
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "1"], "was made with seed 0, not 1: choose another folder"),
        (["--rule", "gripper"], "was made with rule auto, not gripper"),
        (["--after-change", "3"], "was made with after_change 10, not 3"),
        (["--distance-m", "0.4", "0.2"], "needs 0 < least <= greatest"),
    ],
)
def test_other_settings_are_not_mixed_in(data, snippets, capsys, words, message):
    assert augment(data, snippets, "--snippets", "9", *words) == 2
    assert message in capsys.readouterr().err
    assert len(EpisodeStore.open(snippets)) == 8


def test_the_demonstrations_are_never_written_to(data, capsys):
    before = (data / "index.json").read_bytes()
    assert augment(data, data, "--snippets", "9") == 2
    assert "choose another folder" in capsys.readouterr().err
    assert (data / "index.json").read_bytes() == before


def test_a_policy_trains_on_snippets(snippets, tmp_path):
    words = [f"data={snippets}", f"out={tmp_path / 'bc'}", "steps=2", "state_noise.share=0.5"]
    checkpoint = train(config.compose("train_bc", words)).load_checkpoint()
    assert set(checkpoint["spec"]["obs"]) == {"state"}
