"""Two processes on gloo train as one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import POINT_SPEC, BiasedPolicy
from omegaconf import OmegaConf
from rank_jobs import PPO_CASES, bc_step, ppo_update
from train.test_bc import POLICY, write_dataset

from robofb.errors import UserError
from robofb.ranks import ALONE, Ranks, join_ranks
from robofb.run import Run
from robofb.train.open_run import open_run

ROOT = Path(__file__).resolve().parents[1]
BASE_NODE = {"_target_": "fakes.BiasedPolicyOfSpec", "_partial_": True}


def torchrun(*words: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """Run a module of the tests on several processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
    return subprocess.run(
        [*launcher, f"--nproc-per-node={processes}", "-m", "rank_jobs", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )


@pytest.fixture(scope="module")
def updates(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what each of two ranks came to."""
    folder = tmp_path_factory.mktemp("updates")
    done = torchrun("updates", str(folder))
    assert done.returncode == 0, done.stderr[-2000:]
    return [torch.load(folder / f"updates_{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", PPO_CASES)
def test_two_ranks_update_as_one_process_with_both_rollouts(updates: list, case: str) -> None:
    alone = ppo_update(ALONE, **PPO_CASES[case])
    first, second = (rank[case] for rank in updates)
    assert torch.equal(first["weights"], second["weights"])
    assert first["metrics"] == second["metrics"]
    assert first["metrics"]["epochs"] == alone["metrics"]["epochs"]
    if case == "stopped":  # a joint decision, and not the trivial one
        assert 1 < alone["metrics"]["epochs"] < 30
        assert torch.allclose(first["weights"], alone["weights"], atol=1e-4)
    else:
        assert alone["gradient"].abs().max() > 0.01
        assert torch.allclose(first["gradient"], alone["gradient"], rtol=0, atol=1e-6)
        for name in ("policy_loss", "value_loss", "kl", "mean_magnitude", "grad_norm_critic"):
            assert first["metrics"][name] == pytest.approx(alone["metrics"][name], abs=1e-6)


def test_two_ranks_clone_as_one_process_with_both_batches(updates: list) -> None:
    alone = bc_step(ALONE)
    for rank in updates:
        assert rank["bc"]["loss"] == pytest.approx(alone["loss"], abs=1e-6)
        assert torch.allclose(rank["bc"]["gradient"], alone["gradient"], rtol=0, atol=1e-7)


def save_base(path: Path) -> Path:
    with Run.create(path, {"policy": BASE_NODE}, "bc") as run:
        state = {"spec": POINT_SPEC.to_dict(), "policy": BiasedPolicy().state_dict()}
        run.save_checkpoint(state, step=1, best=True)
    return path


def write_config(folder: Path, name: str, values: dict[str, Any]) -> None:
    OmegaConf.save(OmegaConf.create(values), folder / f"{name}.yaml")


@pytest.mark.slow
def test_two_ranks_train_one_run_and_resume_it_exactly(tmp_path: Path) -> None:
    base = save_base(tmp_path / "base")
    small: dict[str, Any] = {"task": {}, "engine": {}, "num_envs": 16, "rollout_steps": 8, "hidden": [16]}
    small |= {"base": str(base), "minibatch_size": 64, "select_episodes": 16, "select_every": 2}
    small |= {"running_obs_stats": True, "scale_rewards": True, "save_every": 1}
    data = write_dataset(tmp_path / "data", episodes=6)
    cloning: dict[str, Any] = {"policy": POLICY, "data": str(data), "batch_size": 8, "warmup_steps": 1}
    cloning |= {"device": "cpu", "threads": 1, "validate_every": 2, "log_every": 1, "checkpoint_every": 2}
    for kind, values, budget in (("residual", small, "env_steps"), ("bc", cloning, "steps")):
        whole, half = (4 * 128, 2 * 128) if kind == "residual" else (4, 2)
        parts = str(tmp_path / f"{kind}_run_parts")
        write_config(tmp_path, f"{kind}_1", {**values, budget: whole, "out": str(tmp_path / f"{kind}_run")})
        # the schedules of a budget that is spent in two stretches
        fixed = {} if kind == "residual" else {"lr": 1e-3}
        write_config(tmp_path, f"{kind}_2", {**values, **fixed, budget: half, "out": parts})
        write_config(tmp_path, f"{kind}_3", {**values, **fixed, budget: whole, "resume": parts})
    done = torchrun("trainings", str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    run, resumed = Run.open(tmp_path / "residual_run"), Run.open(tmp_path / "residual_run_parts")
    ours, theirs = run.load_checkpoint(), resumed.load_checkpoint()
    assert ours["step"] == 4 * 128  # of both ranks together
    assert len(ours["other_learners"]) == 1
    seeds = [learner["env"]["seed"] for learner in (ours["learner"], ours["other_learners"][0])]
    assert seeds[0] != seeds[1]
    assert all(torch.equal(ours["policy"][name], theirs["policy"][name]) for name in ours["policy"])
    steps = [row["step"] for row in run.metrics()]
    assert steps == sorted(set(steps))  # one writer
    cloned = Run.open(tmp_path / "bc_run").load_checkpoint()
    assert cloned["step"] == 4 and len(cloned["other_learners"]) == 1
    generators = [cloned["learner"]["generator"], cloned["other_learners"][0]["generator"]]
    assert not torch.equal(*generators)  # batches of their own
    assert Run.open(tmp_path / "bc_run_parts").load_checkpoint()["step"] == 4


def test_a_training_that_is_not_shared_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    cfg = OmegaConf.create({"resume": None, "out": str(tmp_path / "run"), "seed": 0})
    with pytest.raises(UserError, match="torchrun started 2 processes, and train ppo runs in one"):
        open_run(cfg, "ppo", "point", ())
    assert not (tmp_path / "run").exists()


def test_what_does_not_divide_is_refused() -> None:
    assert Ranks(1, 4).share("num_envs", 64) == 16
    with pytest.raises(UserError, match="num_envs=6: does not divide among 4 processes"):
        Ranks(0, 4).share("num_envs", 6)


def test_alone_nothing_changes() -> None:
    with join_ranks() as ranks:
        assert ranks is ALONE
    tensor = torch.tensor([1.0, 2.0])
    ALONE.average_([tensor])
    assert tensor.tolist() == [1.0, 2.0]
    assert ALONE.seed(7) == 7 and Ranks(1, 2).seed(7) not in (7, Ranks(2, 3).seed(7))
    assert ALONE.gather("x") == ["x"] and ALONE.lead(lambda: 3) == 3 and ALONE.lead_first(lambda: 4) == 4
