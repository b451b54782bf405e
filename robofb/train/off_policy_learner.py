"""One training step of the trainers with a replay buffer: collect decisions, then learn from old and new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from robofb.interfaces import VecEnv
from robofb.optimisation import finite_means
from robofb.rl.replay_buffer import ReplayBuffer
from robofb.train.decisions import Decide, DecisionCollector
from robofb.train.episodes import EpisodeCount
from robofb.train.off_policy_config import OffPolicyConfig
from robofb.train.rl_training import learning_generators
from robofb.train.stopwatch import Stopwatch


class Algorithm(Protocol):
    """What learns from batches of transitions, such as `rl.sac.SAC`."""

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take one step and return its metrics."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all but the policy's weights that learning continues from."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


class OffPolicyLearner:
    """Alternate control steps in the envs and updates from a replay buffer.

    Args:
        policy: what is trained; whole in every checkpoint.
        collector: acts in the envs.
        replay: keeps what it did.
        algorithm: learns from that.
        decide: how the policy acts once `warmup_steps` are over.
        rollout_steps: control steps of each env in one iteration.
        warmup_steps: control steps, all envs together, before which the collector acts as it was made to and
            nothing is learnt.
        updates: gradient steps in one iteration.
        batch_size: transitions in each.
        n_step: decisions that a transition sums up.
        generator: draws the batches.
        threads: torch's threads in the updates.
    """

    def __init__(
        self,
        policy: Any,
        collector: DecisionCollector,
        replay: ReplayBuffer,
        algorithm: Algorithm,
        *,
        decide: Decide,
        rollout_steps: int,
        warmup_steps: int,
        updates: int,
        batch_size: int,
        n_step: int,
        generator: torch.Generator,
        threads: int = 1,
    ) -> None:
        self.policy, self.collector, self.replay, self.algorithm = policy, collector, replay, algorithm
        self.decide, self.rollout_steps, self.warmup_steps = decide, rollout_steps, warmup_steps
        self.updates, self.batch_size, self.n_step = updates, batch_size, n_step
        self.generator, self.threads = generator, threads
        self.clock = Stopwatch()
        self.env_steps = self.iteration = 0

    def step(self) -> dict[str, float]:
        """Do one iteration and return its metrics.

        Raises:
            NonFiniteError: a metric of the updates, and so a loss or gradient, is NaN or infinite.
        """
        metrics: dict[str, float] = {}
        with self.clock.iteration(metrics):
            if self.env_steps >= self.warmup_steps:
                self.collector.agent.decide = self.decide
            metrics |= self._collect()
            if self.env_steps >= self.warmup_steps:
                with self.clock("update"):
                    torch.set_num_threads(self.threads)
                    metrics |= self._learn()
                    torch.set_num_threads(1)
            self.iteration += 1
        return metrics

    def _collect(self) -> dict[str, float]:
        count = EpisodeCount(self.collector.env.device)
        for _ in range(self.rollout_steps):
            decisions = self.collector.step(count, self.clock)
            if len(decisions["env"]):
                self.replay.add(decisions["env"], decisions, decisions["done"])
        self.env_steps += self.rollout_steps * self.collector.env.num_envs
        return count.metrics() | {"replay/size": len(self.replay)}

    def _learn(self) -> dict[str, float]:
        """Do the iteration's updates; return the means of their metrics."""
        history = []
        for _ in range(self.updates):
            batch = self.replay.sample(self.batch_size, self.generator, self.n_step)
            history.append(self.algorithm.update(batch))
        metrics = finite_means(
            history,
            lambda: {
                "inputs": batch,
                "algorithm": self.algorithm.state_dict(),
                "policy": self.policy.state_dict(),
            },
        )
        return {f"update/{name}": value for name, value in metrics.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return all but the policy's weights, for a resume; exact where the env is `Resumable`."""
        return {
            "algorithm": self.algorithm.state_dict(),
            "replay": self.replay.state_dict(),
            "collector": self.collector.state_dict(),
            "generator": self.generator.get_state(),
            "env_steps": self.env_steps,
            "iteration": self.iteration,
            "clock": dict(self.clock.seconds),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.algorithm.load_state_dict(state["algorithm"])
        self.replay.load_state_dict(state["replay"])
        self.generator.set_state(state["generator"])
        self.env_steps, self.iteration = state["env_steps"], state["iteration"]
        self.clock.seconds = dict(state["clock"])
        self.collector.load_state_dict(state["collector"], self.iteration)
        if state["collector"]["env"] is None:
            self.replay.cut()


def make_off_policy_learner(
    cfg: OffPolicyConfig, policy: Any, env: VecEnv, algorithm: Algorithm, action_dim: int
) -> OffPolicyLearner:
    """Put collector and replay buffer around a policy on a base and what learns.

    Args:
        policy: has `obs_dim`, `wander` to warm up and `explore` afterwards.
        action_dim: size of the "action" of its decisions.
    """
    columns = {"obs": (policy.obs_dim,), "action": (action_dim,), "next_obs": (policy.obs_dim,)}
    (batches,) = learning_generators(cfg.seed, env.device)
    return OffPolicyLearner(
        policy,
        DecisionCollector(env, policy, policy.wander, gamma=cfg.gamma, seed=cfg.seed),
        ReplayBuffer(cfg.buffer_size, columns, env.num_envs, device=env.device),
        algorithm,
        decide=policy.explore,
        rollout_steps=cfg.rollout_steps,
        warmup_steps=cfg.warmup_steps,
        updates=cfg.updates,
        batch_size=cfg.batch_size,
        n_step=cfg.n_step,
        generator=batches,
        threads=cfg.threads,
    )


def node_on_base(policy: type, base_node: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the config node that builds a policy on a base from a spec."""
    target = f"{policy.__module__}.{policy.__qualname__}"
    return {"_target_": target, "_partial_": True, "base": base_node, **settings}
