"""Tests of robofb.train.dagger beyond the contract of all trainers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import HIDDEN_OFFSET, KnowingPolicy, ResumablePointEnv
from learning import SETTINGS, save_base

from robofb import loading
from robofb.config import compose
from robofb.errors import UserError
from robofb.run import Run
from robofb.store.episodes import EpisodeStore
from robofb.train.dagger import DaggerConfig, train

STUDENT = {"_target_": "fakes.AimingPolicyOfSpec", "_partial_": True}
BC = {"steps": 5, "batch_size": 16, "precision": "float32"}


@pytest.fixture(autouse=True)
def point_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "make_env", lambda task, engine, num_envs: ResumablePointEnv(num_envs))


def run(tmp_path: Path, **changes: Any) -> Run:
    if not (tmp_path / "expert").exists():
        save_base(tmp_path / "expert", KnowingPolicy(), "AimingPolicyOfSpec")
    settings = {**SETTINGS, "num_envs": 4, "episodes": 6, "policy": STUDENT, "bc": BC, **changes}
    return train(DaggerConfig(expert=str(tmp_path / "expert"), out=str(tmp_path / "run"), **settings))


def test_every_visited_state_is_labelled_by_the_expert_whoever_drove(tmp_path):
    """The expert heads for the goal as it is shown when its chunk of 4 begins, plus the hidden offset."""
    trained = run(tmp_path, rounds=2, beta_decay=0.0)
    assert [row["dagger/beta"] for row in trained.metrics()] == [1.0, 0.0]
    for number, drove in ((0, True), (1, False)):
        store = EpisodeStore.open(trained.path / f"data/round_{number:03d}")
        assert len(store) == 6
        for episode in (store[index] for index in range(6)):
            assert episode.meta["expert_drove"] is drove
            wanted = episode.obs["state"][0, 2:] + HIDDEN_OFFSET.numpy()
            np.testing.assert_allclose(episode.action, np.tile(wanted, (len(episode), 1)), atol=1e-5)
            moved = np.diff(episode.obs["state"][:, :2], axis=0)
            followed = np.clip(wanted - episode.obs["state"][:-1, :2], -0.2, 0.2)
            assert np.allclose(moved, followed, atol=1e-5) == drove
    assert trained.metrics()[0]["dagger/distance_to_expert"] == 0.0
    assert trained.metrics()[1]["dagger/distance_to_expert"] > 0.01
    sizes = [int(row["dagger/windows"]) for row in trained.metrics()]
    steps = [sum(map(len, _episodes(trained, number))) for number in range(2)]
    assert sizes == [steps[0], steps[0] + steps[1]]  # aggregated


def _episodes(trained: Run, number: int) -> list[Any]:
    store = EpisodeStore.open(trained.path / f"data/round_{number:03d}")
    return [store[index] for index in range(len(store))]


def test_the_expert_drives_a_falling_share(tmp_path):
    trained = run(tmp_path, rounds=3, beta_decay=0.5, episodes=16)
    assert [row["dagger/beta"] for row in trained.metrics()] == [1.0, 0.5, 0.25]
    drove = [sum(one.meta["expert_drove"] for one in _episodes(trained, number)) for number in range(3)]
    assert drove[0] == 16
    assert 3 <= drove[1] <= 13
    assert drove[2] < 10


def test_what_a_stopped_round_left_is_played_again(tmp_path):
    trained = run(tmp_path, rounds=1)
    (trained.path / "data/round_001").mkdir()
    (trained.path / "data/round_001/rest").touch()
    trained = run(tmp_path, rounds=2, resume=str(trained.path))
    assert len(_episodes(trained, 1)) == 6


def test_a_run_whose_episodes_are_gone_is_refused(tmp_path):
    trained = run(tmp_path, rounds=1)
    (trained.path / "data/round_000").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="round_000 is gone: this run cannot go on without it"):
        run(tmp_path, rounds=2, resume=str(trained.path))


def test_demonstrations_are_learnt_from_as_well(tmp_path):
    first = run(tmp_path, rounds=1)
    (first.path / "data/round_000").rename(tmp_path / "demonstrations")
    first.path.rename(tmp_path / "first")
    second = run(tmp_path, rounds=1, data=str(tmp_path / "demonstrations"))
    sizes = [int(one.metrics()[0]["dagger/windows"]) for one in (Run.open(tmp_path / "first"), second)]
    assert sizes[1] == 2 * sizes[0]


def test_keys_of_a_round_are_checked():
    cfg = compose("train dagger", ["expert=x", "bc.steps=7", "bc.lr=0.1"])
    assert (cfg.bc.steps, cfg.policy["_target_"]) == (7, "robofb.policies.diffusion.DiffusionPolicy")
    with pytest.raises(UserError, match=r"bc\.epochs: no key of a round; valid: steps, batch_size"):
        compose("train dagger", ["expert=x", "bc.epochs=7"])
    for word, needs in (("steps=1.5", "a whole number"), ("lr=big", "a number"), ("precision=16", "a word")):
        with pytest.raises(UserError, match=f"bc.{word}: needs {needs}"):
            compose("train dagger", ["expert=x", f"bc.{word}"])
    with pytest.raises(UserError, match="steps=0"):
        compose("train dagger", ["expert=x", "bc.steps=0"])
    with pytest.raises(UserError, match="beta_decay=2"):
        compose("train dagger", ["expert=x", "beta_decay=2"])
