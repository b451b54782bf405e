"""Behaviour cloning from images: solves what only images show, repeats, resumes, and refuses by name."""

from contextlib import closing

import numpy as np
import pytest
import torch
from nets.test_pretrained import torchvision_weights
from omegaconf import OmegaConf

from robofb import config as configs
from robofb.errors import UserError
from robofb.evaluate import main as evaluate_run
from robofb.loading import load_policy
from robofb.rng import EpisodeRng, derive_seeds
from robofb.run import Run
from robofb.sim.render import cameras_of
from robofb.store.episodes import EpisodeStore
from robofb.store.windows import Windows
from robofb.train import bc, residual
from robofb.types import SOURCE_SCRIPTED, ArraySpec, EnvSpec, Episode
from train.test_bc import POLICY, assert_equal, config, cut, learner_of

SIZE_PX = 24
SPEC = EnvSpec(
    task="dot",
    obs={
        "state": ArraySpec((2,), unit="1", names=("ee_noise", "dot_x")),
        "image_front": ArraySpec((3, SIZE_PX, SIZE_PX), "uint8"),
    },
    action=ArraySpec((2,), unit="m", names=("dot_x", "dot_y")),
    control_dt=0.1,
    max_steps=40,
)
SEES = {
    **POLICY,
    "horizon": 2,
    "execute": 1,
    "num_inference_steps": 2,
    "obs_keys": ["state", "image_front"],
    "elements": {"state": ["ee_"]},
    "image_encoder": {
        "_target_": "robofb.policies.image_encoder.ImageEncoder",
        "_partial_": True,
        "num_features": 16,
        "crop": {"image_front": [0.92, 0.92]},
        "network": {
            "_target_": "robofb.nets.vision.ResNet",
            "_partial_": True,
            "channels": [8, 16],
            "blocks": [2, 1],
            "strides": [1, 1],
            "group_size": 4,
        },
        "pooling": {"_target_": "robofb.nets.vision.SpatialSoftmax", "_partial_": True, "keypoints": 8},
    },
}
AUGMENT = {"crop": 0.5, "colour_jitter": 0.2, "blur": 0.5, "camera_dropout": 0.1}


