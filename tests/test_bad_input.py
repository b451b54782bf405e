"""A user's mistakes, from the command line: one clear line, exit code 2, nothing damaged."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from robofb import cli, config
from robofb.deploy.collect import collect
from robofb.run import Run
from robofb.store.episodes import EpisodeStore
from robofb.train import bc, residual

SMALL_BC = ["steps=4", "validate_every=2", "policy.denoiser.width=16", "policy.denoiser.num_blocks=1"]
SMALL_PPO = ["env_steps=40", "num_envs=4", "rollout_steps=10", "select_episodes=4"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a good dataset `data`, a bc run `bc` and a residual run `residual`."""
    root = tmp_path_factory.mktemp("made")
    collect(config.compose("collect", [f"out={root / 'data'}", "episodes=3", "num_envs=4"]))
    bc.train(config.compose("train_bc", [f"data={root / 'data'}", f"out={root / 'bc'}", *SMALL_BC]))
    words = [f"base={root / 'bc'}", f"out={root / 'residual'}", *SMALL_PPO]
    residual.train(config.compose("train_residual", words))
    return root


def fingerprint(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def mistake(capsys, *words: str) -> str:
    """Run a command that must fail; return its one line."""
    capsys.readouterr()
    assert cli.run(list(words)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("robofb: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def copy(made, tmp_path) -> Path:
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def train_bc(capsys, data: Path, out: Path) -> str:
    line = mistake(capsys, "train", "bc", f"data={data}", f"out={out}", *SMALL_BC)
    assert not (out / "checkpoints").exists()
    return line


def test_missing_dataset(capsys, tmp_path):
    line = train_bc(capsys, tmp_path / "nowhere", tmp_path / "out")
    assert str(tmp_path / "nowhere") in line


def test_empty_dataset(capsys, made, tmp_path):
    EpisodeStore.create(tmp_path / "empty", EpisodeStore.open(made / "data").spec).close()
    assert "no episodes" in train_bc(capsys, tmp_path / "empty", tmp_path / "out")


def test_folder_that_is_no_dataset(capsys, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"x")
    assert str(tmp_path / "photos") in train_bc(capsys, tmp_path / "photos", tmp_path / "out")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("schema_version", 99, ["99"]), ("task", "lamp", ["lamp", "one_leg_insert"])],
)
def test_dataset_of_another_schema_or_task(capsys, copy, tmp_path, key, value, words):
    path = copy / "data/.zattrs"
    attributes = json.loads(path.read_text())
    attributes[key] = value
    if key == "task":
        attributes["spec"]["task"] = value
    path.write_text(json.dumps(attributes))
    line = train_bc(capsys, copy / "data", tmp_path / "out")
    assert all(word in line for word in words)


def test_nan_in_a_demonstration_is_placed(capsys, copy, tmp_path):
    lengths = EpisodeStore.open(copy / "data").episode_lengths
    state = zarr.open_group(copy / "data", mode="r+")["data/state"]
    state[int(lengths[0]) + 5, 3] = np.nan
    assert "state holds NaN or infinity in episode 1, step 5" in train_bc(
        capsys, copy / "data", tmp_path / "out"
    )


def test_episode_shorter_than_the_horizon_is_padded(copy, tmp_path):
    words = [f"data={copy / 'data'}", f"out={tmp_path / 'out'}", "policy.horizon=128", *SMALL_BC]
    run = bc.train(config.compose("train_bc", words))
    assert run.load_checkpoint("best")["step"] in (2, 4)


def test_wrong_base_runs(capsys, made, tmp_path):
    for base, words in (
        (made / "nowhere", "no run at"),
        (made / "residual", "is a residual run; a base policy comes from a bc run"),
        (made, "no run at"),
    ):
        line = mistake(capsys, "train", "residual", f"base={base}", f"out={tmp_path / 'out'}", *SMALL_PPO)
        assert words in line and str(base) in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["bc", "residual"])
