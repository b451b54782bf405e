"""Each option of the residual's paper, from config to a run that evaluates."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import POINT_SPEC, UNIT_RANGE, BiasedPolicy, PointEnv, ResumablePointEnv

from robofb import evaluate, loading
from robofb.config import compose
from robofb.errors import UserError
from robofb.loading import build_policy
from robofb.policies.residual_agent import ResidualAgent
from robofb.run import Run
from robofb.train.residual import train
from robofb.train.residual_config import ResidualConfig, initial_log_std
from robofb.types import Batch

SMALL: dict[str, Any] = {
    "task": {"_target_": "fakes.PointTask"},
    "engine": {},
    "num_envs": 32,
    "rollout_steps": 16,
    "minibatch_size": 64,
    "hidden": [32],
    "select_episodes": 64,
    "select_every": 10,
}
ITERATION = 32 * 16  # env steps
OPTIONS: dict[str, dict[str, Any]] = {
    "chunked": {"chunked": True},
    "open_loop": {"open_loop": True},
    "running_obs_stats": {"running_obs_stats": True},
    "paired_std": {"exploration": 0.05, "scale": 0.1, "learn_std": False},
    "bfloat16": {"base_precision": "bfloat16"},
    "penalties": {"l1_coef": 1e-3, "l2_coef": 1e-3, "critic_warmup_iterations": 1},
}


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Save a BC run of a policy that is no diffusion policy; let `make_env` give point environments."""
    monkeypatch.setattr(loading, "make_env", lambda task, engine, num_envs: ResumablePointEnv(num_envs))
    node = {"_target_": "fakes.BiasedPolicyOfSpec", "_partial_": True}
    with Run.create(tmp_path / "base", {"policy": node}, "bc") as run:
        state = {"spec": POINT_SPEC.to_dict(), "policy": BiasedPolicy().state_dict()}
        run.save_checkpoint(state, step=1, best=True)
    return tmp_path / "base"


def config(base: Path, out: Path, **changes: Any) -> ResidualConfig:
    return ResidualConfig(base=str(base), out=str(out), **{**SMALL, **changes})


@pytest.mark.parametrize("option", OPTIONS)
def test_options_train_resume_exactly_and_evaluate(base: Path, tmp_path: Path, option: str) -> None:
    changes = OPTIONS[option]
    whole = train(config(base, tmp_path / "whole", env_steps=4 * ITERATION, **changes))
    train(config(base, tmp_path / "parts", env_steps=2 * ITERATION, **changes))
    parts = train(
        config(base, tmp_path / "x", env_steps=4 * ITERATION, resume=str(tmp_path / "parts"), **changes)
    )
    ours, theirs = (run.load_checkpoint()["policy"] for run in (whole, parts))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    agent = ResidualAgent(loading.load_residual(whole, "latest"), 8)
    assert evaluate.evaluate(agent, PointEnv(8), 16, seed=3).rate.episodes == 16


@pytest.mark.parametrize("option", ["chunked", "open_loop", "running_obs_stats"])
def test_options_lift_the_base(base: Path, tmp_path: Path, option: str) -> None:
    cfg = config(
        base, tmp_path / "run", env_steps=60 * ITERATION, target_success=0.9, seed=1, **OPTIONS[option]
    )
    rows = [row["select/success"] for row in train(cfg).metrics() if "select/success" in row]
    assert rows[0] < 0.6
    assert max(rows) > 0.8