def dots(number, length=40):
    """Return an episode in which a bright dot jumps about; the action is where it is, in -1..1."""
    rng = np.random.default_rng(number)
    place = rng.uniform(-0.75, 0.75, (length + 1, 2)).astype(np.float32)
    axis = np.arange(SIZE_PX)
    column, row = ((place[:, at, None] + 1) / 2 * (SIZE_PX - 1) for at in (0, 1))
    light = np.exp(-((axis - row)[:, :, None] ** 2 + (axis - column)[:, None] ** 2) / 4)
    images = np.broadcast_to((30 + 200 * light)[:, None], (length + 1, 3, SIZE_PX, SIZE_PX))
    state = np.stack([rng.normal(size=length + 1), place[:, 0]], axis=1)
    return Episode(
        obs={"state": state.astype(np.float32), "image_front": images.astype(np.uint8)},
        action=place[:-1],
        reward=np.zeros(length, np.float32),
        terminated=True,
        success=True,
        timestamps=0.1 * np.arange(length + 1),
        source=np.full(length, SOURCE_SCRIPTED, np.uint8),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("dots") / "data"
    with EpisodeStore.create(path, SPEC) as store:
        for number in range(40):
            store.append(dots(number))
    return path


def train(data, out, **changes):
    return bc.train(config(data, out, **{"policy": SEES, "image_augment": AUGMENT, **changes}))


def assert_fails(data, out, words, **changes):
    with pytest.raises(UserError, match=words) as error:
        train(data, out, **changes)
    assert "\n" not in str(error.value)
    assert not out.exists()


def test_finds_the_dot(data, tmp_path):
    """Places are uniform in -0.75..0.75: the mean place is 0.375 off on average."""
    augment = {"crop": 0, "colour_jitter": 0.1}
    changes = {"steps": 400, "batch_size": 64, "lr": 3e-3, "validate_every": 400}
    run = train(data, tmp_path / "run", image_augment=augment, **changes)
    assert run.summary()["bc_training"]["action_error/dot"] < 0.08


@pytest.fixture(scope="module")
def twenty_steps(data, tmp_path_factory):
    return train(data, tmp_path_factory.mktemp("bc") / "run")


def test_same_seed_same_weights(data, twenty_steps, tmp_path):
    again = train(data, tmp_path / "again")
    assert_equal(learner_of(again), learner_of(twenty_steps))
    other = train(data, tmp_path / "other", image_augment={**AUGMENT, "blur": 0.9})
    name = "image_encoder.encoders.0.network.conv1.weight"
    weights = [learner_of(run)["learner"]["model"][name] for run in (again, other)]
    assert not torch.equal(*weights)


def observations(count=5):
    images = torch.from_numpy(dots(99).obs["image_front"][:count, None])
    return {"state": torch.zeros(count, 1, 2), "image_front": images}


def test_a_loaded_policy_acts_as_the_trained_one(data, twenty_steps):
    first, again = load_policy(twenty_steps, "latest"), load_policy(twenty_steps, "latest")
    rng = [EpisodeRng(derive_seeds(3, torch.arange(5))) for _ in range(3)]
    chunk = first.act(observations(), rng[0])
    assert torch.equal(again.act(observations(), rng[1]), chunk)
    hidden = observations()
    hidden["state"][..., 1] = 0.7  # where the dot is, which the policy does not see
    assert torch.equal(first.act(hidden, rng[2]), chunk)
    black = {**observations(), "image_front": torch.zeros_like(observations()["image_front"])}
    assert not torch.equal(first.act(black, EpisodeRng(derive_seeds(3, torch.arange(5)))), chunk)


@pytest.mark.parametrize("images", ["stream", "cache"])
def test_resumes_to_the_same_weights_with_images_from_disk(data, tmp_path, monkeypatch, images):
    changes = {"images": images, "memory_gb": 0.0019 if images == "stream" else None}
    changes |= {"cache_dir": str(tmp_path / "cache"), "policy": {**SEES, "obs_history": 2}}
    whole = train(data, tmp_path / "whole", **changes)
    cut(monkeypatch, lambda: train(data, tmp_path / "cut", **changes), after=15)
    assert Run.open(tmp_path / "cut").load_checkpoint()["step"] == 10
    resumed = train(data, tmp_path / "cut", resume=str(tmp_path / "cut"), **changes)
    assert_equal(learner_of(resumed), learner_of(whole))


def test_changes_reach_the_network_in_training_only(data, tmp_path, monkeypatch):
    """With every camera dropped the network trains on black alone; validation shows whole images."""
    seen = {True: [], False: []}
    forward = bc.ChunkPolicy.encode

    def remembers(self, obs):
        seen[self.training].append(obs["image_front"])
        return forward(self, obs)

    monkeypatch.setattr(bc.ChunkPolicy, "encode", remembers)
    train(data, tmp_path / "run", image_augment={"camera_dropout": 1}, steps=3)
    assert all(images.shape[-2:] == (22, 22) and not images.any() for images in seen[True])
    assert len(seen[True]) == 3
    assert seen[False] and all(images.shape[-2:] == (24, 24) and images.any() for images in seen[False])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": "stream"}, "images=stream: the policy sees no images, only state; leave images out"),
        ({"memory_gb": 1.0}, "memory_gb=1.0: the policy sees no images"),
        ({"cache_dir": "x"}, "cache_dir=x: the policy sees no images"),
        ({"image_augment": {"blur": 1}}, "image_augment={'blur': 1}: the policy sees no images"),
        ({"vision_weights": "x.pt"}, "weights x.pt: the policy sees no images"),
    ],
)
def test_refuses_settings_of_images_that_the_policy_does_not_see(data, tmp_path, changes, words):
    assert_fails(data, tmp_path / "run", words, **{"policy": POLICY, "image_augment": {}, **changes})


def test_refuses_a_reach_of_windows_where_there_are_none(data, tmp_path):
    whole = {**SEES, "image_encoder": {**SEES["image_encoder"], "crop": None}}
    assert_fails(data, tmp_path / "run", "image_augment.crop=0.5: the policy sees whole images", policy=whole)
    assert train(data, tmp_path / "run", policy=whole, image_augment={}, steps=1).has_checkpoint


def test_names_bad_changes():
    for word, words in (("image_augment.sharpen=1", "image_augment has no key 'sharpen'; valid: crop, col"),
                        ("image_augment.blur=much", "image_augment.blur=much: needs a number"),
                        ("image_augment={crop:3}", "crop=3.0: must be at most 1")):  # fmt: skip
        with pytest.raises(UserError, match=words):
            configs.compose("train_bc", ["data=d", word])


