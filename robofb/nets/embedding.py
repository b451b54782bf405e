"""Embed diffusion steps as sines and cosines."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class StepEmbedding(nn.Module):
    """Map diffusion steps k to (sin(k w_0), ..., cos(k w_0), ...), w_i falling from 1 to 1e-4.

    Vaswani et al., arXiv 1706.03762, section 3.5, with the diffusion step in place of the position.

    Args:
        dim: even size of the embedding, at least 4.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        half = dim // 2
        frequency = torch.exp(torch.arange(half, dtype=torch.float64) * (-math.log(10000.0) / (half - 1)))
        self.register_buffer("frequency", frequency.to(torch.float32), persistent=False)

    def forward(self, step: Tensor) -> Tensor:
        """Return embeddings (..., dim) of steps (...)."""
        phase = step[..., None] * self.get_buffer("frequency")
        return torch.cat([phase.sin(), phase.cos()], dim=-1)
