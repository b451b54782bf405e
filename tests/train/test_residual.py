"""Tests of robofb.train.residual and robofb.train.residual_learner."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import POINT_SPEC, BiasedPolicy, PointEnv, ResumablePointEnv

from robofb import evaluate, loading
from robofb.config import compose
from robofb.errors import UserError
from robofb.policies.executor import ChunkExecutor
from robofb.policies.residual_agent import ResidualAgent
from robofb.run import Run
from robofb.train.residual import train
from robofb.train.residual_config import ResidualConfig

SMALL: dict[str, Any] = {
    "task": {"_target_": "fakes.PointTask"},
    "engine": {},
    "num_envs": 32,
    "rollout_steps": 16,
    "minibatch_size": 128,
    "hidden": [32],
    "select_episodes": 64,
    "select_every": 4,
    "save_every": 2,
}
ITERATION = 32 * 16  # env steps
BASE_NODE = {"_target_": "fakes.BiasedPolicyOfSpec", "_partial_": True}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Save a BC run that holds the biased policy."""
    with Run.create(tmp_path / "base", {"policy": BASE_NODE}, "bc") as run:
        state = {"spec": POINT_SPEC.to_dict(), "policy": BiasedPolicy().state_dict()}
        run.save_checkpoint(state, step=1, best=True)
    return tmp_path / "base"


@pytest.fixture
def env_class(monkeypatch: pytest.MonkeyPatch) -> list[type[PointEnv]]:
    """Let `make_env` return point environments of the class in this list."""
    chosen: list[type[PointEnv]] = [ResumablePointEnv]
    monkeypatch.setattr(loading, "make_env", lambda task, engine, num_envs: chosen[0](num_envs))
    return chosen


def config(base: Path, out: Path, **changes: Any) -> ResidualConfig:
    return ResidualConfig(base=str(base), out=str(out), **{**SMALL, **changes})


def weights(run: Run, which: str = "latest") -> dict[str, torch.Tensor]:
    return run.load_checkpoint(which)["policy"]


def assert_same_weights(a: Run, b: Run) -> None:
    ours, theirs = weights(a), weights(b)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def success(run: Run | None) -> float:
    """Evaluate on fresh episodes; the base alone where no run is given."""
    policy = loading.load_residual(run, "best") if run else None
    agent = ResidualAgent(policy, 64) if policy else ChunkExecutor(BiasedPolicy(), 64)
    return evaluate.evaluate(agent, PointEnv(64), 512, seed=77).rate.rate


def test_lifts_a_biased_base_to_95_percent(base: Path, tmp_path: Path, env_class: list) -> None:
    assert 0.25 < success(None) < 0.6
    cfg = config(base, tmp_path / "run", env_steps=100 * ITERATION, target_success=0.97, seed=1)
    run = train(cfg)
    assert success(run) >= 0.95
    rows = run.metrics()
    assert rows[0]["select/success"] < 0.6
    assert rows[-1]["step"] < cfg.env_steps  # stopped at the target
    assert [row["select/success"] >= 0.97 for row in rows if "select/success" in row][-2:] == [True, True]
    logged = {
        "ppo/explained_variance",
        "ppo/clip_fraction",
        "ppo/kl",
        "ppo/entropy",
        "ppo/std",
        "ppo/lr_actor",
    }
    logged |= {"ppo/mean_magnitude", "ppo/saturation", "train/episodes", "train/success"}
    parts = {"physics", "base_policy", "residual_forward", "ppo_update", "other"}
    assert logged | {f"seconds/{part}" for part in parts} <= rows[-1].keys()
    training = json.loads((tmp_path / "run" / "summary.json").read_text())["residual_training"]
    assert training["share_by_part"].keys() == parts
    assert sum(training["share_by_part"].values()) == pytest.approx(1.0)
    assert training["env_steps"] == rows[-1]["step"]


