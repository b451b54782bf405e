"""Networks of every pair of two sets of inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_AT_ONCE = 2**21  # numbers of a hidden layer at a time: more leave the cache, and take twice as long


class PairwiseMlp(nn.Module):
    """Linear-ReLU-...-Linear of [z_l, x_t] for all pairs (l, t), without ever putting a pair together.

    The first layer is a sum of a part for z and one for x, each computed once.

    Args:
        z_dim, x_dim: sizes of the inputs.
        hidden: sizes of the hidden layers, one at least.
        out_dim: of the outputs.
        generator: draws the initial weights, uniform in +-1/sqrt(inputs); the global one where None.
    """

    def __init__(
        self,
        z_dim: int,
        x_dim: int,
        hidden: Sequence[int],
        out_dim: int,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.of_z = nn.Linear(z_dim, hidden[0])
        self.of_x = nn.Linear(x_dim, hidden[0], bias=False)
        sizes = [*hidden, out_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        with torch.no_grad():
            for linear in (self.of_z, self.of_x, *self.layers):
                inputs = z_dim + x_dim if linear in (self.of_z, self.of_x) else linear.in_features
                for weights in linear.parameters():
                    weights.uniform_(-1 / math.sqrt(inputs), 1 / math.sqrt(inputs), generator=generator)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """Return outputs (M, L, T, out_dim) of z (M, L, z_dim) and x (M, T, x_dim)."""
        pairs_of_one = z.shape[1] * x.shape[1] * self.of_z.out_features
        rows = max(1, _AT_ONCE // max(1, pairs_of_one))
        parts = zip(z.split(rows), x.split(rows), strict=True)
        return torch.cat([self._outputs(*part) for part in parts])

    def _outputs(self, z: Tensor, x: Tensor) -> Tensor:
        out = self.of_z(z)[:, :, None] + self.of_x(x)[:, None]
        for layer in self.layers:
            out = layer(F.relu(out, inplace=True))
        return out
