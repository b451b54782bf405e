"""Gaussians squeezed into a box by tanh, and the network that gives them: soft actor-critic's actor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robofb.policies.gaussian import Gaussian, relu_mlp

MIN_LOG_STD, MAX_LOG_STD = -5.0, 1.0
_EDGE = 1e-4  # share of the box that counts as its edge


class SquashedGaussian(NamedTuple):
    """The distribution of bound * tanh(u) for u normal with independent dimensions.

    Attributes:
        mean: (B, A) of u.
        log_std: (B, A) of u.
        bound: half-width of the box.
    """

    mean: Tensor
    log_std: Tensor
    bound: float

    @classmethod
    def of(cls, raw: Tensor, bound: float) -> SquashedGaussian:
        """Return what the last layer's outputs (..., 2 A) mean; zeros are a wide one around the middle."""
        mean, spread = raw.chunk(2, dim=-1)
        share = torch.sigmoid(spread + 2.0)  # of the range of the logarithm
        return cls(mean, MIN_LOG_STD + (MAX_LOG_STD - MIN_LOG_STD) * share, bound)

    @property
    def mode(self) -> Tensor:
        """(B, A), bound * tanh(mean): the deterministic action."""
        return self.bound * torch.tanh(self.mean)

    def sample(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return actions (B, A) made of unit normal `noise` (B, A), differentiably, and log-densities (B,).

        log p(a) = log N(u) - sum log(bound (1 - tanh^2 u)) (Haarnoja et al., arXiv 1812.05905, eq. 26), where
        1 - tanh^2 u = (2 / (e^u + e^-u))^2 is computed without cancellation.
        """
        u = self.mean + self.log_std.exp() * noise
        return self.bound * torch.tanh(u), self._log_prob_of(u)

    def log_prob(self, action: Tensor) -> Tensor:
        """Return the log-densities (B,) of actions (B, A), those on the box's edge as a little inside it."""
        return self._log_prob_of(torch.atanh((action / self.bound).clamp(-1 + _EDGE, 1 - _EDGE)))

    def _log_prob_of(self, u: Tensor) -> Tensor:
        slope = 2 * (math.log(2) - u - F.softplus(-2 * u)) + math.log(self.bound)
        return Gaussian(self.mean, self.log_std).log_prob(u) - slope.sum(-1)


class SquashedActor(nn.Module):
    """Give a squashed Gaussian of the observation, near the middle of the box and wide at the start.

    Args:
        obs_dim: size of the observation.
        action_dim: A.
        hidden: sizes of the hidden layers.
        bound: half-width of the box of actions.
        generator: draws the initial weights; the global one where None.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        *,
        hidden: Sequence[int] = (256, 256),
        bound: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.action_dim, self.bound = action_dim, bound
        self.net = relu_mlp(obs_dim, hidden, 2 * action_dim, out_bias=True, generator=generator)
        with torch.no_grad():
            self.net[-1].weight.mul_(0.01)  # type: ignore[operator]

    def forward(self, obs: Tensor) -> SquashedGaussian:
        """Return the distribution of actions for obs (B, obs_dim)."""
        return SquashedGaussian.of(self.net(obs), self.bound)
