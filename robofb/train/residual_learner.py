"""One training step of ResiP: five named calls from rollout to optimiser."""

from __future__ import annotations

from typing import Any

import torch

from robofb.interfaces import VecEnv
from robofb.policies.residual import ResidualPolicy
from robofb.policies.residual_agent import ResidualAgent
from robofb.rl.ppo import PPO
from robofb.rng import TRAINING_STREAM, derive_seeds
from robofb.train.episodes import EpisodeCount, Resumable
from robofb.train.stopwatch import Stopwatch


class ResidualLearner:
    """One training step of ResiP: a rollout with exploration, then a PPO update.

    Args:
        policy: the residual policy that is trained.
        env: where it acts.
        ppo: made by `make_ppo` for the same policy and env.
        seed: of the training episodes.
        threads: torch's threads in the update.

    It learns together with the ranks of `ppo`, each of which has an env and episodes of its own.
    """

    def __init__(self, policy: ResidualPolicy, env: VecEnv, ppo: PPO, *, seed: int, threads: int = 1) -> None:
        self.policy, self.env, self.ppo, self.threads = policy, env, ppo, threads
        self.agent = ResidualAgent(policy, env.num_envs, device=env.device)
        self.clock = Stopwatch()
        self.env_steps = 0
        self._seed = ppo.ranks.seed(derive_seeds(seed, TRAINING_STREAM))
        self._start_episodes(0)

    @property
    def iteration(self) -> int:
        """Iterations done."""
        return self.ppo.iteration

    def step(self) -> dict[str, float]:
        """Do one iteration and return its metrics.

        Raises:
            NonFiniteError: see `PPO.update`.
        """
        metrics: dict[str, float] = {}
        with self.clock.iteration(metrics):
            metrics |= self._collect()
            with self.clock("ppo_update"):
                torch.set_num_threads(self.threads)
                self.ppo.compute_returns(self.agent.features.critic)
                metrics |= {f"ppo/{key}": value for key, value in self.ppo.update().items()}
                self._renormalise()
                torch.set_num_threads(1)
        return metrics

    def _collect(self) -> dict[str, float]:
        """Fill the buffer with one rollout."""
        agent, clock = self.agent, self.clock
        count = EpisodeCount(self.env.device)
        num_steps, chunked = self.ppo.buffer.num_steps, self.policy.chunked
        for t in range(num_steps):
            with clock("residual_forward"):
                action = agent.apply(self.ppo.act(*agent.features, agent.decides))
            with clock("physics"):
                step = self.env.step(action)
            timed_out = (step.truncated & ~step.terminated).nonzero()[:, 0]
            with clock("base_policy"):
                final = agent.final_features(step.final_obs, timed_out)
            with clock("residual_forward"):
                self.ppo.record(step.reward, step.done, timed_out, final.critic)
            with clock("base_policy"):
                agent.reset(step.done, self.env.episode_seed)
                if chunked and t == num_steps - 1:
                    agent.replan()  # so that the rollout's last decisions end with it
                agent.observe(step.obs)
                if self.policy.running is not None:
                    self.policy.running.watch({key: step.obs[key] for key in self.policy.obs_keys})
            count.add(step)
        self.env_steps += num_steps * self.env.num_envs * self.ppo.ranks.size
        return count.metrics(self.ppo.ranks)

    def _renormalise(self) -> None:
        """Let a running normaliser count this rollout; a rollout and its update see one and the same."""
        if self.policy.running is not None:
            self.policy.running.commit(self.ppo.ranks)
            self.agent.rebuild()

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
