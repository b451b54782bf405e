"""What PPO minimises and what it watches, one function each."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robofb.ranks import ALONE, Ranks


def clipped_surrogate_loss(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Return minus the mean of min(r A, clip(r, 1 - clip, 1 + clip) A), r = new / old probability (eq. 7)."""
    ratio = torch.exp(log_prob - old_log_prob)
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage).mean()


def value_loss(value: Tensor, returns: Tensor) -> Tensor:
    """Return half the mean squared error of the critic."""
    return 0.5 * ((value - returns) ** 2).mean()


def magnitude_penalty(mean_action: Tensor, l1: float, l2: float) -> Tensor:
    """Return l1 * mean |a| + l2 * mean a^2 of mean actions (N, A)."""
    return l1 * mean_action.abs().mean() + l2 * (mean_action**2).mean()


def normalised(advantage: Tensor, ranks: Ranks = ALONE, weight: float = 1.0) -> Tensor:
    """Return advantages (N,) with zero mean and unit standard deviation over all ranks' rows.

    Args:
        ranks: who normalise together.
        weight: N over the mean number of rows of a rank.
    """
    wide = advantage.double()
    mean = weight * wide.mean(0, keepdim=True)
    ranks.average_([mean])
    variance = weight * ((wide - mean) ** 2).mean(0, keepdim=True)
    ranks.average_([variance])
    return ((wide - mean) / (variance.sqrt() + 1e-8)).to(advantage)


def explained_variance(value: Tensor, returns: Tensor) -> float:
    """Return 1 - Var[returns - value] / Var[returns]: 1 is perfect, 0 as good as a constant guess.

    It is nan where the returns do not vary.
    """
    variance = returns.var(unbiased=False)
    return float(1 - (returns - value).var(unbiased=False) / variance) if variance > 0 else math.nan


def gaussian_kl(old_mean: Tensor, old_log_std: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Return KL(old || new) (B,) in nats of two diagonal Gaussians; means (B, A), log-stds (A,) or (B, A)."""
    variance_ratio = torch.exp(2 * (old_log_std - log_std))
    z = (old_mean - mean) * torch.exp(-log_std)
    return (log_std - old_log_std + 0.5 * (variance_ratio + z**2 - 1)).sum(-1)
