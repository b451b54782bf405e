"""Recording demonstrations: only successes, exactly what happened, and going on where it stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from robofb import config
from robofb.deploy.collect import collect
from robofb.deploy.teleop.window import Window, load_pygame
from robofb.envs import make_task
from robofb.envs.looks.show import MeshLooks
from robofb.errors import UserError
from robofb.rng import derive_seeds
from robofb.sim.vec_env import SimVecEnv
from robofb.store.episodes import EpisodeStore
from robofb.train.bc import train
from robofb.types import SOURCE_HUMAN, SOURCE_SCRIPTED


def run(out, *words: str):
    return collect(config.compose("collect", [f"out={out}", "num_envs=4", *words]))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "d"
    outcome = run(out, "episodes=4", "noise=1.0", "seed=3")
    return out, outcome


def test_keeps_only_successes_and_says_what_it_did(dataset):
    out, outcome = dataset
    store = EpisodeStore.open(out)
    assert (len(store), outcome.kept) == (4, 4)
    assert all(store.successes)
    assert store.spec.task == "one_leg_insert"
    for episode in store:
        assert episode.terminated and episode.reward.sum() == 1.0 and episode.reward[-1] == 1.0
        assert (episode.source == SOURCE_SCRIPTED).all()
        np.testing.assert_allclose(np.diff(episode.timestamps), 0.1)
        assert episode.meta["randomness"] == "low" and episode.meta["robot"] == "franka"


def test_replaying_the_recorded_actions_gives_the_recorded_states(dataset):
    """The simulator is deterministic: from the recorded episode's seed the same course follows."""
    out, _ = dataset
    episode = EpisodeStore.open(out)[0]
    env = SimVecEnv(make_task("one_leg_insert"), 4)
    start_seed = int(derive_seeds(3, 0))
    first = env.reset(start_seed)
    row = env.episode_seed.tolist().index(episode.meta["episode_seed"])
    np.testing.assert_array_equal(first["state"][row].numpy(), episode.obs["state"][0])
    actions = torch.zeros(4, 10)
    for index, action in enumerate(episode.action):
        actions[:] = torch.from_numpy(action.copy())
        step = env.step(actions)
        if index < len(episode) - 1 and not step.done.any():
            np.testing.assert_array_equal(
                step.final_obs["state"][row].numpy(), episode.obs["state"][index + 1]
            )
    assert step.info["success"][row]
    assert step.info["episode"][row] < 4  # the episode that the row began with


def test_goes_on_with_new_start_states(dataset):
    out, _ = dataset
    run(out, "episodes=6", "noise=1.0", "seed=3")
    store = EpisodeStore.open(out)
    assert len(store) == 6
    assert len({episode.meta["episode_seed"] for episode in store}) == 6
    assert run(out, "episodes=6", "noise=1.0", "seed=3").kept == 0


def test_same_seed_same_data(tmp_path):
    for name in ("a", "b"):
        run(tmp_path / name, "episodes=2", "seed=5")
    first, second = (EpisodeStore.open(tmp_path / name)[1] for name in ("a", "b"))
    np.testing.assert_array_equal(first.action, second.action)
    np.testing.assert_array_equal(first.obs["state"], second.obs["state"])


def test_hopeless_expert_is_given_up(tmp_path):
    with pytest.raises(UserError, match="gave up after .* lower noise or raise max_attempts"):
        run(tmp_path / "x", "episodes=1", "noise=30", "max_attempts=1")


def test_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError):
        run(tmp_path, "episodes=1")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_images_are_recorded_where_cameras_are_named(tmp_path):
    run(tmp_path / "d", "episodes=1", "num_envs=1", "cameras=[front,wrist]", "image_size=[24,32]")
    episode = EpisodeStore.open(tmp_path / "d")[0]
    for key in ("image_front", "image_wrist"):
        images = episode.obs[key]
        assert (images.shape, images.dtype) == ((len(episode) + 1, 3, 24, 32), np.uint8)
        assert images[0].std() > 10  # a picture, not a blank
        assert not np.array_equal(images[0], images[-1])
    cameras = EpisodeStore.open(tmp_path / "d").meta["cameras"]
    assert cameras["wrist"]["fixed_to"] == "hand" and cameras["front"]["height_px"] == 24
    policy = train(compose_bc(tmp_path)).load_checkpoint()
    assert set(policy["spec"]["obs"]) == {"state"}  # what the policy sees, whatever the dataset holds


def test_a_person_at_the_keyboard_records_in_real_time(tmp_path, monkeypatch):
    """Keys go in as SDL events, the rest is the command as a user runs it, window and pictures included."""
    pygame = load_pygame()
    shown = []
    show = Window.show

    def press(*names):
        for name in names:
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.key.key_code(name)))

    def show_and_type(window, frames, status):
        show(window, frames, status)
        shown.append((set(frames), status["state"]))
        if len(shown) == 1:
            press("space", "r", "return")
        elif len(shown) == 7:
            press("y", "y", "escape")

    monkeypatch.setattr(Window, "show", show_and_type)
    outcome = run(tmp_path / "d", "teleop=keyboard", "teleop.speed_m_s=0.1", "episodes=5", "seed=4")
    assert (outcome.kept, outcome.discarded, outcome.total) == (1, 0, 1)
    assert shown[0] == ({"front", "wrist"}, "not recording") and shown[1][1] == "recording"
    episode = EpisodeStore.open(tmp_path / "d")[0]
    assert len(episode) == 5 or len(episode) == 6
    rise = np.diff(episode.action[:, 2])
    np.testing.assert_allclose(rise, 0.01, atol=1e-5)  # 0.1 m/s for 0.1 s
    assert episode.obs["state"][-1, 2] - episode.obs["state"][0, 2] > 0.02
    assert episode.meta["teleop"] == "keyboard" and episode.meta["success_by"] == "person"
    assert (episode.source == SOURCE_HUMAN).all()


