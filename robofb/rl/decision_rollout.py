"""A rollout of decisions that take different numbers of control steps in different envs, for PPO."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from robofb.rl.rollout_buffer import RolloutBuffer, generalised_advantages


def decision_advantages(
    env: Tensor, reward: Tensor, discount: Tensor, value: Tensor, next_value: Tensor, done: Tensor, lam: float
) -> Tensor:
    """Return the advantages (N,) of decisions listed in order of time, each env's among the others'.

    As `generalised_advantages`, with gamma to the power of the control steps that a decision took.

    Args:
        env: (N,) int64, whose decision each is.
        reward: (N,), discounted sum over its control steps.
        discount: (N,) of what follows it, 0 after a termination.
        value: (N,) of the states decided in.
        next_value: (N,) of the states reached.
        done: (N,) bool, the episode ended.
        lam: weight decay of longer estimates for each decision.
    """
    row, column = _place(env)
    shape = (int(row.max()) + 1, int(column.max()) + 1)

    def spread(values: Tensor, rest: float) -> Tensor:
        table = values.new_full(shape, rest)
        table[row, column] = values
        return table

    advantage = generalised_advantages(
        spread(reward, 0),
        spread(value, 0),
        spread(next_value, 0),
        spread(done, True),
        spread(discount, 0),
        lam,
    )
    return advantage[row, column]


def _place(env: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each entry of env (N,) how many of the same env come before it, and its env."""
    order = torch.argsort(env, stable=True)
    counts = env.bincount()
    first = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    rank = torch.empty_like(env)
    rank[order] = torch.arange(len(env), device=env.device) - first
    return rank, env


@torch.no_grad()
def make_rollout(
    decisions: Sequence[Mapping[str, Tensor]], value: Callable[[Tensor], Tensor], lam: float
) -> RolloutBuffer:
    """Return the decisions of a rollout with their advantages, as `PPO.update` takes them.

    Args:
        decisions: in order of time; each has "env", "obs", "critic_obs", "next_critic_obs", "action", "mean",
            "log_prob", "reward", "discount" and "done", with n >= 0 rows.
        value: the critic, of critic inputs (N, Fc).
        lam: see `decision_advantages`.
    """
    whole = {name: torch.cat([part[name] for part in decisions]) for name in decisions[0]}
    count = len(whole["env"])
    dims = (whole[name].shape[1] for name in ("obs", "critic_obs", "action"))
    buffer = RolloutBuffer(1, count, *dims, device=whole["env"].device)
    values = value(whole["critic_obs"])
    buffer.add_decision(
        whole["obs"], whole["critic_obs"], whole["action"], whole["mean"], whole["log_prob"], values
    )
    advantage = decision_advantages(
        whole["env"],
        whole["reward"],
        whole["discount"],
        values,
        value(whole["next_critic_obs"]),
        whole["done"],
        lam,
    )
    buffer.advantage[0], buffer.returns[0] = advantage, advantage + values
    return buffer
