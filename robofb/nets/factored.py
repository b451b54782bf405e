"""Networks of every pair of two sets of inputs whose parts meet in a product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class FactoredMlp(nn.Module):
    """a(z_l) . f(x_t) / sqrt(K) + b(x_t) for all pairs (l, t): K features of x, weighed as z says.

    What z says of one x need not pass through the units that say it of another, so that many places are
    learnt side by side; and a pair costs K products, however deep the parts are. a is a network and a layer
    without hidden ones together, which learns first; f and b are one network.

    Args:
        z_dim, x_dim: sizes of the inputs.
        hidden: sizes of the hidden layers of either part, one at least.
        features: K.
    """

    def __init__(self, z_dim: int, x_dim: int, hidden: Sequence[int], features: int = 64) -> None:
        super().__init__()
        self.features = features
        self.of_z = _mlp([z_dim, *hidden, features], nn.ReLU)
        self.straight = nn.Linear(z_dim, features)
        self.of_x = _mlp([x_dim, *hidden, features + 1], nn.SiLU)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """Return outputs (M, L, T) of z (M, L, z_dim) and x (M, T, x_dim)."""
        weights = (self.of_z(z) + self.straight(z)) / math.sqrt(self.features)
        features, alone = self.of_x(x).split([self.features, 1], -1)
        return torch.baddbmm(alone.transpose(1, 2), weights, features.transpose(1, 2))


def _mlp(sizes: Sequence[int], kind: type[nn.Module]) -> nn.Sequential:
    """Return Linear-kind-...-Linear."""
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        layers += [nn.Linear(size_in, size_out), kind()]
    return nn.Sequential(*layers[:-1])
