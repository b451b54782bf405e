"""Rollouts of a run as a dataset of its own, with its source and nobody else's."""

import numpy as np
import pytest
import torch

from robofb import cli, config
from robofb.deploy.collect import collect
from robofb.loading import load_agent
from robofb.run import Run
from robofb.store.episodes import EpisodeStore
from robofb.train.bc import train
from robofb.types import SOURCE_POLICY


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