def test_checkpoint_cut_off_in_the_middle(capsys, copy, kind):
    folder = copy / kind / "checkpoints"
    path = folder / (folder / "best").read_text().strip()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = fingerprint(copy)
    line = mistake(capsys, "eval", f"run={copy / kind}", "episodes=1", "num_envs=1")
    assert str(path) in line and "cut off" in line
    assert fingerprint(copy) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_full_disk(capsys, made, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this container may not mount")
    try:
        shutil.copytree(made / "data", disk / "data")
        good = len(EpisodeStore.open(disk / "data"))
        line = mistake(capsys, "collect", f"out={disk / 'data'}", "episodes=400", "num_envs=16")
        assert "the disk is full" in line
        kept = EpisodeStore.open(disk / "data")
        assert len(kept) >= good and all(np.isfinite(episode.action).all() for episode in kept)
        line = mistake(capsys, "train", "bc", f"data={made / 'data'}", f"out={disk / 'run'}", "steps=2")
        assert os.strerror(errno.ENOSPC) in line
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_read_only_folder(capsys, made, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    if os.access(locked, os.W_OK):  # root writes everywhere but here
        locked = Path("/proc/self")
    line = mistake(capsys, "collect", f"out={locked / 'data'}", "episodes=1", "num_envs=1")
    assert str(locked) in line
    line = mistake(capsys, "train", "bc", f"data={made / 'data'}", f"out={locked / 'run'}", *SMALL_BC)
    assert str(locked) in line


@pytest.mark.parametrize(
    ("word", "words"),
    [("+policy.colour=red", "'colour'"), ("policy.denoiser.groups=7", "7"), ("policy.horizon=six", "")],
)
def test_values_that_a_policy_refuses(capsys, made, tmp_path, word, words):
    choice = ["policy=unet_diffusion", f"data={made / 'data'}", f"out={tmp_path / 'out'}"]
    line = mistake(capsys, "train", "bc", *choice, word)
    assert "cannot make robofb.policies.diffusion.DiffusionPolicy: " in line and words in line
    assert not (tmp_path / "out").exists()


def test_evaluating_with_another_replanning_horizon(capsys, made):
    line = mistake(capsys, "eval", f"run={made / 'residual'}", "execute=4", "episodes=1", "num_envs=1")
    assert "execute=4" in line and "use execute=8" in line


@pytest.mark.parametrize(
    ("kind", "word", "words"),
    [
        ("bc", "policy.horizon=32", "policy.horizon was 16 and cannot become 32"),
        ("bc", "policy.denoiser.width=8", "policy.denoiser.width was 16 and cannot become 8"),
        ("residual", "num_envs=32", "num_envs was 4 and cannot become 32"),
        ("residual", "hidden=[64]", "hidden was [256, 256] and cannot become [64]"),
        ("residual", "critic_sees_time=false", "critic_sees_time was True and cannot become False"),
        ("residual", "scale_rewards=true", "scale_rewards was False and cannot become True"),
        ("residual", "base=elsewhere", "and cannot become elsewhere"),
        ("residual", "preset=paper", "preset=paper: a continued run keeps its values"),
    ],
)
def test_resuming_with_another_size(capsys, copy, kind, word, words):
    before = fingerprint(copy)
    line = mistake(capsys, "train", kind, f"resume={copy / kind}", word)
    assert words in line
    assert fingerprint(copy) == before


def test_a_rollout_may_become_longer(copy):
    words = [f"resume={copy / 'residual'}", "rollout_steps=20", "env_steps=200"]
    run = residual.train(config.compose("train_residual", words))
    assert run.load_checkpoint()["step"] == 40 + 160
    assert Run.open(run.path).config["rollout_steps"] == 20


def test_checkpoint_of_a_run_of_another_kind(capsys, made):
    path = made / "bc/checkpoints" / (made / "bc/checkpoints/best").read_text().strip()
    line = mistake(capsys, "eval", f"run={made / 'residual'}", f"checkpoint={path}", "episodes=1")
    assert f"checkpoint {path} is of a bc run" in line


def test_residual_starts_as_its_base_bit_for_bit(made, capsys):
    """Before training, base and base-with-residual do the same in the same episodes."""
    run = Run.open(made / "residual")
    first = sorted(path.name for path in (run.path / "checkpoints").glob("step_*.pt"))[0]
    assert first == "step_000000000.pt"
    for name, checkpoint in (("bc", "best"), ("residual", first)):
        words = [f"run={made / name}", f"checkpoint={checkpoint}", "episodes=6", "num_envs=3", "video=false"]
        assert cli.run(["eval", *words]) == 0
    outcomes = [Run.open(made / name).summary()["eval"] for name in ("bc", "residual")]
    for key in ("successes", "failures", "means", "mean_steps_of_success"):
        assert outcomes[0][key] == outcomes[1][key]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["collect", "task.randomness=hard"], ["low, med, high", "'hard'"]),
        (["collect", "+task.colour=red"], ["cannot make", "colour"]),
        (["train", "residual", "base=x", "resume=y", "-m"], ["leave out -m"]),
        (["collect", "task._target_=os.mkdir"], ["the config names os.mkdir: only classes of robofb"]),
        (["collect", "num_envs=0"], ["num_envs=0"]),
        (["collect", "task=null"], ["task=null"]),
        (["quickstart", "randomness=hard"], ["low, med, high", "'hard'"]),
        (["train", "residual", "base=nowhere", "actor_lr=-1"], ["actor_lr=-1"]),
    ],
)
def test_values_that_a_constructor_refuses(capsys, tmp_path, words, parts):
    line = mistake(capsys, *words, f"out={tmp_path / 'out'}")
    assert all(part in line for part in parts)


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1])
def test_a_seed_beyond_63_bits(capsys, seed):
    line = mistake(capsys, "collect", f"seed={seed}")
    assert line == f"robofb: seed={seed}: needs a whole number of at most 63 bits"


@pytest.mark.parametrize("word", ["engine=null", "task=3"])
def test_a_group_that_is_no_name(capsys, tmp_path, monkeypatch, word):
    monkeypatch.chdir(tmp_path)
    line = mistake(capsys, "collect", word)
    assert line == f"robofb: {word}: a group such as task is chosen by its name"
    assert not list(tmp_path.iterdir())


def test_an_opengl_backend_that_does_not_exist(tmp_path):
    command = [sys.executable, "-m", "robofb.cli", "collect", "episodes=1"]
    environment = {**os.environ, "MUJOCO_GL": "bogus"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "MUJOCO_GL: bogus: egl, osmesa or glfw" in done.stderr
