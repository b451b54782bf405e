"""One iteration of N single-task agents: act for as long as the longest episode, then learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from robofb.interfaces import VecEnv
from robofb.optimisation import finite_means
from robofb.policies.single_task import STATE
from robofb.rl.single_task import SingleTaskLearner
from robofb.rl.slot_log import SlotLog
from robofb.rng import TRAINING_STREAM, EpisodeRng, derive_seeds
from robofb.train.episodes import EpisodeCount, Resumable
from robofb.train.stopwatch import Stopwatch
from robofb.types import Obs

_WANDER_NOISE = 0.3  # deviation of a wandering step around its episode's direction, normalised


class AgentsLoop:
    """What `RlTraining` trains: N agents, each in its own task. An iteration steps it once.

    Args:
        learner: of their policies.
        env: of N * S envs, those of a task together; the agent acts in the first `own` of its task's, the
            agents of other tasks in the others.
        own: how many.
        iterations: budget.
        gamma: discount per control step.
        batch_size: transitions of each agent in an update.
        updates: in one iteration.
        warmup, explore, least_epsilon: see `AgentsConfig`.
        generator: draws batches and visitors.
        seed: of episodes and exploration.
        threads: torch's threads in the updates.
    """

    def __init__(
        self,
        learner: SingleTaskLearner,
        env: VecEnv,
        *,
        own: int,
        iterations: int,
        gamma: float,
        batch_size: int,
        updates: int,
        warmup: float,
        explore: float,
        least_epsilon: float,
        generator: torch.Generator,
        seed: int,
        threads: int = 1,
    ) -> None:
        self.learner, self.env, self.policy = learner, env, learner.policies
        self.own, self.iterations, self.gamma = own, iterations, gamma
        self.batch_size, self.updates = batch_size, updates
        self.warmup, self.explore, self.least_epsilon = warmup, explore, least_epsilon
        self.generator, self.threads = generator, threads
        self.clock = Stopwatch()
        self.env_steps = self.iteration = 0
        agents = self.policy.num_agents
        self._shape = (agents, env.num_envs // agents)  # N, S
        spec = env.spec
        state = (spec.obs[STATE].shape, torch.float32)
        columns = {
            STATE: state,
            "next_state": state,
            "action": (spec.action.shape, torch.int64 if self.policy.num_choices else torch.float32),
            "reward": ((), torch.float32),
            "terminated": ((), torch.bool),
            "success": ((), torch.bool),
            "by": ((), torch.int64),
        }
        self.log = SlotLog(iterations * spec.max_steps, *self._shape, columns)
        self._seed = derive_seeds(seed, TRAINING_STREAM)
        self._rng = EpisodeRng(derive_seeds(derive_seeds(self._seed, 1), torch.arange(env.num_envs)))
        self._direction = torch.zeros(env.num_envs, spec.action.shape[0])
        self._by = torch.arange(agents).repeat_interleave(self._shape[1])
        self._obs: Obs = {}
        self._start_episodes(0)

    def _start_episodes(self, stretch: int) -> None:
        """Start new episodes everywhere, others for every `stretch` of a run."""
        self.log.cut()
        self._obs = self.env.reset(int(derive_seeds(self._seed, 2 + stretch)))
        self._turn(torch.ones(self.env.num_envs, dtype=torch.bool))

    @property
    def spent(self) -> float:
        """Share of the budget that is spent."""
        return self.iteration / self.iterations

    @property
    def epsilon(self) -> float:
        """Chance of a random choice."""
        if self.spent < self.warmup:
            return 1.0
        left = 1.0 - self.spent / self.explore if self.explore > 0 else 0.0
        return max(self.least_epsilon, left)

    def step(self) -> dict[str, float]:
        """Act, and learn once the warm-up is over; return metrics."""
        count = EpisodeCount(self.env.device)
        metrics: dict[str, float] = {}
        returns: list[Tensor] = []
        with self.clock.iteration(metrics):
            self._invite()
            for _ in range(self.env.spec.max_steps):
                self._act(count, returns)
            self.env_steps += self.env.num_envs * self.env.spec.max_steps
            if self.spent >= self.warmup:
                with self.clock("update"):
                    metrics |= self._learn()
        self.iteration += 1
        if returns:
            metrics["train/return"] = float(torch.cat(returns).mean())
        return metrics | count.metrics() | {"train/epsilon": self.epsilon}

    def _invite(self) -> None:
        """Draw who visits each task in this iteration: everybody visits one, nobody his own where N > 1."""
        agents, slots = self._shape
        by = torch.arange(agents)[:, None].repeat(1, slots)
        for slot in range(self.own, slots):
            shift = 1 + torch.randint(max(1, agents - 1), (), generator=self.generator)
            by[:, slot] = (torch.arange(agents) + shift) % agents
        self._by = by.flatten()

    @torch.no_grad()
    def _act(self, count: EpisodeCount, returns: list[Tensor]) -> None:
        """Do one control step in every env, and log it."""
        with self.clock("policy"):
            action = self._chosen(self._obs[STATE])
        with self.clock("env"):
            step = self.env.step(self.policy.scale.to_env(action))
        count.add(step)
        with self.clock("log"):
            self.log.add(
                {
                    STATE: self._obs[STATE],
                    "next_state": step.final_obs[STATE],
                    "action": self.policy.scale.to_env(action),
                    "reward": step.reward,
                    "terminated": step.terminated,
                    "success": step.info["success"],
                    "by": self._by,
                    "done": step.done,
                }
            )
            self.policy.normalizer.watch({STATE: step.obs[STATE]})
            self.policy.normalizer.commit()
        if step.done.any():
            if "return" in step.info:
                at_home = self._by == torch.arange(self._shape[0]).repeat_interleave(self._shape[1])
                returns.append(step.info["return"][step.done & at_home])
            self._turn(step.done)
        self._obs = step.obs

    def _chosen(self, state: Tensor) -> Tensor:
        """Return normalised actions (N * S, A), or choices."""
        if self.spent < self.warmup and not self.policy.num_choices:
            noise = _WANDER_NOISE * self._rng.normal(self._direction.shape[1])
            return (self._direction + noise).clamp(-1.0, 1.0)
        x = self.policy.normalized(state.view(*self._shape, -1))
        acting = self._by.view(self._shape)  # in each env, whose network is asked
        slots = torch.arange(self._shape[1])
        asked = torch.empty_like(x)
        asked[acting, slots] = x
        out = self.policy(asked)[acting, slots]
        return self.policy.explored(out, self._rng, self.epsilon).flatten(0, 1)

    def _turn(self, mask: Tensor) -> None:
        """Draw another direction to wander in for the envs of `mask` (B,)."""
        rows = mask.nonzero()[:, 0]
        self._direction[rows] = 2 * self._rng.select(rows).uniform(self._direction.shape[1]) - 1

    def _learn(self) -> dict[str, float]:
        torch.set_num_threads(self.threads)
        history = []
        for _ in range(self.updates):
            batch = self.log.sample(self.batch_size, self.own, self.generator)
            history.append(
                self.learner.update(
                    {
                        STATE: self.policy.normalized(batch[STATE]),
                        "next_state": self.policy.normalized(batch["next_state"]),
                        "action": self.policy.scale.from_env(batch["action"]),
                        "reward": batch["reward"],
                        "discount": self.gamma * (~batch["terminated"]).float(),
                    }
                )
            )
        torch.set_num_threads(1)
        metrics = finite_means(
            history,
            lambda: {
                "inputs": batch,
                "algorithm": self.learner.state_dict(),
                "policy": self.policy.state_dict(),
            },
        )
        return {f"update/{name}": value for name, value in metrics.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return all but the policies' weights, for a resume; exact where the env is `Resumable`."""
        resumable = isinstance(self.env, Resumable)
        return {
            "learner": self.learner.state_dict(),
            "log": self.log.state_dict(),
            "generator": self.generator.get_state(),
            "rng": self._rng.state_dict(),
            "direction": self._direction.clone(),
            "env": self.env.state_dict() if isinstance(self.env, Resumable) else None,
            "obs": dict(self._obs) if resumable else None,
            "env_steps": self.env_steps,
            "iteration": self.iteration,
            "clock": dict(self.clock.seconds),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; an env that is not `Resumable` starts new episodes."""
        self.learner.load_state_dict(state["learner"])
        self.log.load_state_dict(state["log"])
        self.generator.set_state(state["generator"])
        self._rng.load_state_dict(state["rng"])
        self._direction.copy_(state["direction"])
        self.env_steps, self.iteration = state["env_steps"], state["iteration"]
        self.clock.seconds = dict(state["clock"])
        if isinstance(self.env, Resumable):
            self.env.load_state_dict(state["env"])
            self._obs = dict(state["obs"])
        else:
            self._start_episodes(self.iteration)
