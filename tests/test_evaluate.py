"""Evaluation's arithmetic on a toy environment, and its repeatability on the real one."""

import numpy as np
import pytest
import torch
from fakes import PointEnv
from torch import Tensor

from robofb.envs import make_task
from robofb.errors import UserError
from robofb.evaluate import Evaluation, evaluate
from robofb.loading import load_agent, load_policy, load_residual
from robofb.nets.mlp import MlpDenoiser
from robofb.policies.diffusion import DiffusionPolicy
from robofb.policies.executor import ChunkExecutor
from robofb.run import Run
from robofb.sim.vec_env import SimVecEnv


class ToGoal:
    """Walk to where the goal shows plus `offset`; notes what it was told about resets."""

    def __init__(self, offset: Tensor) -> None:
        self.offset, self.seeds = offset, []

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        self.seeds += seeds[mask].tolist()

    def next(self, obs: dict[str, Tensor]) -> Tensor:
        return obs["state"][:, 2:] + self.offset


def make(success: list[int], stage: list[int]) -> Evaluation:
    return Evaluation(
        task="toy",
        seed=0,
        success=np.array(success, bool),
        stage=np.array(stage),
        length=np.array([50, 60, 90, 90]),
        metrics={},
        stages=("grasp", "transport", "insertion"),
        control_dt_s=0.1,
        seconds=1.0,
    )


def test_facts_by_hand():
    result = make([1, 1, 0, 0], [3, 3, 0, 2])
    assert (result.rate.successes, result.rate.episodes) == (2, 4)
    assert result.failures == {"grasp": 1, "transport": 0, "insertion": 1}
    assert result.successes_per_10_min == pytest.approx(2 * 600 / 29.0)  # 290 steps of 0.1 s
    assert result.to_dict()["mean_steps_of_success"] == 55.0


def test_every_episode_counts_once_whatever_the_batch():
    """Episode n of a seed has the same outcome with 1, 3 or 50 envs."""
    agents = [ToGoal(torch.tensor([0.04, -0.03])) for _ in range(3)]
    results = [
        evaluate(agent, PointEnv(size), 20, seed=5) for agent, size in zip(agents, (1, 3, 50), strict=True)
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0].success, other.success)
        np.testing.assert_array_equal(results[0].length, other.length)
    assert len(set(agents[0].seeds[:20])) == 20  # each env start told the agent a seed of its own


def test_perfect_and_hopeless_agents():
    perfect = evaluate(ToGoal(torch.tensor([0.07, -0.05])), PointEnv(4), 16, seed=0)
    hopeless = evaluate(ToGoal(torch.tensor([3.0, 3.0])), PointEnv(4), 16, seed=0)
    assert perfect.rate.rate == 1.0 and hopeless.rate.rate == 0.0
    assert (hopeless.length == 16).all()


def test_no_episodes_are_refused():
    with pytest.raises(UserError, match="at least 1, not 0"):
        evaluate(ToGoal(torch.zeros(2)), PointEnv(1), 0, seed=0)


def diffusion_policy(env: SimVecEnv) -> DiffusionPolicy:
    torch.manual_seed(0)
    policy = DiffusionPolicy(
        env.spec, lambda **sizes: MlpDenoiser(**sizes, width=64, num_blocks=2), horizon=16, execute=8
    )
    low, high = torch.tensor(env.spec.action.low), torch.tensor(env.spec.action.high)
    ones = torch.ones(env.spec.obs["state"].shape)
    policy.set_stats(
        {
            "state": {"min": -ones, "max": ones, "mean": 0 * ones, "std": ones},
            "action": {"min": low, "max": high, "mean": low, "std": high},
        }
    )
    return policy.eval()


def test_real_evaluation_repeats_bit_for_bit_whatever_the_batch():
    """A diffusion policy in contact simulation: 5 or 12 envs, the same episodes."""
    outcomes = []
    for num_envs in (5, 12):
        env = SimVecEnv(make_task("one_leg_insert", max_steps=30), num_envs)
        policy = diffusion_policy(env)
        last: dict[int, list[float]] = {}
        agent, obs = ChunkExecutor(policy, num_envs), env.reset(3)
        agent.reset(torch.ones(num_envs, dtype=torch.bool), env.episode_seed)
        while len([n for n in last if n < 10]) < 10:
            step = env.step(agent.next(obs))
            obs = step.obs
            for row in step.done.nonzero().flatten().tolist():
                last[int(step.info["episode"][row])] = step.final_obs["state"][row].tolist()
            agent.reset(step.done, env.episode_seed)
        outcomes.append([last[n] for n in range(10)])
    assert outcomes[0] == outcomes[1]


def test_wrong_kinds_of_run_are_refused(tmp_path):
    run = Run.create(tmp_path / "r", {}, "tgrl")
    with pytest.raises(UserError, match="is a tgrl run; chunk policies are in bc, "):
        load_policy(run)
    with pytest.raises(UserError, match="is a tgrl run, not a residual run"):
        load_residual(run)
    with pytest.raises(UserError, match="those that can be evaluated are bc, .*, residual"):
        load_agent(run, 1)
