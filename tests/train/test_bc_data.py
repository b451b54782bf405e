"""Behaviour cloning from several datasets, weighted, and from images that do not fit into memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from robofb.config import compose
from robofb.errors import UserError
from robofb.run import Run
from robofb.store.episodes import EpisodeStore
from robofb.store.image_reading import ImageReading
from robofb.store.windows import Windows, split_episodes
from robofb.train import bc
from robofb.train.bc_config import data_folders
from robofb.train.bc_learner import BcLearner
from robofb.types import SOURCE_INTERVENTION, ArraySpec
from train.test_bc import SPEC, assert_equal, config, cut, demonstration, learner_of, write_dataset


def train(data, out, **changes):
    return bc.train(OmegaConf.merge(config("", out, **changes), {"data": data}))


def fails(data, out, words, **changes):
    with pytest.raises(UserError, match=words) as error:
        train(data, out, **changes)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Two datasets; in the second, the last two of 12 steps are a person's."""
    folder = tmp_path_factory.mktemp("several")
    with EpisodeStore.create(folder / "b", SPEC) as store:
        for number in range(100, 105):
            episode = demonstration(number)
            episode.source[-2:] = SOURCE_INTERVENTION
            store.append(replace(episode, obs={"state": episode.obs["state"] * 2}))
    return [str(write_dataset(folder / "a", 10)), str(folder / "b")]


def test_one_dataset_without_weights_trains_as_a_list_of_one_does(several, tmp_path):
    plain = train(several[0], tmp_path / "plain")
    assert_equal(learner_of(train(several[:1], tmp_path / "list")), learner_of(plain))


def test_draws_of_one_dataset_are_the_generators_own_integers(several):
    with EpisodeStore.open(several[0]) as store:
        windows = Windows(store, obs_history=1, horizon=8)
    generators = [torch.Generator().manual_seed(7) for _ in range(2)]
    for _ in range(3):
        index = torch.randint(120, (16,), generator=generators[1])
        assert_equal(tuple(windows.sample(16, generators[0])), tuple(windows.batch(index)))


def test_the_statistics_count_each_training_step_once_whatever_the_weights(several, tmp_path):
    run = train(several, tmp_path / "run", data_weights=[1, 9], steps=1)
    states = []
    for folder, episodes in zip(several, (10, 5)):
        with EpisodeStore.open(folder) as store:
            states.append(store.read("state", split_episodes(episodes, 0.1, 0)[0]))
    rows = np.concatenate(states)
    centre = torch.from_numpy((rows.min(0) + rows.max(0)) / 2)
    torch.testing.assert_close(run.load_checkpoint()["policy"]["normalizer.centre_state"], centre)


def test_each_dataset_gets_its_share_and_the_run_says_so(several, tmp_path):
    run = train(
        several, tmp_path / "run", data_weights=[1, 3],
        source_weights={"intervention": 5}, steps=200, batch_size=64,
    )  # fmt: skip
    summary = run.summary()["bc_training"]
    assert summary["training_windows"] == 9 * 12 + 4 * 12
    drawn, total = summary["drawn"], 200 * 64
    assert drawn["by_dataset"]["a"] + drawn["by_dataset"]["b"] == total
    assert drawn["by_dataset"]["b"] / total == pytest.approx(3 / 4, abs=0.02)
    # In b, 2 of 12 steps count five times: 10 of 20 parts.
    assert drawn["by_source"] == {
        "intervention": pytest.approx(total * 3 / 8, rel=0.05),
        "scripted": pytest.approx(total * 5 / 8, rel=0.05),
    }
    last = [row for row in run.metrics() if "drawn_by_dataset/b" in row][-1]
    assert last["drawn_by_dataset/b"] == drawn["by_dataset"]["b"]
    assert last["drawn_by_source/intervention"] == drawn["by_source"]["intervention"]


def test_without_weights_every_window_of_all_datasets_counts_alike(several, tmp_path):
    run = train(several, tmp_path / "run", steps=200, batch_size=64)
    drawn = run.summary()["bc_training"]["drawn"]["by_dataset"]
    assert drawn["b"] / (200 * 64) == pytest.approx(4 / 13, abs=0.02)


def test_a_weighted_run_resumes_to_the_same_weights(several, tmp_path, monkeypatch):
    changes = {"data_weights": [2, 1], "source_weights": {"intervention": 3}, "steps": 20}
    whole = train(several, tmp_path / "whole", **changes)
    cut(monkeypatch, lambda: train(several, tmp_path / "cut", **changes), after=15)
    assert Run.open(tmp_path / "cut").load_checkpoint()["step"] == 10
    resumed = train(several, tmp_path / "cut", resume=str(tmp_path / "cut"), **changes)
    assert_equal(learner_of(resumed), learner_of(whole))


def test_resuming_refuses_other_weights_or_the_datasets_in_another_order(several, tmp_path):
    run = train(several, tmp_path / "run", steps=2)
    weights = learner_of(run)
    again = {"resume": str(run.path), "steps": 3}
    fails(several[::-1], tmp_path / "x", "order differ", **again)
    fails(several, tmp_path / "x", "data_weights was None", data_weights=[1, 2], **again)
    assert_equal(learner_of(run), weights)  # what was saved stays


