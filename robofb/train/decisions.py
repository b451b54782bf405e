"""Rollouts of chunk policies as decisions: one transition for each chunk, every env in its own time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from robofb.interfaces import Policy, VecEnv
from robofb.policies.executor import ChunkExecutor
from robofb.rng import TRAINING_STREAM, EpisodeRng, derive_seeds
from robofb.train.episodes import EpisodeCount, Resumable
from robofb.train.stopwatch import Stopwatch
from robofb.types import Obs

Decide = Callable[[Obs, EpisodeRng], tuple[Tensor, dict[str, Tensor]]]
"""Histories (n, To, ...) and streams to chunks (n, H, A) and what learning wants to know, (n, ...) each."""


class EncodingPolicy(Policy, Protocol):
    """A chunk policy that tells what it sees as one flat vector."""

    def encode(self, obs: Obs) -> Tensor:
        """Return (B, C) of histories (B, To, ...)."""
        ...


def encoded_size(policy: EncodingPolicy) -> int:
    """Return C, the size of what a policy on the CPU sees."""
    keys = policy.spec.obs.items()
    return policy.encode(
        {key: torch.zeros(1, policy.obs_history, *array.shape) for key, array in keys}
    ).shape[1]


class DecisionExecutor(ChunkExecutor):
    """Plan by `decide` instead of the policy's `act`, all rows at once, and keep what it decided.

    Attributes:
        decide: may be exchanged between steps.
        decided: rows (n,) and columns of the last step's decisions; None where there was none.
    """

    def __init__(self, policy: Policy, num_envs: int, decide: Decide, device: torch.device) -> None:
        super().__init__(policy, num_envs, device=device)
        self.decide = decide
        self.decided: tuple[Tensor, dict[str, Tensor]] | None = None

    def next(self, obs: Obs) -> Tensor:
        """Return the action (B, A) of this control step; `decided` then tells what was decided for it."""
        self.decided = None
        return super().next(obs)

    @property
    def spent(self) -> Tensor:
        """(B,) bool, envs whose chunk has no action left."""
        return self._index >= self.execute

    def history_with(self, obs: Obs, rows: Tensor) -> Obs:
        """Return the histories (n, To, ...) of `rows` (n,) that end with observations (B, ...)."""
        return {key: value[rows] for key, value in self._histories(obs).items()}

    def _plan(self, history: Obs, rows: Tensor) -> Tensor:
        chunk, columns = self.decide(
            {key: value[rows] for key, value in history.items()}, self._rng.select(rows)
        )
        self.decided = rows, columns
        return chunk[:, : self.execute]


class DecisionCollector:
    """Step the envs and return each decision when its chunk or its episode ends.

    Args:
        env: where to act.
        policy: a chunk policy with `encode`.
        decide: how it acts in training.
        gamma: discount per control step.
        seed: of the training episodes.
    """

    def __init__(self, env: VecEnv, policy: Any, decide: Decide, *, gamma: float, seed: int) -> None:
        self.env, self.policy, self.gamma = env, policy, gamma
        self.agent = DecisionExecutor(policy, env.num_envs, decide, env.device)
        self._seed = derive_seeds(seed, TRAINING_STREAM)
        self._open: dict[str, Tensor] = {}  # (B, ...), what was decided in each env
        self._reward = torch.zeros(env.num_envs, device=env.device)  # discounted, since then
        self._discount = torch.ones(env.num_envs, device=env.device)
        self._steps = torch.zeros(env.num_envs, dtype=torch.int64, device=env.device)
        self._obs: Obs = {}
        self.start_episodes(0)

    def start_episodes(self, stretch: int) -> None:
        """Start new episodes everywhere, others for every `stretch` of a run."""
        self._obs = self.env.reset(int(derive_seeds(self._seed, stretch)))
        everywhere = torch.ones(self.env.num_envs, dtype=torch.bool, device=self.env.device)
        self.agent.reset(everywhere, self.env.episode_seed)

    def step(self, count: EpisodeCount, clock: Stopwatch) -> dict[str, Tensor]:
        """Do one control step; return the n decisions that ended with it.

        Returns:
            What `decide` told of them, and "env" (n,) int64, "reward" (n,) summed with gamma^k, "discount"
            (n,) of what follows (gamma^steps, 0 after a termination but not after a time-out), "next_obs"
            (n, C) encoded, "done" (n,) bool, "steps" (n,) control steps that it took, "length" (n,) those
            of its episode so far.
        """
        with clock("policy"):
            action = self.agent.next(self._obs)
            if self.agent.decided is not None:
                self._remember(*self.agent.decided)
        with clock("physics"):
            step = self.env.step(action)
        count.add(step)
        with clock("policy"):
            self._reward += self._discount * step.reward
            self._discount *= self.gamma
            self._steps += 1
            ended = (step.done | self.agent.spent).nonzero()[:, 0]
            columns = {name: values[ended] for name, values in self._open.items()}
            columns |= {
                "env": ended,
                "reward": self._reward[ended],
                "discount": self._discount[ended] * ~step.terminated[ended],
                "next_obs": self.policy.encode(self.agent.history_with(step.final_obs, ended)),
                "done": step.done[ended],
                "steps": self._steps[ended],
                "length": step.info["length"][ended],
            }
            self.agent.reset(step.done, self.env.episode_seed)
        self._obs = step.obs
        return columns

    def _remember(self, rows: Tensor, columns: dict[str, Tensor]) -> None:
        """Open the decisions of `rows` (n,)."""
        for name, values in columns.items():
            if name not in self._open:
                self._open[name] = values.new_zeros(self.env.num_envs, *values.shape[1:])
            self._open[name][rows] = values
        self._reward[rows] = 0.0
        self._discount[rows] = 1.0
        self._steps[rows] = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the running episodes and open decisions; exact where the env is `Resumable`."""
        if not isinstance(self.env, Resumable):
            return {"env": None}
        return {
            "env": self.env.state_dict(),
            "agent": self.agent.state_dict(),
            "open": {name: values.clone() for name, values in self._open.items()},
            "reward": self._reward.clone(),
            "discount": self._discount.clone(),
            "steps": self._steps.clone(),
            "obs": dict(self._obs),
        }

    def load_state_dict(self, state: dict[str, Any], stretch: int) -> None:
        """Restore what `state_dict` returned.

        An env that is not `Resumable` starts new episodes, those of `stretch`.
        """
        if not isinstance(self.env, Resumable):
            self.start_episodes(stretch)
            return
        device = self.env.device
        self.env.load_state_dict(state["env"])
        self.agent.load_state_dict(state["agent"])
        self._open = {name: values.to(device) for name, values in state["open"].items()}
        self._reward.copy_(state["reward"])
        self._discount.copy_(state["discount"])
        self._steps.copy_(state["steps"])
        self._obs = {key: value.to(device) for key, value in state["obs"].items()}
