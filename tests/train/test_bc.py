import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from robofb.errors import UserError
from robofb.loading import load_policy
from robofb.rng import EpisodeRng, derive_seeds
from robofb.run import Run
from robofb.store.episodes import EpisodeStore
from robofb.store.windows import Windows, split_episodes
from robofb.train import bc
from robofb.train.action_error import action_error
from robofb.train.bc import make_policy
from robofb.train.bc_config import BcConfig
from robofb.train.device import choose_device, choose_precision
from robofb.types import SOURCE_SCRIPTED, ArraySpec, Batch, EnvSpec, Episode

SPEC = EnvSpec(
    task="reach",
    obs={"state": ArraySpec((4,), unit="m", names=("x", "y", "goal_x", "goal_y"))},
    action=ArraySpec((3,), unit="m, 1 (grip)", names=("hand_pos_x", "hand_pos_y", "grip")),
    control_dt=0.1,
    max_steps=30,
)
POLICY = {
    "_target_": "robofb.policies.diffusion.DiffusionPolicy",
    "_partial_": True,
    "_convert_": "all",
    "horizon": 8,
    "execute": 4,
    "denoiser": {
        "_target_": "robofb.nets.mlp.MlpDenoiser",
        "_partial_": True,
        "width": 32,
        "num_blocks": 2,
        "step_dim": 8,
    },
}


class SpecOnly:
    """Stands in for a task: has a spec and nothing else."""

    def __init__(self, name="reach", action_dim=3):
        action = SPEC.action if action_dim == 3 else ArraySpec((action_dim,))
        self.spec = EnvSpec(name, SPEC.obs, action, SPEC.control_dt, SPEC.max_steps)


def demonstration(number, length=12):
    """Head for the goal in a straight line, then close the hand."""
    rng = np.random.default_rng(number)
    start, goal = rng.uniform(-1, 1, (2, 2))
    along = np.minimum(np.arange(length + 1) / (length - 2), 1.0)[:, None]
    position = start + along * (goal - start)
    state = np.concatenate([position, np.broadcast_to(goal, position.shape)], axis=1)
    grip = (np.arange(length) >= length - 2)[:, None] * 2.0 - 1.0
    return Episode(
        obs={"state": state.astype(np.float32)},
        action=np.concatenate([position[1:], grip], axis=1).astype(np.float32),
        reward=np.zeros(length, np.float32),
        terminated=True,
        success=True,
        timestamps=0.1 * np.arange(length + 1),
        source=np.full(length, SOURCE_SCRIPTED, np.uint8),
    )


def write_dataset(path, episodes, length=12):
    with EpisodeStore.create(path, SPEC) as store:
        for number in range(episodes):
            store.append(demonstration(number, length))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("bc") / "data", episodes=10)


def config(data, out, **changes):
    given = {"steps": 20, "batch_size": 16, "warmup_steps": 5, "validate_every": 10, "log_every": 5}
    given |= {"checkpoint_every": 10, "threads": 1, "device": "cpu", "policy": POLICY, "data": str(data)}
    return OmegaConf.merge(OmegaConf.structured(BcConfig), {**given, "out": str(out), **changes})


def train(data, out, **changes):
    return bc.train(config(data, out, **changes))


def test_compiling_without_a_compiler_is_refused_before_anything_is_made(data, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match="no-such-compiler"):
        train(data, tmp_path / "run", compile=True)
    assert not (tmp_path / "run").exists()


def cut(monkeypatch, training, after):
    """Call `training`, which Ctrl-C strikes after some steps."""
    step = bc.BcTraining._step

    def stops(self):
        if self.learner.steps == after:
            raise KeyboardInterrupt
        return step(self)

    with monkeypatch.context() as patched:
        patched.setattr(bc.BcTraining, "_step", stops)
        with pytest.raises(KeyboardInterrupt):
            training()


