"""Tests of robofb.train.ppo beyond the contract of all trainers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes import AimingPolicy, ResumablePointEnv
from learning import SETTINGS, save_base

from robofb import loading
from robofb.errors import UserError
from robofb.run import Run
from robofb.train.ppo import PpoConfig, train


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> Run:
    monkeypatch.setattr(loading, "make_env", lambda task, engine, num_envs: ResumablePointEnv(num_envs))
    base = tmp_path / "base"
    if not base.exists():
        save_base(base, AimingPolicy(), "AimingPolicyOfSpec")
    small = {"rollout_steps": 16, "minibatch_size": 64, "hidden": [16], "critic_warmup_iterations": 0}
    settings = {**SETTINGS, **small, "select_every": 4, **changes}
    return train(PpoConfig(base=str(base), out=str(tmp_path / name), **settings))


def test_the_penalty_holds_the_policy_near_what_was_cloned(tmp_path, monkeypatch):
    steps = {"env_steps": 8 * 16 * 32, "actor_lr": 3e-3, "target_kl": 1.0, "init_log_std": -2.5}
    drift = {}
    for name, coefficient in (("free", 0.0), ("held", 3.0)):
        rows = run(tmp_path, monkeypatch, name, kl_coef=coefficient, **steps).metrics()
        drift[name] = rows[-1]["ppo/kl_to_base"]
    assert 0 <= drift["held"] < 0.2 * drift["free"]


def test_only_the_critic_learns_at_first(tmp_path, monkeypatch):
    steps = {"env_steps": 2 * 16 * 32, "critic_warmup_iterations": 2}
    trained = run(tmp_path, monkeypatch, "warm", **steps)
    assert trained.metrics()[-1]["ppo/kl_to_base"] == pytest.approx(0.0, abs=1e-9)
    assert trained.metrics()[-1]["ppo/value_loss"] > 0


def test_a_rollout_shorter_than_a_chunk_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="rollout_steps=3: needs at least the 4 steps of one chunk"):
        run(tmp_path, monkeypatch, "x", rollout_steps=3)
    assert not (tmp_path / "x").exists()
