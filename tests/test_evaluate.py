"""Evaluation's arithmetic on a toy environment, and its repeatability on the real one."""

import numpy as np
import pytest
import torch
from fakes import PointEnv
from residual_example import DENOISER, TASK, diffusion_policy, save_residual_run
from torch import Tensor

from robofb.config import compose
from robofb.envs import make_task
from robofb.errors import UserError
from robofb.evaluate import Evaluation, evaluate, main
from robofb.loading import load_agent, load_policy, load_residual
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
    run = Run.create(tmp_path / "r", {}, "quickstart")
    with pytest.raises(UserError, match="is a quickstart run; chunk policies are in bc, "):
        load_policy(run)
    with pytest.raises(UserError, match="is a quickstart run, not a residual run"):
        load_residual(run)
    with pytest.raises(UserError, match="those that can be evaluated are bc, .*, residual, tgrl"):
        load_agent(run, 1)


class Drifter(ToGoal):
    """Is half its step's number away from its base, in nats."""

    steps = torch.zeros(3)

    def reset(self, mask, seeds):
        super().reset(mask, seeds)
        self.steps = self.steps.masked_fill(mask, 0.0)

    def next(self, obs):
        self.steps = self.steps + 1
        return super().next(obs)

    @property
    def kl_to_base(self):
        return self.steps / 2


def test_divergence_is_the_mean_over_the_steps_of_counted_episodes():
    result = evaluate(Drifter(torch.tensor([0.04, -0.03])), PointEnv(3), 10, seed=5)
    assert result.metrics["kl_to_base"] == pytest.approx((result.length + 1) / 4)  # of 1/2, 2/2, ..., n/2
    assert len(set(result.length)) > 1
    steps = np.concatenate([np.arange(1, n + 1) / 2 for n in result.length])
    assert result.kl_to_base == pytest.approx(steps.mean())
    assert result.to_dict()["kl_to_base"] == pytest.approx(steps.mean())
    assert evaluate(ToGoal(torch.zeros(2)), PointEnv(3), 4, seed=5).to_dict()["kl_to_base"] is None


@pytest.fixture
def residual_run(tmp_path):
    return save_residual_run(tmp_path / "run")


def test_reports_rates_divergence_base_and_other_tasks(residual_run, capsys):
    """The correction is worth nothing in metres: success is the base's, and the KL is not zero."""
    words = [f"run={residual_run.path}", "episodes=2", "num_envs=2", "video=false", "compare_base=true"]
    main(
        compose("eval", [*words, "also={short:{max_steps:5},pushed:{task:one_leg_insert,perturbation:0.5}}"])
    )
    said = capsys.readouterr().out
    facts = residual_run.summary()["eval"]
    assert facts["kl_to_base"] > 0
    assert facts["base"]["kl_to_base"] is None
    assert facts["base"]["successes"] == facts["successes"] == 0
    other = facts["also"]["short"]
    assert (other["episodes"], other["base"]["episodes"]) == (2, 2)
    assert set(facts["also"]) == {"short", "pushed"}
    assert other["kl_to_base"] != facts["kl_to_base"]
    for line in ("successes per 10 min of robot time 0.0", "KL to base ", "base success 0.0 %"):
        assert f"\n{line}" in said
    assert "\non short: base success" in said and "\non pushed: KL to base" in said
    report = (residual_run.path / "report.html").read_text()
    assert "successes per 10 min of robot time" in report and "KL to base" in report


def test_names_of_tasks_and_bases_are_checked(residual_run, tmp_path):
    with pytest.raises(UserError, match="task 'two_legs' is not known; valid: .*one_leg_insert"):
        main(compose("eval", [f"run={residual_run.path}", "episodes=1", "also={x:{task:two_legs}}"]))
    for word, said in (
        ("also={x:{}}", r"also.x=\{\}: say what differs from the run's task"),
        ("also={x:3}", "also.x=3: say what differs"),
        ("also={x:{randomnes:high}}", "no key 'randomnes'; valid: randomness"),
    ):
        with pytest.raises(UserError, match=said):
            main(compose("eval", [f"run={residual_run.path}", "episodes=1", word]))
    run = Run.create(tmp_path / "bc", {"task": TASK}, "bc")
    env = SimVecEnv(make_task("one_leg_insert", max_steps=10), 1)
    node = {"_target_": "robofb.policies.diffusion.DiffusionPolicy", "_partial_": True, "denoiser": DENOISER}
    base = diffusion_policy(env)
    state = {"spec": base.spec.to_dict(), "policy": base.state_dict(), "config": {"policy": node}}
    run.save_checkpoint(state, step=1, best=True)
    run.close()
    with pytest.raises(UserError, match="compare_base=true: .* is a bc run, which keeps no base"):
        main(compose("eval", [f"run={run.path}", "compare_base=true"]))
