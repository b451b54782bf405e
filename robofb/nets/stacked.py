"""Several networks of one shape, each with its own weights, computed together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StackedMlp(nn.Module):
    """K networks Linear-LayerNorm-ReLU-...-Linear.

    Weights and biases start uniform in +-1/sqrt(inputs), as torch's own Linear.

    Args:
        sizes: of the input, the hidden layers and the output.
        num_members: K.
        layer_norm: normalise every hidden layer, which keeps values from exploding away from the data.
        generator: draws the initial weights; the global one where None.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        num_members: int,
        *,
        layer_norm: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.layer_norm, self.num_members = layer_norm, num_members
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for size_in, size_out in pairwise(sizes):
            reach = 1 / math.sqrt(size_in)
            weight = torch.empty(num_members, size_in, size_out)
            bias = torch.empty(num_members, 1, size_out)
            self.weights.append(nn.Parameter(weight.uniform_(-reach, reach, generator=generator)))
            self.biases.append(nn.Parameter(bias.uniform_(-reach, reach, generator=generator)))

    def forward(self, x: Tensor, more: Tensor | None = None) -> Tensor:
        """Return outputs (K, B, out) of inputs (B, in), the same for all members, or (K, B, in).

        The last of the inputs may come as `more`, of either shape: nothing is copied, and where only these
        carry gradients, only theirs are computed.
        """
        last = len(self.weights) - 1
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            size = x.shape[-1]
            x = torch.baddbmm(bias, self._for_all(x), weight[:, :size])
            if index == 0 and more is not None:
                x = torch.baddbmm(x, self._for_all(more), weight[:, size:])
            if index < last:
                x = F.relu(F.layer_norm(x, x.shape[-1:]) if self.layer_norm else x, inplace=True)
        return x

    def _for_all(self, x: Tensor) -> Tensor:
        return x.expand(self.num_members, *x.shape[-2:])