def assert_equal(a, b, where=""):
    """Fail unless two nested states are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for index, pair in enumerate(zip(a, b)):
            assert_equal(*pair, f"{where}[{index}]")
    else:
        assert a == b, where


def learner_of(run, which="latest"):
    checkpoint = run.load_checkpoint(which)
    return {
        "learner": checkpoint["learner"],
        "policy": checkpoint["policy"],
        "best": checkpoint["best_error"],
    }


@pytest.fixture(scope="module")
def twenty_steps(data, tmp_path_factory):
    return train(data, tmp_path_factory.mktemp("bc") / "run")


def test_same_seed_same_weights(data, twenty_steps, tmp_path):
    again = train(data, tmp_path / "again")
    assert_equal(learner_of(again), learner_of(twenty_steps))
    other = train(data, tmp_path / "other", seed=1)
    weights = [learner_of(run)["learner"]["model"]["denoiser.stem.weight"] for run in (again, other)]
    assert not torch.equal(*weights)


def test_does_not_disturb_the_global_random_numbers_or_threads(data, tmp_path):
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    train(data, tmp_path / "run", steps=2, threads=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


SCRIPT = """
import sys
from omegaconf import OmegaConf
from robofb.train import bc
bc.train(OmegaConf.load(sys.argv[1]))
"""


def start_process(cfg, folder):
    """Train in a process of its own."""
    OmegaConf.save(cfg, folder / "cfg.yaml")
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder / "cfg.yaml")],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job ignores it
    )


def wait_for(path, process, timeout_s=60):
    end = time.monotonic() + timeout_s
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.01)


def test_a_killed_run_resumes_to_the_same_weights_bit_for_bit(data, tmp_path):
    whole = train(data, tmp_path / "whole", steps=400, log_every=50, checkpoint_every=50, validate_every=100)
    cut_config = config(
        data, tmp_path / "cut", steps=400, log_every=50, checkpoint_every=50, validate_every=100
    )
    process = start_process(cut_config, tmp_path)
    wait_for(tmp_path / "cut" / "checkpoints" / "latest", process)
    process.kill()
    process.wait()
    stopped_at = Run.open(tmp_path / "cut").load_checkpoint()["step"]
    assert 50 <= stopped_at < 400
    resumed = bc.train(OmegaConf.merge(cut_config, {"resume": str(tmp_path / "cut")}))
    assert_equal(learner_of(resumed), learner_of(whole))
    assert_equal(learner_of(resumed, "best"), learner_of(whole, "best"))
    rows = [[(row["step"], row.get("train/loss")) for row in run.metrics()] for run in (whole, resumed)]
    assert rows[0] == rows[1]


def test_ctrl_c_saves_says_how_to_go_on_and_loses_nothing(data, tmp_path):
    cfg = config(data, tmp_path / "run", steps=100_000, checkpoint_every=100_000, validate_every=100_000)
    process = start_process(cfg, tmp_path)
    wait_for(tmp_path / "run" / "metrics.jsonl", process)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    assert "KeyboardInterrupt" in error
    log = (tmp_path / "run" / "train.log").read_text()
    assert f"saved; continue with: robofb train bc resume={tmp_path / 'run'}" in log
    checkpoint = Run.open(tmp_path / "run").load_checkpoint()
    assert checkpoint["step"] == checkpoint["learner"]["steps"] >= 5


def test_ctrl_c_in_the_last_step_finishes_and_still_stops(data, tmp_path, monkeypatch):
    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGINT)
        return {"action_error_normalised": 1.0}

    monkeypatch.setattr(bc, "action_error", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "run", validate_every=20)
    run = Run.open(tmp_path / "run")
    assert run.load_checkpoint()["step"] == run.summary()["bc_training"]["steps"] == 20


def test_a_run_resumed_before_its_first_checkpoint_keeps_what_is_said_now(data, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(bc.BcTraining, "work", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(data, tmp_path / "run")
    run = train(data, tmp_path / "x", resume=str(tmp_path / "run"), steps=2)
    assert Run.open(run.path).config["steps"] == run.load_checkpoint()["step"] == 2


def interrupt(*args):
    raise KeyboardInterrupt


def test_resuming_takes_another_wandb_mode(data, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(
        "robofb.wandb_mirror.start", lambda path, config, identity: started.append(config["wandb"])
    )
    run = train(data, tmp_path / "run", steps=1)
    train(data, tmp_path / "x", steps=2, resume=str(run.path), wandb="offline")
    assert started == [Run.open(run.path).config["wandb"]] == ["offline"]


def test_a_finished_run_resumes_to_itself(data, tmp_path):
    run = train(data, tmp_path / "run")
    before = learner_of(run)
    assert_equal(learner_of(train(data, tmp_path / "run", resume=str(run.path))), before)


def test_the_averaged_weights_act(twenty_steps):
    checkpoint = twenty_steps.load_checkpoint()
    policy = load_policy(twenty_steps, "latest")
    obs = {"state": torch.rand(3, 1, 4)}
    averaged = policy.act(obs, EpisodeRng(torch.arange(3)))
    policy.load_state_dict(checkpoint["learner"]["model"])
    assert not torch.equal(policy.act(obs, EpisodeRng(torch.arange(3))), averaged)
    policy.load_state_dict(checkpoint["policy"])
    assert torch.equal(policy.act(obs, EpisodeRng(torch.arange(3))), averaged)


def test_the_statistics_are_of_the_training_episodes_only(data, twenty_steps):
    training, _ = split_episodes(10, 0.1, 0)
    with EpisodeStore.open(data) as store:
        stats = store.stats(training)
    centre = torch.from_numpy(stats["state"]["min"] + stats["state"]["max"]) / 2
    torch.testing.assert_close(load_policy(twenty_steps).normalizer.centre_state, centre)


def test_the_learning_rate_rises_and_falls(twenty_steps):
    rates = {row["step"]: row["train/lr"] for row in twenty_steps.metrics() if "train/lr" in row}
    cosine = {step: 2e-3 * 0.5 * (1 + math.cos(math.pi * (step - 5) / 15)) for step in (5, 10, 15, 20)}
    assert rates == pytest.approx(cosine, abs=1e-9)


def test_learns_to_reach(tmp_path):
    many = write_dataset(tmp_path / "data", episodes=40)
    run = train(many, tmp_path / "run", steps=400, batch_size=64, lr=3e-3, validate_every=400)
    summary = run.summary()["bc_training"]
    assert summary["steps"] == 400
    assert summary["training_windows"] == 36 * 12
    assert summary["action_error/hand_pos"] < 0.1  # m; start and goal are drawn from 2 m x 2 m
    losses = [row["train/loss"] for row in run.metrics() if "train/loss" in row]
    assert losses[-1] < 0.2 * losses[0]


class Lookup(torch.nn.Module):
    """A policy that always answers with the same chunk."""

    def __init__(self, policy, chunk):
        super().__init__()
        self.spec, self.execute, self.action_dim = SPEC, 2, 3
        self.normalizer, self.chunk = policy.normalizer, chunk

    def act(self, obs, rng):
        return self.chunk.expand(len(rng), -1, -1)


def test_action_error_by_hand(tmp_path):
    policy = make_policy(POLICY, SPEC)
    ranges = {"min": [0.0] * 3, "max": [2.0, 4.0, 1.0], "mean": [0.0] * 3, "std": [1.0] * 3}
    policy.set_stats({"state": {name: [*values, 1.0] for name, values in ranges.items()}, "action": ranges})
    with EpisodeStore.create(tmp_path / "data", SPEC) as store:
        episode = demonstration(0, 3)
        episode.action[:] = [[1.0, 2.0, 0.0], [1.0, 2.0, 0.0], [1.0, 2.0, 1.0]]
        store.append(episode)
        windows = Windows(store, obs_history=1, horizon=8)
    chunk = torch.tensor([[1.5, 2.0, 0.0], [1.0, 1.0, 0.0]] + [[9.0, 9.0, 9.0]] * 6)
    # Windows of 3 steps compare rows 2, 2, 1. Errors of x: .5 0, .5 0, .5; y: 0 1, 0 1, 0; grip: 0 0, 0 1, 1.
    errors = action_error(Lookup(policy, chunk), windows, 256, 0)
    assert errors["action_error/hand_pos"] == pytest.approx((1.5 / 5 + 2.0 / 5) / 2)
    assert errors["action_error/grip"] == pytest.approx(2 / 5)
    # Radii 1, 2, 0.5.
    assert errors["action_error_normalised"] == pytest.approx((1.5 / 5 + 1.0 / 5 + 4.0 / 5) / 3)


def test_best_is_the_checkpoint_of_least_validation_error(data, tmp_path):
    run = train(data, tmp_path / "run", steps=120, validate_every=20, lr=3e-2)
    errors = {
        row["step"]: row["validation/action_error_normalised"]
        for row in run.metrics()
        if "validation/action_error_normalised" in row
    }
    assert sorted(errors) == [20, 40, 60, 80, 100, 120]
    best = run.load_checkpoint("best")
    assert errors[best["step"]] == min(errors.values()) == best["best_error"]


def test_without_held_out_episodes_the_last_weights_are_the_best(data, tmp_path):
    run = train(data, tmp_path / "run", validation_fraction=0.0, validate_every=7)
    assert run.load_checkpoint("best")["step"] == 20


def test_a_loss_that_becomes_nan_stops_and_leaves_what_caused_it(data, tmp_path):
    with pytest.raises(UserError, match="the loss is not finite; what caused it is in .*nonfinite_") as error:
        train(data, tmp_path / "run", lr=1e30, warmup_steps=0, grad_clip=1e30, checkpoint_every=1)
    assert "\n" not in str(error.value)
    file = next((tmp_path / "run").glob("nonfinite_*.pt"))
    state = torch.load(file, weights_only=True)
    policy = make_policy(POLICY, SPEC)
    policy.load_state_dict(state["model"])
    generator = torch.Generator()
    generator.set_state(state["generator"])
    batch = state["batch"]
    torch.randint(9 * 12, (16,), generator=generator)  # the batch's own draw
    mask = torch.ones(16, 8, dtype=torch.bool)
    again = Batch(batch["obs"], batch["action"], mask, batch["weight"])
    assert not torch.isfinite(policy.loss(again, generator)[0])


def test_an_episode_shorter_than_the_chunk_trains(tmp_path):
    run = train(write_dataset(tmp_path / "data", episodes=3, length=4), tmp_path / "run", steps=3)
    assert run.summary()["bc_training"]["training_windows"] == 8


def test_a_second_look_at_one_episode_only(tmp_path):
    run = train(write_dataset(tmp_path / "data", episodes=1), tmp_path / "run", steps=3)
    assert run.load_checkpoint("best")["step"] == 3


def fails(data, out, words, **changes):
    with pytest.raises(UserError, match=words) as error:
        train(data, out, **changes)
    assert "\n" not in str(error.value)


def spec_only(**changes):
    return {"_target_": f"{__name__}.SpecOnly", **changes}


def test_refuses_what_it_cannot_train_on(data, twenty_steps, tmp_path):
    fails(tmp_path / "nothing", tmp_path / "a", "nothing")
    EpisodeStore.create(tmp_path / "empty", SPEC).close()
    fails(tmp_path / "empty", tmp_path / "b", "no episodes")
    fails(data, tmp_path / "c", "lamp", task=spec_only(name="lamp"))
    fails(data, tmp_path / "d", "action", task=spec_only(action_dim=5))
    fails(data, tmp_path / "e", "device=tpu: this machine has cpu", device="tpu")
    fails(data, twenty_steps.path, "not empty.*resume=")
    assert not any((tmp_path / name).exists() for name in "abcde")


def test_the_tasks_own_spec_is_welcome(data, tmp_path):
    run = train(data, tmp_path / "run", steps=1, task=spec_only())
    assert run.load_checkpoint()["step"] == 1


def test_refuses_to_resume_on_other_data(twenty_steps, tmp_path):
    other = write_dataset(tmp_path / "other", episodes=4)
    before = learner_of(twenty_steps)
    fails(
        other, tmp_path / "x", "trains on 108 windows.* now gives 36", resume=str(twenty_steps.path), steps=30
    )
    assert_equal(learner_of(twenty_steps), before)


def test_refuses_to_resume_a_run_of_another_kind(data, tmp_path):
    Run.create(tmp_path / "residual", {"x": 1}, "residual").close()
    before = sorted(path.name for path in (tmp_path / "residual").iterdir())
    fails(data, tmp_path / "x", "a residual run", resume=str(tmp_path / "residual"))
    assert sorted(path.name for path in (tmp_path / "residual").iterdir()) == before
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "steps=0: needs at least 1"),
        ({"batch_size": -1}, "batch_size=-1"),
        ({"lr": 0.0}, "lr=0.0: must be positive"),
        ({"lr": math.inf}, "lr=inf: must be positive and finite"),
        ({"grad_clip": math.nan}, "grad_clip=nan: must be positive and finite"),
        ({"validation_fraction": math.nan}, "validation_fraction=nan: valid: 0 <= value < 1"),
        ({"seed": -(2**63) - 1}, "seed=-9223372036854775809: a seed lies in"),
        ({"batch_size": 2**63}, f"batch_size={2**63}: must be below 2"),
        ({"ema_decay": 1.0}, "ema_decay=1.0"),
        ({"precision": "half"}, "precision=half: choose one of auto, float32, bfloat16"),
    ],
)
def test_refuses_bad_values(changes, words):
    with pytest.raises(UserError, match=words):
        BcConfig(**changes)


def test_precision_and_device_by_name():
    cpu = torch.device("cpu")
    assert choose_device("cpu") == cpu
    assert choose_precision("float32", cpu) == torch.float32
    assert choose_precision("bfloat16", cpu) == torch.bfloat16
    assert choose_precision("auto", cpu) in (torch.float32, torch.bfloat16)


def test_bfloat16_learns_as_float32_does(data, tmp_path):
    final = {}
    for precision in ("float32", "bfloat16"):
        run = train(data, tmp_path / precision, precision=precision, steps=200, lr=3e-3, batch_size=64)
        assert run.load_checkpoint()["learner"]["model"]["denoiser.stem.weight"].dtype == torch.float32
        final[precision] = [row["train/loss"] for row in run.metrics() if "train/loss" in row][-1]
    assert final["bfloat16"] == pytest.approx(final["float32"], rel=0.1)
    assert final["bfloat16"] != final["float32"]


def test_the_config_of_the_run_is_enough_to_do_it_again(data, twenty_steps, tmp_path):
    stored = Run.open(twenty_steps.path).config
    assert json.loads(json.dumps(stored)) == stored
    again = bc.train(OmegaConf.create({**stored, "out": str(tmp_path / "again")}))
    assert_equal(learner_of(again), learner_of(twenty_steps))


def test_sampled_chunks_are_the_same_for_the_same_seeds(twenty_steps):
    policy = load_policy(twenty_steps)
    obs, seeds = {"state": torch.rand(5, 1, 4)}, derive_seeds(3, torch.arange(5))
    assert torch.equal(policy.act(obs, EpisodeRng(seeds)), policy.act(obs, EpisodeRng(seeds)))
