"""Hold every trainer by rollouts to what users rely on: it learns, repeats, resumes, refuses."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import (
    POINT_SPEC,
    AimingPolicy,
    BiasedPolicy,
    KnowingPolicy,
    NoisyPolicy,
    PointEnv,
    ResumablePointEnv,
)
from learning import SETTINGS, assert_same_weights, save_base, success, success_of
from omegaconf import OmegaConf
from torch import nn

from robofb import checkpoint, loading
from robofb.errors import UserError
from robofb.evaluate import evaluate
from robofb.policies.executor import ChunkExecutor
from robofb.run import Run
from robofb.train import dagger, dsrl, idql, ppo, residual, tgrl


@dataclass
class Trainer:
    """One trainer and a tiny problem for it.

    Attributes:
        kind: of its runs.
        train: takes a config and returns the run.
        config: class of the config.
        settings: small sizes.
        learning: further settings with which it must learn.
        policy: the base, and the class that rebuilds it; None where it starts from nothing.
        reaches: success to be had in learning.
        nan_word: what the error says once rewards are not numbers; empty where it sees no rewards.
        start: key of the run that it starts from; empty where it starts from none.
        budget: key of how long it trains.
        selects_first: it judges what it starts from.
    """

    kind: str
    train: Callable[[Any], Run]
    config: Callable[..., Any]
    settings: dict[str, Any]
    learning: dict[str, Any]
    policy: Callable[[], nn.Module] | None
    target: str
    reaches: float = 0.95
    nan_word: str = "is not finite"
    start: str = "base"
    budget: str = "env_steps"
    selects_first: bool = True


OFF_POLICY: dict[str, Any] = {
    "hidden": [32],
    "rollout_steps": 8,
    "warmup_steps": 300,
    "updates": 4,
    "batch_size": 64,
    "buffer_size": 500,
}
TRAINERS = {
    trainer.kind: trainer
    for trainer in (
        Trainer(
            "residual",
            residual.train,
            residual.ResidualConfig,
            {"hidden": [16], "rollout_steps": 8, "minibatch_size": 128, "epochs": 2},
            {"hidden": [32], "rollout_steps": 16, "epochs": 8, "env_steps": 60_000},
            BiasedPolicy,
            "BiasedPolicyOfSpec",
        ),
        Trainer(
            "ppo",
            ppo.train,
            ppo.PpoConfig,
            {"hidden": [16], "rollout_steps": 8, "minibatch_size": 64, "epochs": 2},
            {
                "hidden": [32],
                "rollout_steps": 32,
                "epochs": 8,
                "env_steps": 150_000,
                "actor_lr": 3e-3,
                "init_log_std": -2.5,
            },
            AimingPolicy,
            "AimingPolicyOfSpec",
        ),
        Trainer(
            "dagger",
            dagger.train,
            dagger.DaggerConfig,
            {
                "policy": {"_target_": "fakes.AimingPolicyOfSpec", "_partial_": True},
                "episodes": 4,
                "bc": {"steps": 20, "batch_size": 32, "lr": 0.01, "precision": "float32"},
            },
            {
                "bc": {"steps": 100, "lr": 0.02, "ema_decay": 0.9, "precision": "float32"},
                "select_every": 1,
                "episodes": 15,
            },
            KnowingPolicy,
            "AimingPolicyOfSpec",
            nan_word="",
            start="expert",
            budget="rounds",
            selects_first=False,
        ),
        Trainer(
            "idql",
            idql.train,
            idql.IdqlConfig,
            OFF_POLICY,
            {
                "hidden": [128, 128],
                "updates": 64,
                "warmup_steps": 8000,
                "batch_size": 128,
                "critic_lr": 1e-3,
                "tau": 0.02,
                "num_samples": 64,
                "env_steps": 40_000,
                "num_critics": 2,
                "buffer_size": 10_000,
                "select_every": 8,
                "target_success": 0.6,
            },
            NoisyPolicy,
            "NoisyPolicyOfSpec",
            reaches=0.55,  # at a quarter of the time that 0.97 takes
        ),
        Trainer(
            "dsrl",
            dsrl.train,
            dsrl.DsrlConfig,
            OFF_POLICY,
            {
                "hidden": [64],
                "updates": 16,
                "warmup_steps": 2000,
                "batch_size": 128,
                "buffer_size": 10_000,
                "actor_lr": 1e-3,
                "critic_lr": 1e-3,
                "tau": 0.02,
                "shared_noise": True,
                "env_steps": 20_000,
            },
            NoisyPolicy,
            "NoisyPolicyOfSpec",
        ),
        Trainer(
            "tgrl",
            tgrl.train,
            tgrl.TgrlConfig,
            {
                "balance": {"_target_": "robofb.rl.balance.Lagrangian"},
                "student": {"hidden": [32]},
                "rollout_steps": 8,
                "warmup_steps": 300,
                "updates": 4,
                "batch_size": 64,
                "buffer_size": 2000,
            },
            {
                "balance": {"_target_": "robofb.rl.balance.Lagrangian", "coefficient": 1.0},
                "student": {"hidden": [64]},
                "updates": 16,
                "batch_size": 64,
                "buffer_size": 20_000,
                "actor_lr": 3e-3,
                "critic_lr": 3e-3,
                "temperature": 1e-3,
                "env_steps": 40_000,
            },
            None,
            "",
            start="",
        ),
    )
}
STARTING = [kind for kind, trainer in TRAINERS.items() if trainer.start]


@pytest.fixture(params=sorted(TRAINERS))
def trainer(request: pytest.FixtureRequest) -> Trainer:
    return TRAINERS[request.param]


@pytest.fixture(autouse=True)
def env_class(monkeypatch: pytest.MonkeyPatch) -> list[type[PointEnv]]:
    """Let `make_env` return point environments of the class in this list."""
    chosen: list[type[PointEnv]] = [ResumablePointEnv]
    monkeypatch.setattr(loading, "make_env", lambda task, engine, num_envs, **_: chosen[0](num_envs))
    return chosen


@pytest.fixture
def base(trainer: Trainer, tmp_path: Path) -> Path:
    if trainer.policy is None:
        return tmp_path / "none"
    return save_base(tmp_path / "base", trainer.policy(), trainer.target)


def config(trainer: Trainer, base: Path, out: Path, **changes: Any) -> Any:
    settings = {**SETTINGS, "select_every": 2, **trainer.settings, **changes}
    start = {trainer.start: str(base)} if trainer.start else {}
    given = trainer.config(**start, out=str(out), **settings)
    return OmegaConf.structured(given)  # as the command line gives it


def budget(trainer: Trainer, iterations: int) -> dict[str, int]:
    """Return what lets it train for so many iterations."""
    steps = SETTINGS["num_envs"] * trainer.settings.get("rollout_steps", 0)
    return {trainer.budget: iterations * steps if trainer.budget == "env_steps" else iterations}


def test_learns_a_tiny_problem(trainer: Trainer, base: Path, tmp_path: Path) -> None:
    if trainer.start == "base":
        assert trainer.policy is not None
        assert success(ChunkExecutor(trainer.policy(), 64)) < 0.5 * trainer.reaches + 0.1
    changes = {"select_every": 8, "target_success": 0.97, "seed": 1, **trainer.learning}
    run = trainer.train(config(trainer, base, tmp_path / "run", **changes))
    assert success_of(run) >= trainer.reaches
    facts = run.summary()[f"{trainer.kind}_training"]
    assert facts["ended"].startswith("two selections in a row reached")
    assert sum(facts["share_by_part"].values()) == pytest.approx(1.0)


def test_same_seed_same_weights_and_best_is_the_best_selection(
    trainer: Trainer, base: Path, tmp_path: Path
) -> None:
    first, second, third = (
        trainer.train(config(trainer, base, tmp_path / name, **budget(trainer, 5), seed=seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert_same_weights(first, second)
    with pytest.raises(AssertionError):
        assert_same_weights(first, third)
    rates = [row["select/success"] for row in first.metrics() if "select/success" in row]
    assert len(rates) == 3 + trainer.selects_first  # after 2, 4 and the last iteration
    agent = loading.load_agent(first, 32)
    cfg = config(trainer, base, tmp_path)
    chosen = evaluate(agent, PointEnv(32), cfg.select_episodes, cfg.select_seed)
    assert chosen.rate.rate == max(rates) == first.load_checkpoint("best")["progress"]["best"]


def test_resumes_to_the_same_weights(trainer: Trainer, base: Path, tmp_path: Path) -> None:
    whole = trainer.train(config(trainer, base, tmp_path / "whole", **budget(trainer, 5)))
    trainer.train(config(trainer, base, tmp_path / "parts", **budget(trainer, 3)))
    changes = {"resume": str(tmp_path / "parts"), **budget(trainer, 5)}
    if trainer.start == "base":
        (tmp_path / "base").rename(tmp_path / "gone")  # a run holds all that it needs
    parts = trainer.train(config(trainer, base, tmp_path / "unused", **changes))
    assert parts.path == tmp_path / "parts"
    assert_same_weights(whole, parts)
    steps = [row["step"] for row in parts.metrics()]
    assert steps == sorted(set(steps)) == [row["step"] for row in whole.metrics()]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_resuming_gives_the_same_weights(
    trainer: Trainer,
    base: Path,
    tmp_path: Path,
    env_class: list,
    signum: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = trainer.train(config(trainer, base, tmp_path / "whole", **budget(trainer, 4)))

    class Interrupted(ResumablePointEnv):
        """Sends the signal in the second iteration."""

        num_steps = 0

        def step(self, action: torch.Tensor) -> Any:
            if self.seed != config(trainer, base, tmp_path).select_seed:
                Interrupted.num_steps += 1
                if Interrupted.num_steps == trainer.settings.get("rollout_steps", 20) + 3:
                    os.kill(os.getpid(), signum)
            return super().step(action)

    env_class[0] = Interrupted
    caplog.set_level("INFO", logger="robofb")
    with pytest.raises(KeyboardInterrupt):
        trainer.train(config(trainer, base, tmp_path / "run", **budget(trainer, 4)))
    assert f"robofb train {trainer.kind} resume={tmp_path / 'run'}" in caplog.text
    env_class[0] = ResumablePointEnv
    changes = {"resume": str(tmp_path / "run"), **budget(trainer, 4)}
    assert_same_weights(whole, trainer.train(config(trainer, base, tmp_path / "x", **changes)))


class Killed(BaseException):
    """Ends a training on the spot."""


@pytest.mark.parametrize("write", [2, 3, 4, 5, 6])  # of checkpoint, best, latest, and so on
def test_killed_while_it_saves_it_resumes_to_the_same_run(
    trainer: Trainer, base: Path, tmp_path: Path, write: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def comparable(run: Run) -> list[dict[str, float]]:
        """Return what was logged but for times, which are never the same."""
        return [
            {key: value for key, value in row.items() if not key.startswith("seconds")}
            for row in run.metrics()
        ]

    whole = trainer.train(config(trainer, base, tmp_path / "whole", **budget(trainer, 4)))
    written, real = [], checkpoint.write_atomically

    def write_or_die(path: Path, content: str | bytes) -> None:
        written.append(path.name)
        if len(written) == write:
            raise Killed
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_atomically", write_or_die)
        with pytest.raises(Killed):
            trainer.train(config(trainer, base, tmp_path / "run", **budget(trainer, 4)))
    changes = {"resume": str(tmp_path / "run"), **budget(trainer, 4)}
    resumed = trainer.train(config(trainer, base, tmp_path / "x", **changes))
    assert_same_weights(whole, resumed)
    pointers = [(run.path / "checkpoints/best").read_text() for run in (whole, resumed)]
    assert pointers[0] == pointers[1]
    assert comparable(resumed) == comparable(whole)


def test_an_env_that_cannot_be_saved_resumes_with_new_episodes(
    trainer: Trainer, base: Path, tmp_path: Path, env_class: list
) -> None:
    env_class[0] = PointEnv
    trainer.train(config(trainer, base, tmp_path / "run", **budget(trainer, 2)))
    changes = {"resume": str(tmp_path / "run"), **budget(trainer, 4)}
    run = trainer.train(config(trainer, base, tmp_path / "run", **changes))
    assert run.load_checkpoint()["learner"]["env_steps"] == run.metrics()[-1]["step"]
    assert run.summary()[f"{trainer.kind}_training"]["iterations"] == 4


def test_nan_stops_training_and_saves_what_caused_it(
    trainer: Trainer, base: Path, tmp_path: Path, env_class: list
) -> None:
    if not trainer.nan_word:
        pytest.skip("learns from no rewards")

    class NanEnv(ResumablePointEnv):
        def step(self, action: torch.Tensor) -> Any:
            step = super().step(action)
            return step._replace(reward=step.reward * torch.nan)

    env_class[0] = NanEnv
    with pytest.raises(UserError, match=rf"{trainer.nan_word}.*nonfinite_\d+\.pt"):
        trainer.train(config(trainer, base, tmp_path / "run", **budget(trainer, 9)))
    (saved,) = (tmp_path / "run").glob("nonfinite_*.pt")
    assert torch.load(saved, weights_only=True)["what"]
    policy = Run.open(tmp_path / "run").load_checkpoint()["policy"]
    assert all(value.isfinite().all() for value in policy.values())


@pytest.mark.parametrize("trainer", [TRAINERS[kind] for kind in STARTING], ids=STARTING)
@pytest.mark.parametrize(("broken", "message"), [("missing", "no run at"), ("task", "holds task 'other'")])
def test_a_wrong_base_is_refused_and_leaves_nothing(
    trainer: Trainer, tmp_path: Path, broken: str, message: str
) -> None:
    path = tmp_path / "base"
    assert trainer.policy is not None
    if broken == "task":
        save_base(path, trainer.policy(), trainer.target)
        run = Run.open(path)
        content = run.load_checkpoint("best")
        content["spec"] = {**POINT_SPEC.to_dict(), "task": "other"}
        run.save_checkpoint(content, step=2, best=True)
    with pytest.raises(UserError, match=message):
        trainer.train(config(trainer, path, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("changes", [{"gamma": 2.0}, {"num_envs": 0}, {"env_steps": 0}, {"hidden": [0]}])
def test_values_without_meaning_are_named(trainer: Trainer, changes: dict[str, Any]) -> None:
    (key,) = changes
    if not hasattr(trainer.config, key) and key not in trainer.config.__dataclass_fields__:
        pytest.skip("has no such key")
    with pytest.raises(UserError, match=f"^{key}="):
        trainer.config(**changes)


def test_what_a_checkpoint_was_made_for_cannot_change(trainer: Trainer, base: Path, tmp_path: Path) -> None:
    trainer.train(config(trainer, base, tmp_path / "run", **budget(trainer, 2)))
    changes = {"resume": str(tmp_path / "run"), "num_envs": 16, **budget(trainer, 3)}
    with pytest.raises(UserError, match="num_envs was 32 and cannot become 16"):
        trainer.train(config(trainer, base, tmp_path / "run", **changes))


def test_reward_alone_needs_no_teacher(tmp_path: Path) -> None:
    """On a task that brings none it trains, resumes to the same weights, and refuses to let one act."""
    trainer = TRAINERS["tgrl"]
    settings: dict[str, Any] = {
        "task": {"_target_": "fakes.AimingPolicy"},  # no teacher, and never built
        "balance": {"_target_": "robofb.rl.balance_baselines.RewardOnly"},
    }
    whole = tgrl.train(config(trainer, tmp_path, tmp_path / "whole", **settings, **budget(trainer, 5)))
    tgrl.train(config(trainer, tmp_path, tmp_path / "parts", **settings, **budget(trainer, 3)))
    changes = {"resume": str(tmp_path / "parts"), **settings, **budget(trainer, 5)}
    assert_same_weights(whole, tgrl.train(config(trainer, tmp_path, tmp_path / "unused", **changes)))
    for who in ("teacher", "thirds"):
        with pytest.raises(
            UserError, match=f"collect={who}: there is no teacher who could act.*choose collect=student"
        ):
            tgrl.train(config(trainer, tmp_path, tmp_path / who, **settings, collect=who))
    settings["balance"] = trainer.settings["balance"]
    with pytest.raises(UserError, match="brings no teacher"):
        tgrl.train(config(trainer, tmp_path, tmp_path / "needs", **settings))


def test_a_student_normalises_by_what_its_training_saw(tmp_path: Path) -> None:
    trainer = TRAINERS["tgrl"]
    run = tgrl.train(config(trainer, tmp_path, tmp_path / "run", **budget(trainer, 5)))
    eyes = loading.load_student(run, "latest").eyes
    steps = 5 * SETTINGS["num_envs"] * trainer.settings["rollout_steps"]
    assert eyes.normalizer.get_buffer("num_state").item() == steps + 1  # and the one that it starts from
    spread = eyes.normalizer.get_buffer("sum_of_squares_state") / (steps + 1)
    assert (spread.sqrt() < 0.7).all() and (spread.sqrt() > 0.1).all()  # starts lie within +-0.5 m