def test_starts_from_pretrained_weights_and_needs_the_file_only_then(data, tmp_path):
    weights = torchvision_weights()
    torch.save(weights, tmp_path / "w.pt")
    path = str(tmp_path / "w.pt")
    run = train(data, tmp_path / "run", vision_weights=path, lr=1e-12, steps=1, ema_decay=0)
    found = learner_of(run)["policy"]["image_encoder.encoders.0.network.stages.1.0.conv1.weight"]
    torch.testing.assert_close(found, weights["layer2.0.conv1.weight"], atol=1e-6, rtol=0)
    (tmp_path / "w.pt").unlink()
    assert load_policy(run).act(observations(), EpisodeRng(torch.arange(5))).shape == (5, 2, 2)
    train(data, tmp_path / "run", vision_weights=path, resume=str(run.path), steps=2)
    with pytest.raises(UserError, match="vision_weights was .*w.pt and cannot become None"):
        train(data, tmp_path / "run", resume=str(run.path), steps=3)
    assert_fails(data, tmp_path / "x", "cannot read weights .*w.pt: No such file", vision_weights=path)
    torch.save({**weights, "bn1.bias": torch.ones(3)}, path)
    assert_fails(data, tmp_path / "x", r"w.pt: 'bn1.bias' has shape \[3\]", vision_weights=path)


def test_goes_with_noise_on_the_state(tmp_path):
    names = ("ee_pos_base_x", "ee_pos_base_y", "ee_pos_base_z")
    spec = SPEC.with_obs({**SPEC.obs, "state": ArraySpec((3,), unit="m", names=names)})
    with EpisodeStore.create(tmp_path / "data", spec) as store:
        for number in range(3):
            episode = dots(number)
            state = np.random.default_rng(number).normal(size=(41, 3)).astype(np.float32)
            store.append(Episode(**{**vars(episode), "obs": {**episode.obs, "state": state}}))
    noise = {"position_m": 0.1, "share": 1}
    one, other, none = (
        train(tmp_path / "data", tmp_path / name, state_noise=given, steps=2)
        for name, given in (("one", noise), ("other", noise), ("none", {}))
    )
    assert_equal(learner_of(one), learner_of(other))
    weights = [learner_of(run)["learner"]["model"]["denoiser.stem.weight"] for run in (one, none)]
    assert not torch.equal(*weights)


def test_from_the_cameras_of_a_simulation_to_an_evaluation(tmp_path):
    """collect, train bc, eval and data rollouts with two small cameras; a residual says no in one line."""
    from robofb.cli import run as cli

    size = "image_size=[24,32]"
    words = [
        "collect",
        "episodes=2",
        "num_envs=2",
        "cameras=[front,wrist]",
        size,
        f"out={tmp_path / 'demos'}",
    ]
    assert cli(words) == 0
    small = [
        "policy=small_image_diffusion",
        "policy.image_encoder.resize=[20,24]",
        "policy.denoiser.width=16",
    ]
    words = [
        "train",
        "bc",
        f"data={tmp_path / 'demos'}",
        f"out={tmp_path / 'run'}",
        "steps=1",
        "batch_size=4",
        *small,
    ]
    assert cli([*words, "device=cpu"]) == 0
    run = Run.open(tmp_path / "run")
    assert cameras_of(load_policy(run).spec) == {"front": (24, 32), "wrist": (24, 32)}
    outcomes = []
    for num_envs in (2, 3):
        cfg = configs.compose(
            "eval",
            [
                f"run={run.path}",
                "episodes=3",
                "seed=1",
                f"num_envs={num_envs}",
                "task.max_steps=12",
                "task=one_leg_insert",
            ],
        )
        OmegaConf.update(cfg, "video", num_envs == 2)
        outcomes.append(evaluate_run(cfg))
    assert_equal_outcomes(*outcomes)
    assert list((run.path / "videos").glob("*.mp4"))
    base = configs.compose("train_residual", [f"base={run.path}", f"out={tmp_path / 'residual'}"])
    with pytest.raises(
        UserError, match=r"sees images \(image_front, image_wrist\); a residual corrects"
    ) as error:
        residual.train(base)
    assert "\n" not in str(error.value) and not (tmp_path / "residual").exists()


def assert_equal_outcomes(first, second):
    np.testing.assert_array_equal(first.length, second.length)
    for name, values in first.metrics.items():
        np.testing.assert_array_equal(values, second.metrics[name], err_msg=name)


def test_windows_hold_only_the_images_that_the_policy_sees(data):
    with closing(EpisodeStore.open(data)) as store:
        policy = bc.make_policy(POLICY, store.spec)
        windows, _ = bc.make_windows(config(data, "x", policy=POLICY), [store], policy, torch.device("cpu"))
    assert isinstance(windows, Windows) and set(windows.batch(torch.tensor([0])).obs) == {"state"}
