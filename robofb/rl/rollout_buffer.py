"""Storage for one on-policy rollout, and generalised advantage estimation over it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


def generalised_advantages(
    reward: Tensor, value: Tensor, next_value: Tensor, done: Tensor, gamma: float | Tensor, lam: float
) -> Tensor:
    """Return advantages (T, B): sums of TD errors weighted by (gamma lam)^k within each episode.

    delta_t = r_t + gamma V(s_t+1) - V(s_t) and A_t = delta_t + gamma lam (1 - done_t) A_t+1
    (Schulman et al., arXiv 1506.02438, eqs. 11-16).

    Args:
        reward: (T, B).
        value: (T, B) of the states acted in.
        next_value: (T, B) of the states reached, before any reset: 0 after a termination, the value of the
            final observation after a time-out.
        done: (T, B) bool, the step ended its episode either way.
        gamma: discount; (T, B) where it differs.
        lam: weight decay of longer estimates, lambda.
    """
    delta = reward + gamma * next_value - value
    decay = gamma * lam * (~done).to(reward.dtype)
    advantage = torch.empty_like(delta)
    running = torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        running = delta[t] + decay[t] * running
        advantage[t] = running
    return advantage


class Minibatch(NamedTuple):
    """Some of a rollout's steps, N in number."""

    actor_obs: Tensor  # (N, F)
    critic_obs: Tensor  # (N, Fc)
    action: Tensor  # (N, A)
    mean: Tensor  # (N, A) of the distribution that the action was drawn from
    log_prob: Tensor  # (N,) of the action when it was drawn
    value: Tensor  # (N,) predicted then
    advantage: Tensor  # (N,)
    returns: Tensor  # (N,) advantage + value: what the critic should have predicted


class RolloutBuffer:
    """Hold T steps of B envs.

    Args:
        num_steps: T.
        num_envs: B.
        actor_dim, critic_dim, action_dim: sizes F, Fc and A.
        device: where the tensors live.
    """

    def __init__(
        self,
        num_steps: int,
        num_envs: int,
        actor_dim: int,
        critic_dim: int,
        action_dim: int,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(num_steps, num_envs, *shape, dtype=dtype, device=device)

        self.num_steps, self.num_envs = num_steps, num_envs
        self.actor_obs, self.critic_obs = zeros(actor_dim), zeros(critic_dim)
        self.action, self.mean = zeros(action_dim), zeros(action_dim)
        self.log_prob, self.value = zeros(), zeros()
        self.reward, self.bootstrap = zeros(), zeros()
        self.done = zeros(dtype=torch.bool)
        self.advantage, self.returns = zeros(), zeros()
        self.size = 0  # steps held

    def add_decision(
        self,
        actor_obs: Tensor,
        critic_obs: Tensor,
        action: Tensor,
        mean: Tensor,
        log_prob: Tensor,
        value: Tensor,
    ) -> None:
        """Write what was known when the next step's action was drawn; `add_outcome` completes the step.

        Raises:
            IndexError: the buffer is full.
        """
        t = self.size
        self.actor_obs[t], self.critic_obs[t] = actor_obs, critic_obs
        self.action[t], self.mean[t] = action, mean
        self.log_prob[t], self.value[t] = log_prob, value

    def add_outcome(self, reward: Tensor, done: Tensor, bootstrap: Tensor) -> None:
        """Write what the action led to, and move on to the next step.

        Args:
            reward: (B,).
            done: (B,) bool, the episode ended by either reason.
            bootstrap: (B,) value of the final observation where the episode timed out, 0 elsewhere.
        """
        t = self.size
        self.reward[t], self.done[t], self.bootstrap[t] = reward, done, bootstrap
        self.size += 1

    def compute_returns(self, last_value: Tensor, gamma: float, lam: float) -> None:
        """Fill `advantage` and `returns`, given the values (B,) of the observations after the last step.

        Raises:
            RuntimeError: the rollout is not complete.
        """
        if self.size != self.num_steps:
            raise RuntimeError(f"rollout holds {self.size} of {self.num_steps} steps")
        following = torch.cat([self.value[1:], last_value[None]])
        next_value = torch.where(self.done, self.bootstrap, following)
        self.advantage = generalised_advantages(self.reward, self.value, next_value, self.done, gamma, lam)
        self.returns = self.advantage + self.value

    def minibatches(self, size: int | None, generator: torch.Generator) -> Iterator[Minibatch]:
        """Yield every step once, shuffled, in minibatches of at most `size` (all at once where None)."""
        columns = [getattr(self, name).flatten(0, 1) for name in Minibatch._fields]
        num_samples = self.num_steps * self.num_envs
        if size is None or size >= num_samples:
            yield Minibatch(*columns)
            return
        order = torch.randperm(num_samples, generator=generator, device=self.reward.device)
        for rows in order.split(size):
            yield Minibatch(*(column[rows] for column in columns))

    def clear(self) -> None:
        """Start the next rollout."""
        self.size = 0