def test_first_selection_is_the_base_and_best_is_kept(base: Path, tmp_path: Path, env_class: list) -> None:
    cfg = config(base, tmp_path / "run", env_steps=8 * ITERATION)
    run = train(cfg)
    base_agent = ChunkExecutor(BiasedPolicy(), 32)
    alone = evaluate.evaluate(base_agent, PointEnv(32), cfg.select_episodes, cfg.select_seed).rate.rate
    selections = [row["select/success"] for row in run.metrics() if "select/success" in row]
    assert len(selections) == 3
    assert selections[0] == alone
    best = run.load_checkpoint("best")
    assert best["progress"]["best"] == max(selections)
    agent = ResidualAgent(loading.load_residual(run, "best"), 32)
    assert evaluate.evaluate(agent, PointEnv(32), 64, cfg.select_seed).rate.rate == max(selections)


def test_exploration_falls_linearly_to_its_end(base: Path, tmp_path: Path, env_class: list) -> None:
    """Four iterations from log-std -1 to -3: the last one explores at -1 - 2 * 3/4."""
    cfg = config(
        base,
        tmp_path / "run",
        env_steps=4 * ITERATION,
        learn_std=False,
        init_log_std=-1.0,
        final_log_std=-3.0,
    )
    run = train(cfg)
    rows = [row for row in run.metrics() if "ppo/std" in row]
    expected = [math.exp(-1.0 - 2.0 * done / 4) for done in range(4)]
    assert [row["ppo/std"] for row in rows] == pytest.approx(expected)
    with pytest.raises(UserError, match="needs learn_std=false"):
        config(base, tmp_path / "other", learn_std=True, final_log_std=-3.0)


