"""Several critics of the same inputs, computed together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class QEnsemble(nn.Module):
    """K networks Linear-LayerNorm-ReLU-...-Linear of observation and action, each with its own weights.

    Args:
        obs_dim, action_dim: sizes of the inputs.
        hidden: sizes of the hidden layers.
        num_members: K.
        layer_norm: normalise every hidden layer, which keeps values from exploding away from the data.
        generator: draws the initial weights; the global one where None.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        *,
        hidden: Sequence[int] = (256, 256),
        num_members: int = 2,
        layer_norm: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.layer_norm = layer_norm
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for size_in, size_out in pairwise([obs_dim + action_dim, *hidden, 1]):
            reach = 1 / math.sqrt(size_in)
            weight = torch.empty(num_members, size_in, size_out)
            bias = torch.empty(num_members, 1, size_out)
            self.weights.append(nn.Parameter(weight.uniform_(-reach, reach, generator=generator)))
            self.biases.append(nn.Parameter(bias.uniform_(-reach, reach, generator=generator)))

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return values (K, B) of obs (B, obs_dim) and actions (B, action_dim)."""
        inputs = torch.cat([obs, action], dim=-1)
        x = inputs.expand(len(self.weights[0]), *inputs.shape)  # (K, B, inputs)
        last = len(self.weights) - 1
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            x = torch.baddbmm(bias, x, weight)
            if index < last:
                x = F.relu(F.layer_norm(x, x.shape[-1:]) if self.layer_norm else x)
        return x[..., 0]
