"""One training step of ResiP: five named calls from rollout to optimiser."""

from __future__ import annotations

import time
from typing import Any, Protocol, runtime_checkable

import torch

from robofb.interfaces import VecEnv
from robofb.policies.residual import ResidualAgent, ResidualPolicy
from robofb.rl.ppo import PPO
from robofb.rng import TRAINING_STREAM, derive_seeds
from robofb.train.episode_tally import EpisodeTally
from robofb.train.stopwatch import Stopwatch


@runtime_checkable
class Resumable(Protocol):
    """A VecEnv whose running episodes can be saved and continued exactly."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


class ResidualLearner:
    """One training step of ResiP: a rollout with exploration, then a PPO update.

    Args:
        policy: the residual policy that is trained.
        env: where it acts.
        ppo: made by `make_ppo` for the same policy and env.
        seed: of the training episodes.
        threads: torch's threads in the update.
    """

    def __init__(self, policy: ResidualPolicy, env: VecEnv, ppo: PPO, *, seed: int, threads: int = 1) -> None:
        self.policy, self.env, self.ppo, self.threads = policy, env, ppo, threads
        self.agent = ResidualAgent(policy, env.num_envs, device=env.device)
        self.clock = Stopwatch()
        self.env_steps = 0
        self._seed = derive_seeds(seed, TRAINING_STREAM)
        self._start_episodes(0)

    def step(self) -> dict[str, float]:
        """Do one iteration and return its metrics.

        Raises:
            NonFiniteError: see `PPO.update`.
        """
        start, before = time.perf_counter(), dict(self.clock.seconds)
        metrics = self._collect()
        with self.clock("ppo_update"):
            torch.set_num_threads(self.threads)
            self.ppo.compute_returns(self.agent.features.critic)
            metrics |= {f"ppo/{key}": value for key, value in self.ppo.update().items()}
            torch.set_num_threads(1)
        spent = {part: total - before.get(part, 0.0) for part, total in self.clock.seconds.items()}
        other = time.perf_counter() - start - sum(spent.values())
        self.clock.seconds["other"] = self.clock.seconds.get("other", 0.0) + other
        return metrics | {f"seconds/{part}": seconds for part, seconds in (spent | {"other": other}).items()}

    def _collect(self) -> dict[str, float]:
        """Fill the buffer with one rollout."""
        agent, clock = self.agent, self.clock
        tally = EpisodeTally(self.env.device)
        for _ in range(self.ppo.buffer.num_steps):
            with clock("residual_forward"):
                action = agent.apply(self.ppo.act(*agent.features))
            with clock("physics"):
                step = self.env.step(action)
            timed_out = (step.truncated & ~step.terminated).nonzero()[:, 0]
            with clock("base_policy"):
                final = agent.final_features(step.final_obs, timed_out)
            with clock("residual_forward"):
                self.ppo.record(step.reward, step.done, timed_out, final.critic)
            with clock("base_policy"):
                agent.reset(step.done, self.env.episode_seed)
                agent.observe(step.obs)
            tally.add(step)
        self.env_steps += self.ppo.buffer.num_steps * self.env.num_envs
        return tally.metrics()

    def _start_episodes(self, stretch: int) -> None:
        """Start new episodes everywhere, others for every `stretch` of a run."""
        obs = self.env.reset(int(derive_seeds(self._seed, stretch)))
        self.agent.reset(torch.ones(self.env.num_envs, dtype=torch.bool), self.env.episode_seed)
        self.agent.observe(obs)

    def state_dict(self) -> dict[str, Any]:
        """Return all but the policy's weights, for a resume; exact where the env is `Resumable`."""
        return {
            "ppo": self.ppo.state_dict(),
            "env_steps": self.env_steps,
            "clock": dict(self.clock.seconds),
            "env": self.env.state_dict() if isinstance(self.env, Resumable) else None,
            "agent": self.agent.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; an env that is not `Resumable` starts new episodes."""
        self.ppo.load_state_dict(state["ppo"])
        self.env_steps = state["env_steps"]
        self.clock.seconds = dict(state["clock"])
        if isinstance(self.env, Resumable):
            self.env.load_state_dict(state["env"])
            self.agent.load_state_dict(state["agent"])
        else:
            self._start_episodes(self.ppo.iteration)