def test_names_the_first_difference_between_datasets(several, tmp_path):
    other = SPEC.with_obs({"state": ArraySpec((4,), unit="mm", names=SPEC.obs["state"].names)})
    with EpisodeStore.create(tmp_path / "mm", other) as store:
        store.append(demonstration(0))
    words = r"mm holds observation 'state' with unit mm, not m"
    fails([several[0], str(tmp_path / "mm")], tmp_path / "run", words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": []}, "needs the folder of a dataset, or a list"),
        ({"data": [1]}, "needs the folder of a dataset"),
        ({"data": ["x", "./x"]}, "x is given twice"),
        ({"data_weights": [1, 2]}, "needs one for each of 1 datasets"),
        ({"source_weights": {"robot": 1}}, "source_weights.robot: no such source"),
        ({"images": "disk"}, "images=disk"),
        ({"memory_gb": -1}, "memory_gb=-1"),
    ],
)
def test_refuses_what_has_no_meaning(several, tmp_path, changes, words):
    changes = dict(changes)
    fails(changes.pop("data", several[0]), tmp_path / "run", words, **changes)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("verb", ["train_bc", "train_residual"])
def test_more_threads_than_a_process_can_hold_are_refused(verb):
    with pytest.raises(UserError, match="threads=100000: must be at most 256"):
        compose(verb, ["data=d" if verb == "train_bc" else "base=b", "threads=100000"])


class TestWords:
    @pytest.mark.parametrize("words", ["[a,b]", "[a, b]", "['a','b']"])
    def test_a_list_of_datasets(self, words):
        assert compose("train_bc", [f"data={words}"]).data == ["a", "b"]

    def test_paths_in_a_list_need_no_quotes(self, monkeypatch):
        monkeypatch.setenv("HOME", "/home/someone")
        assert compose("train_bc", ["data=[runs/lr=0.1,~/d,a b]"]).data == [
            "runs/lr=0.1", "/home/someone/d", "a b",
        ]  # fmt: skip

    @pytest.mark.parametrize("path", ["runs/lr=0.1", "a b", "1e3", "null2"])
    def test_one_path(self, path):
        assert data_folders(compose("train_bc", [f"data={path}"]).data) == [path]

    def test_weights(self):
        cfg = compose("train_bc", ["data=[a,b]", "data_weights=[3,1]", "source_weights.intervention=2"])
        assert cfg.data_weights == [3, 1]
        assert cfg.source_weights == {"intervention": 2}

    def test_mistakes_are_named(self):
        with pytest.raises(UserError, match="source_weights.robot: no such source; valid: human"):
            compose("train_bc", ["data=a", "source_weights.robot=2"])
        with pytest.raises(UserError, match=r"data_weights\[0\]=-1"):
            compose("train_bc", ["data=a", "data_weights=[-1,2]"])


class Looker(torch.nn.Module):
    """Predicts the first action from the mean of the images, which is all that a test needs."""

    def __init__(self):
        super().__init__()
        self.network = torch.nn.Linear(2, 3)

    def loss(self, batch, rng):
        brightness = batch.obs["image"].float().mean(dim=(2, 3, 4)) / 255
        loss = (self.network(brightness) - batch.action[:, 0]).square().mean()
        return loss, {"loss": loss.detach()}


def image_learner(store, folder, mode="stream"):
    torch.manual_seed(0)
    reading = ImageReading(mode, 16 * (64 + 1) * 48, folder, threads=2)
    windows = Windows(store, obs_history=2, horizon=4, images=reading)
    sizes = {"batch_size": 100, "lr": 1e-2, "weight_decay": 0.0, "warmup_steps": 0, "total_steps": 40}
    return BcLearner(Looker(), windows, **sizes, ema_decay=0.9, grad_clip=1.0, seed=0)


def test_learning_from_streamed_images_goes_on_exactly_and_learns_as_from_memory(tmp_path):
    spec = replace(SPEC, obs={"image": ArraySpec((3, 4, 4), "uint8")})
    with EpisodeStore.create(tmp_path / "d", spec) as store:
        for number in range(25):
            episode = demonstration(number, 60)
            light = ((episode.obs["state"][:, :1] + 1.5) * 80).clip(0, 255).astype(np.uint8)
            images = np.broadcast_to(light[:, :, None, None], (61, 3, 4, 4)).copy()
            store.append(replace(episode, obs={"image": images}))
    whole = image_learner(store, tmp_path)
    losses = [float(whole.step()["loss"]) for _ in range(15)]
    torch.save(whole.state_dict(), tmp_path / "state.pt")
    losses += [float(whole.step()["loss"]) for _ in range(25)]
    restored = image_learner(store, tmp_path)
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [float(restored.step()["loss"]) for _ in range(25)] == losses[15:]
    assert_equal(restored.state_dict(), whole.state_dict())
    memory = image_learner(store, tmp_path, "cache")
    held = [float(memory.step()["loss"]) for _ in range(40)]
    assert np.mean(losses[-10:]) == pytest.approx(np.mean(held[-10:]), rel=0.1)
    assert np.mean(losses[-10:]) < 0.9 * losses[0]
