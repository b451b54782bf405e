"""Diagonal Gaussians over actions, and the small network that gives their mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Gaussian(NamedTuple):
    """A normal distribution with independent dimensions.

    Attributes:
        mean: (B, A).
        log_std: (A,) or (B, A), natural logarithm of the standard deviations.
    """

    mean: Tensor
    log_std: Tensor

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw (B, A), without gradient."""
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device)
        return (self.mean + self.log_std.exp() * noise).detach()

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density (B,) of `value` (B, A)."""
        z = (value - self.mean) * torch.exp(-self.log_std)
        return (-0.5 * z**2 - self.log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self) -> Tensor:
        """Return the differential entropy (B,) in nats."""
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).expand_as(self.mean).sum(-1)


def relu_mlp(
    in_dim: int, hidden: Sequence[int], out_dim: int, *, out_bias: bool, generator: torch.Generator | None
) -> nn.Sequential:
    """Build Linear-ReLU layers and a last Linear; weights orthogonal (gain sqrt 2), biases zero."""
    sizes = [in_dim, *hidden]
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        layers += [nn.Linear(size_in, size_out), nn.ReLU()]
    layers.append(nn.Linear(sizes[-1], out_dim, bias=out_bias))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight, gain=math.sqrt(2), generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


class GaussianActor(nn.Module):
    """Give a Gaussian whose mean is a ReLU network of the observation, exactly zero at the start.

    The last layer has no bias and zero weights; the standard deviation is one number a dimension, shared by
    all observations.

    Args:
        obs_dim: size of the observation.
        action_dim: A.
        hidden: sizes of the hidden layers.
        init_log_std: natural logarithm of the initial standard deviation.
        learn_std: train the standard deviation; else it stays fixed.
        generator: draws the initial weights; the global one where None.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        *,
        hidden: Sequence[int] = (256, 256),
        init_log_std: float = -1.0,
        learn_std: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.mean = relu_mlp(obs_dim, hidden, action_dim, out_bias=False, generator=generator)
        nn.init.zeros_(self.mean[-1].weight)  # type: ignore[arg-type]
        self.log_std = nn.Parameter(torch.full((action_dim,), float(init_log_std)), requires_grad=learn_std)

    def forward(self, obs: Tensor) -> Gaussian:
        """Return the action distribution for obs (B, obs_dim)."""
        return Gaussian(self.mean(obs), self.log_std)