def quit_at_once(monkeypatch):
    """Let the person at the keyboard leave as soon as there is a picture."""
    pygame = load_pygame()
    escape = pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE)
    monkeypatch.setattr(Window, "show", lambda window, frames, status: pygame.event.post(escape))


def test_who_leaves_without_an_episode_leaves_nothing_that_stands_in_the_way(tmp_path, monkeypatch):
    quit_at_once(monkeypatch)
    assert run(tmp_path / "d", "teleop=keyboard", "task.randomness=med").total == 0
    outcome = run(tmp_path / "d", "episodes=1", "noise=0", "sim_state=false")
    assert (outcome.kept, outcome.total) == (1, 1)
    with EpisodeStore.open(tmp_path / "d") as store:
        assert (store.meta["teleop"], store.meta["randomness"]) == ("scripted", "low")
        assert set(store.spec.obs) == {"state"}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("noise=0.5", "holds noise 1.0, not 0.5: choose another folder"),
        ("task.randomness=med", "holds randomness low, not med: choose another folder"),
        ("teleop=keyboard", "holds noise 1.0, not None: choose another folder"),
    ],
)
def test_demonstrations_of_other_settings_are_not_mixed_in(dataset, word, message):
    out, _ = dataset
    index = (out / "index.json").read_bytes()
    with pytest.raises(UserError, match=message):
        run(out, "episodes=9", word)
    assert (out / "index.json").read_bytes() == index


def test_demonstrations_of_other_looks_are_not_mixed_in(dataset, monkeypatch):
    out, _ = dataset
    told = MeshLooks.meta.fget
    monkeypatch.setattr(MeshLooks, "meta", property(lambda looks: {**told(looks), "looks": "arm"}))
    with pytest.raises(UserError, match="holds looks None, not arm: choose another folder"):
        run(out, "episodes=9")


def test_sigterm_ends_a_session_in_order(tmp_path):
    """SDL takes the cameras' OpenGL display along when its window closes first."""
    command = [sys.executable, "-m", "robofb.cli", "collect", "task=one_leg_insert", "teleop=keyboard"]
    root = Path(__file__).parents[2]
    settings = {"SDL_VIDEODRIVER": "offscreen", "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*command, f"out={tmp_path / 'd'}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **settings},
    ) as process:
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
    if b"needs a display" in errors:
        pytest.skip("this SDL has no offscreen display")
    assert first == b"Drive with the keyboard:\n"
    assert (process.returncode, errors) == (0, b"")


def test_a_missing_device_leaves_no_dataset(tmp_path):
    with pytest.raises(UserError, match="no gamepad is plugged in"):
        run(tmp_path / "d", "teleop=gamepad")
    assert not (tmp_path / "d").exists()


def test_values_of_a_device_are_refused_for_the_scripted_expert(tmp_path):
    with pytest.raises(UserError, match="teleop"):
        run(tmp_path / "d", "teleop.speed_m_s=0.1")
    with pytest.raises(UserError, match="teleop"):
        run(tmp_path / "d", "+teleop.speed_m_s=0.1")
    with pytest.raises(UserError, match="keyboard"):  # the choices are named
        run(tmp_path / "d", "teleop=keybord")


def compose_bc(folder):
    words = [f"data={folder / 'd'}", f"out={folder / 'bc'}", "steps=1", "validation_fraction=0"]
    return config.compose("train_bc", words)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("cameras=[frnt]", "camera must be one of front, figure, wrist"),
        ("image_size=[24]", r"needs \[height,width\]"),
    ],
)
def test_bad_cameras_are_refused(tmp_path, word, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path / "d", word)
    assert not (tmp_path / "d").exists()


def test_simulator_states_change_nothing_else(tmp_path):
    """Actions, observations, statistics and the trained weights are the same bit for bit."""
    full, plain = tmp_path / "full", tmp_path / "plain"
    run(full, "episodes=3", "seed=3")
    run(plain, "episodes=3", "seed=3", "sim_state=false")
    with EpisodeStore.open(full) as a, EpisodeStore.open(plain) as b:
        assert a.spec.obs["sim_state"].dtype == "float64" and "sim_state" not in b.spec.obs
        for key in ("state", "action", "reward", "timestamp"):
            np.testing.assert_array_equal(a.read(key), b.read(key))
        first, second = a.stats(), b.stats()
        assert set(first) == set(second) == {"state", "action"}
        for key in first:
            for name in first[key]:
                np.testing.assert_array_equal(first[key][name], second[key][name])
    weights = []
    for name, data in (("a", full), ("b", plain)):
        words = [f"data={data}", f"out={tmp_path / name}", "steps=3", "threads=1", "precision=float32"]
        weights.append(train(config.compose("train_bc", words)).load_checkpoint("latest")["policy"])
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
