"""Rollouts of a run as a dataset of its own, with its source and nobody else's."""

from contextlib import closing

import numpy as np
import pytest
import torch

from robofb import cli, config
from robofb.deploy.collect import collect
from robofb.envs import make_task
from robofb.loading import load_agent, load_policy
from robofb.run import Run
from robofb.sim.render import cameras_of
from robofb.sim.vec_env import SimVecEnv
from robofb.store.episodes import EpisodeStore
from robofb.train.bc import train
from robofb.types import SIM_STATE, SOURCE_POLICY


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    collect(config.compose("collect", [f"out={folder / 'd'}", "episodes=2", "num_envs=2"]))
    words = [f"data={folder / 'd'}", f"out={folder / 'bc'}", "steps=2", "validation_fraction=0", "threads=1"]
    return train(config.compose("train_bc", [*words, "task.max_steps=6"])).path


def rollouts(run, out, *words):
    return cli.run(["data", "rollouts", str(run), "--out", str(out), "--num-envs", "2", *words])


def test_episodes_are_what_the_policy_does(run, tmp_path, capsys):
    assert rollouts(run, tmp_path / "r", "--episodes", "3", "--no-success-only") == 0
    assert "now kept 3, failures discarded 0" in capsys.readouterr().out
    with EpisodeStore.open(tmp_path / "r") as store:
        assert len(store) == 3
        for episode in store:
            assert (episode.source == SOURCE_POLICY).all()
            assert episode.meta["policy"] == str(run) and episode.meta["policy_kind"] == "bc"
        first = store[0]
    agent = load_agent(Run.open(run), 2)
    seeds = torch.tensor([first.meta["episode_seed"]] * 2)
    agent.reset(torch.ones(2, dtype=torch.bool), seeds)
    for index, action in enumerate(first.action):
        state = torch.from_numpy(first.obs["state"][index].copy()).repeat(2, 1)
        np.testing.assert_array_equal(agent.next({"state": state})[0].numpy(), action)


IMAGES = ("--cameras", "front,wrist", "--image-size", "24", "32", "--no-success-only")


def test_images_show_the_state_beside_which_they_are_recorded(run, tmp_path):
    assert rollouts(run, tmp_path / "r", "--episodes", "1", *IMAGES) == 0
    with EpisodeStore.open(tmp_path / "r") as store:
        episode, cameras = store[0], store.meta["cameras"]
    assert {name: facts["width_px"] for name, facts in cameras.items()} == {"front": 32, "wrist": 32}
    with closing(SimVecEnv(make_task("one_leg_insert"), 1, cameras=cameras_of(store.spec))) as env:
        for at in (0, 3, len(episode)):
            seen = env.restore(torch.from_numpy(episode.obs[SIM_STATE][at : at + 1].copy()))
            for key in ("state", "image_front", "image_wrist"):
                np.testing.assert_array_equal(seen[key][0].numpy(), episode.obs[key][at])
    words = [f"data={tmp_path / 'r'}", f"out={tmp_path / 'seen'}", "steps=1", "batch_size=2", "threads=1"]
    small = ["policy=small_image_mlp_chunk", "policy.image_encoder.resize=[24,32]", "validation_fraction=0"]
    assert set(load_policy(train(config.compose("train_bc", [*words, *small]))).spec.obs) == {
        "state",
        "image_front",
        "image_wrist",
    }


def test_varied_looks_are_told_and_kept_apart(run, tmp_path, capsys):
    assert rollouts(run, tmp_path / "r", "--episodes", "1", *IMAGES, "--visuals", "varied,texture=0") == 0
    with EpisodeStore.open(tmp_path / "r") as store:
        assert (store.meta["visuals"]["texture"], store.meta["visuals"]["light"]) == (0.0, 0.4)
    assert rollouts(run, tmp_path / "r", "--episodes", "2", *IMAGES) == 2
    assert "not None: choose another folder" in capsys.readouterr().err
    assert rollouts(run, tmp_path / "s", "--episodes", "1", "--visuals", "varied") == 2
    assert "visuals change what cameras see, and there are none here" in capsys.readouterr().err
    assert rollouts(run, tmp_path / "s", "--episodes", "1", *IMAGES, "--visuals", "varied,glow=1") == 2
    assert "visuals has no key 'glow'" in capsys.readouterr().err


def test_successes_only_gives_up_with_advice(run, tmp_path, capsys):
    assert rollouts(run, tmp_path / "r", "--episodes", "1", "--max-attempts", "2") == 2
    assert "train the policy further or raise --max-attempts" in capsys.readouterr().err
    assert len(EpisodeStore.open(tmp_path / "r")) == 0


def test_another_policy_gets_another_folder(run, tmp_path, capsys):
    assert rollouts(run, tmp_path / "r", "--episodes", "1", "--no-success-only") == 0
    assert (
        rollouts(run, tmp_path / "r", "--episodes", "2", "--no-success-only", "--checkpoint", "latest") == 2
    )
    assert "holds checkpoint best, not latest: choose another folder" in capsys.readouterr().err
    assert len(EpisodeStore.open(tmp_path / "r")) == 1


def test_dry_run_writes_nothing(run, tmp_path, capsys):
    assert rollouts(run, tmp_path / "r", "--episodes", "4", "--dry-run") == 0
    assert "would record episodes" in capsys.readouterr().out
    assert not (tmp_path / "r").exists()