def test_same_seed_same_weights(base: Path, tmp_path: Path, env_class: list) -> None:
    runs = [
        train(config(base, tmp_path / name, env_steps=3 * ITERATION, seed=seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert_same_weights(runs[0], runs[1])
    with pytest.raises(AssertionError):
        assert_same_weights(runs[0], runs[2])


@pytest.mark.parametrize("scale_rewards", [False, True])
def test_resumes_to_the_same_weights(
    base: Path, tmp_path: Path, env_class: list, scale_rewards: bool
) -> None:
    changes = {"scale_rewards": scale_rewards, "env_steps": 6 * ITERATION, "critic_warmup_iterations": 1}
    whole = train(config(base, tmp_path / "whole", **changes))
    train(config(base, tmp_path / "parts", **{**changes, "env_steps": 3 * ITERATION}))
    parts = train(config(base, tmp_path / "unused", resume=str(tmp_path / "parts"), **changes))
    assert parts.path == tmp_path / "parts"
    assert not (tmp_path / "unused").exists()
    assert_same_weights(whole, parts)
    steps = [row["step"] for row in parts.metrics()]
    assert steps == sorted(set(steps))


def test_an_env_that_cannot_be_saved_resumes_with_new_episodes(
    base: Path, tmp_path: Path, env_class: list
) -> None:
    env_class[0] = PointEnv
    train(config(base, tmp_path / "run", env_steps=2 * ITERATION))
    run = train(config(base, tmp_path / "run", env_steps=4 * ITERATION, resume=str(tmp_path / "run")))
    assert run.load_checkpoint()["step"] == 4 * ITERATION


class InterruptedEnv(ResumablePointEnv):
    """Presses Ctrl-C in the middle of the third rollout."""

    num_steps = 0

    def step(self, action: torch.Tensor) -> Any:
        InterruptedEnv.num_steps += 1
        if InterruptedEnv.num_steps == SELECTION_STEPS + 2 * 16 + 8:
            os.kill(os.getpid(), signal.SIGINT)
        return super().step(action)


SELECTION_STEPS = 0


def test_ctrl_c_saves_and_resuming_gives_the_same_weights(
    base: Path,
    tmp_path: Path,
    env_class: list,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = train(config(base, tmp_path / "whole", env_steps=5 * ITERATION))
    counter = CountingEnv(32)
    agent = ChunkExecutor(BiasedPolicy(), 32)
    evaluate.evaluate(agent, counter, SMALL["select_episodes"], ResidualConfig().select_seed)
    monkeypatch.setitem(globals(), "SELECTION_STEPS", counter.num_steps)
    env_class[0] = InterruptedEnv
    caplog.set_level(logging.INFO, logger="robofb")
    with pytest.raises(KeyboardInterrupt):
        train(config(base, tmp_path / "run", env_steps=5 * ITERATION))
    assert f"robofb train residual resume={tmp_path / 'run'}" in caplog.text
    assert Run.open(tmp_path / "run").load_checkpoint()["step"] == 3 * ITERATION
    env_class[0] = ResumablePointEnv
    resumed = train(config(base, tmp_path / "x", env_steps=5 * ITERATION, resume=str(tmp_path / "run")))
    assert_same_weights(whole, resumed)


class InterruptedSelection(ResumablePointEnv):
    """Presses Ctrl-C as the second selection starts, the last thing that a training does."""

    num_selections = 0

    def reset(self, seed: int) -> Any:
        InterruptedSelection.num_selections += seed == ResidualConfig().select_seed
        if seed == ResidualConfig().select_seed and InterruptedSelection.num_selections == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return super().reset(seed)


def test_ctrl_c_in_the_last_selection_finishes_and_still_stops(
    base: Path, tmp_path: Path, env_class: list
) -> None:
    env_class[0] = InterruptedSelection
    with pytest.raises(KeyboardInterrupt):
        train(config(base, tmp_path / "run", env_steps=ITERATION))
    run = Run.open(tmp_path / "run")
    assert run.summary()["residual_training"]["env_steps"] == run.load_checkpoint()["step"] == ITERATION
    assert len([row for row in run.metrics() if "select/success" in row]) == 2


def test_a_run_that_reached_its_target_goes_on_with_a_higher_one(
    base: Path, tmp_path: Path, env_class: list, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="robofb")
    changes: dict[str, Any] = {"env_steps": 6 * ITERATION, "select_every": 1}
    train(config(base, tmp_path / "run", target_success=0.0, **changes))
    assert "training ends: two selections in a row reached target_success=0.0" in caplog.text
    changes |= {"resume": str(tmp_path / "run")}
    assert train(config(base, tmp_path / "x", target_success=0.0, **changes)).load_checkpoint()["step"] == (
        ITERATION  # the first selection, before training, counts as well
    )
    run = train(config(base, tmp_path / "x", target_success=1.0, **changes))
    assert run.load_checkpoint()["step"] == 6 * ITERATION
    assert f"training ends: the budget env_steps={6 * ITERATION} is spent" in caplog.text


def test_a_run_resumed_before_its_first_checkpoint_keeps_what_is_said_now(
    base: Path, tmp_path: Path, env_class: list
) -> None:
    with Run.create(tmp_path / "run", vars(config(base, tmp_path / "run")), "residual"):
        pass
    changes = {"env_steps": ITERATION, "clip": 0.1}
    run = train(config(base, tmp_path / "x", resume=str(tmp_path / "run"), **changes))
    assert Run.open(run.path).config["clip"] == 0.1


class CountingEnv(PointEnv):
    """Counts its steps."""

    num_steps = 0

    def step(self, action: torch.Tensor) -> Any:
        self.num_steps += 1
        return super().step(action)


class NanEnv(ResumablePointEnv):
    """Pays a reward that is not a number."""

    def step(self, action: torch.Tensor) -> Any:
        step = super().step(action)
        return step._replace(reward=step.reward * torch.nan)


def test_nan_stops_training_and_saves_what_caused_it(base: Path, tmp_path: Path, env_class: list) -> None:
    env_class[0] = NanEnv
    with pytest.raises(UserError, match=r"the loss is not finite.*nonfinite_\d+\.pt"):
        train(config(base, tmp_path / "run", env_steps=5 * ITERATION))
    (saved,) = (tmp_path / "run").glob("nonfinite_*.pt")
    cause = torch.load(saved, weights_only=True)
    assert cause["inputs"]["returns"].isnan().any()
    assert all(value.isfinite().all() for value in cause["actor"].values())
    assert all(v.isfinite().all() for v in weights(Run.open(tmp_path / "run")).values())


def test_saturation_is_warned_of_once(
    base: Path, tmp_path: Path, env_class: list, caplog: pytest.LogCaptureFixture
) -> None:
    changes = {"scale": 0.02, "init_log_std": 0.7, "actor_lr": 0.02, "target_kl": 10.0}
    cfg = config(base, tmp_path / "run", env_steps=10 * ITERATION, **changes)
    run = train(cfg)
    assert max(row.get("ppo/saturation", 0) for row in run.metrics()) > 0.2
    assert caplog.text.count("a larger scale than 0.02") == 1


def test_time_limit_stops_training(
    base: Path, tmp_path: Path, env_class: list, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="robofb")
    run = train(config(base, tmp_path / "run", env_steps=10**9, time_limit_s=1.0))
    assert "training ends: the time limit time_limit_s=1 is over" in caplog.text
    assert run.summary()["residual_training"]["seconds"] >= 1.0
    assert run.load_checkpoint()["step"] == run.summary()["residual_training"]["env_steps"]


def test_training_never_runs_the_episodes_of_an_evaluation(
    base: Path, tmp_path: Path, env_class: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []

    class Watched(ResumablePointEnv):
        def reset(self, seed: int) -> Any:
            seeds.append(seed)
            return super().reset(seed)

    env_class[0] = Watched
    train(config(base, tmp_path / "run", env_steps=ITERATION, seed=5, select_seed=9))
    assert 5 not in seeds
    assert seeds.count(9) == 2  # before and after
    assert len(set(seeds)) == 2


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("missing", "no run at"),
        ("kind", "a residual run"),
        ("task", "holds task 'other', not 'point'"),
        ("action", "holds action with shape"),
    ],
)
def test_wrong_base_is_refused_and_leaves_nothing(
    tmp_path: Path, env_class: list, broken: str, message: str
) -> None:
    path, spec = tmp_path / "base", POINT_SPEC.to_dict()
    if broken != "missing":
        kind = "residual" if broken == "kind" else "bc"
        spec["task"] = "other" if broken == "task" else "point"
        if broken == "action":
            spec["action"] |= {"shape": [3], "names": [], "low": None, "high": None}
        with Run.create(path, {"policy": BASE_NODE}, kind) as run:
            run.save_checkpoint({"spec": spec, "policy": BiasedPolicy().state_dict()}, step=1, best=True)
    with pytest.raises(UserError, match=message):
        train(config(path, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["num_envs", "rollout_steps", "epochs"])
def test_counts_below_one_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"{name}=0"):
        ResidualConfig(**{name: 0})


def test_presets_yield_to_what_the_user_says() -> None:
    paper = compose("train residual", ["base=x", "preset=paper", "num_envs=256"])
    assert (paper.num_envs, paper.minibatch_size, paper.gamma, paper.scale) == (256, None, 0.999, 0.1)
    assert paper.correction is None
    laptop = compose("train residual", ["base=x", "lr_end=0.1"])
    assert (laptop.preset, laptop.correction[3], laptop.lr_end) == ("laptop", 0.05, 0.1)
    with pytest.raises(UserError, match="laptop, paper"):
        compose("train residual", ["base=x", "preset=papr"])


@pytest.mark.parametrize(
    "changes",
    [
        {"env_steps": 0},
        {"clip": -1.0},
        {"gamma": 2.0},
        {"gamma": math.nan},
        {"lam": -1.0},
        {"hidden": [-3]},
        {"target_success": 2.0},
        {"time_limit_s": math.nan},
        {"lr_end": -1.0},
        {"lr_warmup_iterations": -1},
        {"scale": math.nan},
        {"correction": [math.nan, 1.0]},
    ],
)
def test_values_without_meaning_are_named(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"^{next(iter(changes))}="):
        ResidualConfig(**changes)
