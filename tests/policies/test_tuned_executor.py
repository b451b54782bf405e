"""How far fine-tuning came, by numbers worked by hand and from a run."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from fakes import AimingPolicy, PointEnv, ResumablePointEnv
from learning import SETTINGS, save_base, success

from robofb import loading
from robofb.config import compose
from robofb.evaluate import evaluate, main
from robofb.policies.chunk_actor import ChunkActor
from robofb.policies.executor import ChunkExecutor
from robofb.policies.tuned_executor import TunedExecutor
from robofb.train import ppo


def tuned(shift: float, log_std: float, num_envs: int = 3, **settings: int) -> TunedExecutor:
    """Return a policy shifted from the cloned one, of log-std -1, by `shift` units in every action."""
    policy = AimingPolicy().requires_grad_(False)
    cloned = ChunkActor(policy.network, policy.execute, 2, init_log_std=-1.0, learn_std=False)
    reference = copy.deepcopy(cloned.state_dict())
    policy.network[0].bias += shift
    return TunedExecutor(policy, torch.full((8,), log_std), reference, num_envs, **settings)


def drift(agent: TunedExecutor) -> float:
    found = evaluate(agent, PointEnv(agent.num_envs), 5, seed=1).kl_to_base
    assert found is not None
    return found


def test_the_divergence_of_two_gaussians() -> None:
    """Of deviations s, s0, means d apart: log(s0 / s) + (s^2 + d^2) / (2 s0^2) - 1/2, in each dimension."""
    expected = 2 * (1.0 + (math.exp(-4) + 0.1**2) / (2 * math.exp(-2)) - 0.5)
    assert drift(tuned(0.1, -2.0)) == pytest.approx(expected, rel=1e-5)
    assert drift(tuned(0.1, -2.0, 2, execute=2)) == pytest.approx(expected, rel=1e-5)
    assert drift(tuned(0.0, -1.0, 1)) == pytest.approx(0.0, abs=1e-6)


def test_it_acts_as_without() -> None:
    agent = tuned(0.02, -2.0, 64)
    assert success(agent) == success(ChunkExecutor(agent.policy, 64))


def test_a_run_of_ppo_tells_it_and_what_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "make_env", lambda task, engine, num_envs: ResumablePointEnv(num_envs))
    base = save_base(tmp_path / "base", AimingPolicy(), "AimingPolicyOfSpec")
    small = {"hidden": [16], "rollout_steps": 8, "minibatch_size": 64, "epochs": 2, "actor_lr": 0.01}
    run = ppo.train(
        ppo.PpoConfig(base=str(base), out=str(tmp_path / "run"), env_steps=4096, **{**SETTINGS, **small})
    )
    agent = loading.load_agent(run, 8, "latest")
    assert isinstance(agent, TunedExecutor) and drift(agent) > 1e-3
    began = AimingPolicy().network.state_dict()
    assert all(torch.equal(began[name], value) for name, value in agent.base.network.state_dict().items())
    monkeypatch.setattr(
        "robofb.evaluate.make_env", lambda task, engine, num_envs, *_, **__: PointEnv(num_envs)
    )
    words = [f"run={run.path}", "checkpoint=latest", "episodes=32", "num_envs=8", "video=false"]
    main(compose("eval", [*words, "compare_base=true"]))
    facts = run.summary()["eval"]
    assert facts["kl_to_base"] > 1e-3 and facts["base"]["kl_to_base"] is None
