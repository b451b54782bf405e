"""Storage for one on-policy rollout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from robofb.ranks import ALONE, Ranks
from robofb.rl.advantages import chunk_advantages, generalised_advantages


class Minibatch(NamedTuple):
    """Some of a rollout's decisions, N in number."""

    actor_obs: Tensor  # (N, F)
    critic_obs: Tensor  # (N, Fc)
    action: Tensor  # (N, A)
    mean: Tensor  # (N, A) of the distribution that the action was drawn from
    log_prob: Tensor  # (N,) of the action when it was drawn
    value: Tensor  # (N,) predicted then
    advantage: Tensor  # (N,)
    returns: Tensor  # (N,) advantage + value: what the critic should have predicted
    share: float = 1.0  # N over the mean N of all ranks


_COLUMNS = Minibatch._fields[:-1]


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
        self.decides = torch.ones_like(self.done)
        self.size = 0  # steps held
        self._every_step = True  # decides

    def add_decision(
        self,
        actor_obs: Tensor,
        critic_obs: Tensor,
        action: Tensor,
        mean: Tensor,
        log_prob: Tensor,
        value: Tensor,
        decides: Tensor | None = None,
    ) -> None:
        """Write what was known when the next step's action was drawn; `add_outcome` completes the step.

        Args:
            decides: (B,) bool, the action is new; elsewhere an earlier one still holds and this one counts
                for nothing. All are new where None.

        Raises:
            IndexError: the buffer is full.
        """
        t = self.size
        self.actor_obs[t], self.critic_obs[t] = actor_obs, critic_obs
        self.action[t], self.mean[t] = action, mean
        self.log_prob[t], self.value[t] = log_prob, value
        if decides is not None:
            self._every_step = False
            self.decides[t] = decides

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
        reward, value, done = self.reward, self.value, self.done
        if self._every_step:
            following = torch.cat([value[1:], last_value[None]])
            next_value = torch.where(done, self.bootstrap, following)
            self.advantage = generalised_advantages(reward, value, next_value, done, gamma, lam)
        else:
            self.advantage = chunk_advantages(
                reward, value, self.bootstrap, last_value, done, self.decides, gamma, lam
            )
        self.returns = self.advantage + value

    def decisions(self) -> Minibatch:
        """Return all decisions, step after step."""
        columns = [getattr(self, name).flatten(0, 1) for name in _COLUMNS]
        if not self._every_step:
            rows = self.decides.flatten().nonzero()[:, 0]
            columns = [column[rows] for column in columns]
        return Minibatch(*columns)

    def minibatches(
        self, size: int | None, generator: torch.Generator, ranks: Ranks = ALONE
    ) -> Iterator[Minibatch]:
        """Yield every decision once, shuffled, in minibatches of nearly equal size.

        Args:
            size: of a minibatch, all ranks together; all decisions at once where None.
            ranks: who take their steps together, hence the same number of them.
        """
        decisions = self.decisions()
        nums = ranks.gather(len(decisions.value))
        count = 1 if size is None else max(1, min(-(-num * ranks.size // size) for num in nums))
        order = torch.arange(nums[ranks.rank], device=self.reward.device)
        if count > 1:
            order = torch.randperm(len(order), generator=generator, device=order.device)
        for index, rows in enumerate(order.tensor_split(count)):
            mean = sum(num // count + (index < num % count) for num in nums) / ranks.size
            columns = decisions[:-1] if count == 1 else (column[rows] for column in decisions[:-1])
            yield Minibatch._make([*columns, len(rows) / mean])

    def clear(self) -> None:
        """Start the next rollout."""
        self.size = 0
