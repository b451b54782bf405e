"""What the tests of the trainers by rollouts share: bases, point envs, and how runs are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from fakes import POINT_SPEC, PointEnv
from torch import nn

from robofb import evaluate, loading
from robofb.run import Run

SETTINGS: dict[str, Any] = {
    "task": {"_target_": "fakes.PointTask"},
    "engine": {},
    "num_envs": 32,
    "select_episodes": 64,
    "save_every": 2,
}


def save_base(path: Path, policy: nn.Module, target: str) -> Path:
    """Save a BC run that holds `policy`, rebuilt by the class `target` of tests/fakes.py."""
    node = {"_target_": f"fakes.{target}", "_partial_": True}
    with Run.create(path, {"policy": node}, "bc") as run:
        run.save_checkpoint({"spec": POINT_SPEC.to_dict(), "policy": policy.state_dict()}, step=1, best=True)
    return path


def weights(run: Run, which: str = "latest") -> dict[str, torch.Tensor]:
    return run.load_checkpoint(which)["policy"]


def assert_same_weights(a: Run, b: Run) -> None:
    ours, theirs = weights(a), weights(b)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def success(agent: Any) -> float:
    """Evaluate 64 envs of an agent on 512 fresh episodes."""
    return evaluate.evaluate(agent, PointEnv(64), 512, seed=77).rate.rate


def success_of(run: Run) -> float:
    """The same for the best checkpoint of a run, as `robofb eval` loads it."""
    return success(loading.load_agent(run, 64))
