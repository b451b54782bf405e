"""Generalised advantage estimation, over steps and over decisions that hold for several steps."""

from __future__ import annotations

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


def chunk_advantages(
    reward: Tensor,
    value: Tensor,
    bootstrap: Tensor,
    last_value: Tensor,
    done: Tensor,
    decides: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Return advantages (T, B) of decisions that hold for several steps, 0 where none is made.

    A decision at t that holds for n steps earns sum_k<n gamma^k r_t+k, and what follows it counts gamma^n,
    where the episode's end cuts both off: n steps are one of a semi-Markov process. From there on these are
    `decision_advantages`; with a decision in every step, `generalised_advantages`.

    Args:
        reward, value, done, gamma, lam: as there; only the values of decisions count.
        bootstrap: (T, B) value of the final observation where the episode timed out, 0 elsewhere.
        last_value: (B,) of the observations after the last step, where all decide anew.
        decides: (T, B) bool, a decision is made; true where an episode begins.
    """
    earned, discount, next_value = (torch.zeros_like(reward) for _ in range(3))  # by each step's decision
    since = torch.zeros_like(last_value)  # earned from the next step until the next decision
    fading = torch.ones_like(last_value)  # discount of the next decision's value, as seen from the next step
    following = last_value
    for t in reversed(range(len(reward))):
        earned[t] = reward[t] + gamma * torch.where(done[t], bootstrap[t], since)
        discount[t] = gamma * fading.masked_fill(done[t], 0.0)
        next_value[t] = following
        following = torch.where(decides[t], value[t], following)
        since = earned[t].masked_fill(decides[t], 0.0)
        fading = discount[t].masked_fill(decides[t], 1.0)
    env = decides.nonzero()[:, 1]  # step after step
    advantage = torch.zeros_like(reward)
    advantage[decides] = decision_advantages(
        env,
        earned[decides],
        discount[decides],
        value[decides],
        next_value[decides],
        torch.zeros_like(env, dtype=torch.bool),
        lam,
    )
    return advantage