def test_a_regression_of_chunks_is_lifted_and_stays_as_it_was(base: Path, tmp_path: Path) -> None:
    """It heads for where the goal shows, which is not where it is."""
    torch.manual_seed(0)
    node = {
        "_target_": "robofb.policies.mlp_chunk.MlpChunkPolicy",
        "_partial_": True,
        "horizon": 8,
        "execute": 4,
        "regressor": {"_target_": "robofb.nets.mlp.MlpRegressor", "_partial_": True, "num_blocks": 1},
    }
    policy = build_policy(node, POINT_SPEC.to_dict())
    rows_of_action = {name: values[:2] for name, values in UNIT_RANGE.items()}
    policy.set_stats({"state": UNIT_RANGE, "action": rows_of_action})
    optimizer = torch.optim.Adam(policy.parameters(), 0.01)
    for _ in range(300):
        state = torch.rand(256, 1, 4) - 0.5
        target = state[:, :, 2:].expand(-1, 8, -1)
        batch = Batch({"state": state}, target, torch.ones(256, 8, dtype=torch.bool), torch.ones(256))
        loss, _ = policy.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with Run.create(tmp_path / "mlp", {"policy": node}, "bc") as run:
        saved = {"spec": POINT_SPEC.to_dict(), "policy": policy.state_dict()}
        run.save_checkpoint(saved, step=1, best=True)
    cfg = config(tmp_path / "mlp", tmp_path / "run", env_steps=60 * ITERATION, target_success=0.9, seed=1)
    trained = train(cfg)
    rows = [row["select/success"] for row in trained.metrics() if "select/success" in row]
    assert rows[0] < 0.6 and max(rows) > 0.8
    kept = loading.load_residual(trained, "best").base.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in policy.state_dict().items())


def test_the_base_is_compiled_where_asked_for_and_can_be(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="base_compile=true: BiasedPolicyOfSpec, .* samples nothing"):
        train(config(base, tmp_path / "run", base_compile=True))
    compiled = []
    monkeypatch.setattr(
        BiasedPolicy, "compile_sampling", lambda policy: compiled.append(policy), raising=False
    )
    train(config(base, tmp_path / "run", env_steps=ITERATION, base_compile=True))
    assert [type(policy).__name__ for policy in compiled] == ["BiasedPolicyOfSpec"]


def test_running_statistics_are_of_the_observations_that_training_saw(base: Path, tmp_path: Path) -> None:
    run = train(config(base, tmp_path / "run", env_steps=2 * ITERATION, running_obs_stats=True))
    weights = run.load_checkpoint()["policy"]
    assert float(weights["running.num_state"]) == 1 + 2 * ITERATION
    assert (weights["running.mean_state"][2:].abs() < 0.1).all()  # where the goal shows: +-0.5


def test_exploration_keeps_scale_times_deviation() -> None:
    """The paper's pair, scale 0.1 and log-std -1, explores 0.0368 at first; half the scale, twice std."""
    for scale, expected in ((0.1, -1.0), (0.05, -1.0 + math.log(2)), (0.2, -1.0 - math.log(2))):
        cfg = ResidualConfig(scale=scale, exploration=0.1 / math.e)
        assert initial_log_std(cfg) == pytest.approx(expected)
    assert initial_log_std(ResidualConfig(init_log_std=-0.3)) == -0.3
    cfg = compose("train residual", ["base=x", "preset=paper", "scale=0.05", "exploration=0.037"])
    assert initial_log_std(cfg) == pytest.approx(math.log(0.74))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exploration": 0.0}, "exploration=0.0: must be positive"),
        ({"exploration": 0.03, "correction": [0.1, 0.1]}, "exploration=0.03: pairs with scale"),
        ({"base_precision": "half"}, "base_precision=half: choose one of float32, bfloat16"),
        ({"chunked": True, "open_loop": True}, "a chunked residual is open-loop already"),
        ({"l1_coef": -1.0}, "l1_coef=-1.0: needs at least 0"),
        ({"l2_coef": math.inf}, "l2_coef=inf: needs at least 0"),
        ({"init_log_std": math.nan}, "init_log_std=nan: must be finite"),
        ({"final_log_std": math.inf, "learn_std": False}, "final_log_std=inf: must be finite"),
        ({"value_coef": -0.5}, "value_coef=-0.5: needs at least 0"),
        ({"entropy_coef": math.nan}, "entropy_coef=nan: must be finite"),
        ({"seed": 2**63}, f"seed={2**63}: a seed lies in"),
        ({"select_seed": -(2**64)}, "select_seed=-18446744073709551616: a seed lies in"),
        ({"num_envs": 2**63}, f"num_envs={2**63}: must be below 2"),
        ({"hidden": [2**63]}, "needs sizes of at least 1, below 2"),
    ],
)
def test_options_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ResidualConfig(**changes)
