"""DAgger with a student that sees cameras and an expert that sees the state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from robofb.config import compose
from robofb.deploy.collect import collect
from robofb.errors import UserError
from robofb.evaluate import main as evaluate_run
from robofb.loading import load_policy
from robofb.rng import EpisodeRng
from robofb.run import Run
from robofb.store.episodes import EpisodeStore
from robofb.train import bc
from robofb.train.dagger import train

CHUNK = 4  # longer than an episode of 3 steps: all of it is one chunk
SHORT = [f"policy.horizon={CHUNK}", f"policy.execute={CHUNK}", "task.max_steps=3", "threads=1"]
STUDENT = [
    "policy=small_image_mlp_chunk",
    "policy.image_encoder.resize=[24,24]",
    "image_size=[24,24]",
    "num_envs=2",
    "episodes=2",
    "select_episodes=2",
    "bc.steps=2",
    "bc.batch_size=4",
]


@pytest.fixture(scope="module")
def expert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that regresses chunks from the state and draws nothing."""
    folder = tmp_path_factory.mktemp("expert")
    collect(compose("collect", [f"out={folder / 'd'}", "episodes=2", "num_envs=2"]))
    words = [f"data={folder / 'd'}", f"out={folder / 'bc'}", "steps=2", "validation_fraction=0"]
    return bc.train(compose("train_bc", [*words, *SHORT, "policy=mlp_chunk"])).path


def dagger(expert: Path, out: Path, *words: str) -> Run:
    return train(compose("train_dagger", [f"expert={expert}", f"out={out}", *SHORT, *STUDENT, *words]))


def test_the_expert_labels_by_state_what_the_student_sees(expert, tmp_path):
    run = dagger(expert, tmp_path / "run", "rounds=2", "beta_decay=0", "visuals=varied")
    knows = load_policy(Run.open(expert), "latest")
    for number in range(2):
        with EpisodeStore.open(run.path / f"data/round_{number:03d}") as store:
            assert store.meta["visuals"]["texture"] == 0.5
            episodes = list(store)
        for episode in episodes:
            assert episode.obs["image_wrist"].shape == (4, 3, 24, 24)
            assert episode.meta["expert_drove"] == (number == 0)
            start = {"state": torch.from_numpy(episode.obs["state"][:1].copy())[None]}
            wanted = knows.act(start, EpisodeRng(torch.zeros(1, dtype=torch.int64)))[0, :3]
            np.testing.assert_allclose(episode.action, wanted.numpy(), atol=1e-6)
    assert run.metrics()[1]["dagger/distance_to_expert"] > 0
    student = load_policy(run)
    assert set(student.spec.obs) == {"state", "image_front", "image_wrist"}
    result = evaluate_run(
        compose("eval", [f"run={run.path}", "episodes=2", "num_envs=2", "visuals=varied", "video=false"])
    )
    assert len(result.success) == 2
    assert run.summary()["eval"]["visuals"]["texture"] == 0.5
    with pytest.raises(UserError, match="image_size"):
        dagger(expert, tmp_path / "run", "rounds=3", f"resume={run.path}", "image_size=[32,32]")


def test_images_need_a_student_that_sees_them(expert, tmp_path):
    words = [f"expert={expert}", f"out={tmp_path / 'run'}", *SHORT]
    with pytest.raises(UserError, match="visuals: the student sees no images; leave visuals out"):
        compose("train_dagger", [*words, "visuals=varied"])
    with pytest.raises(UserError, match="image_size=.24.: needs .height,width."):
        compose("train_dagger", [*words, "image_size=[24]"])
    with pytest.raises(UserError, match="image_augment=.*the policy sees no images"):
        train(compose("train_dagger", [*words, "bc.image_augment={blur:1}", "num_envs=2", "episodes=2"]))
