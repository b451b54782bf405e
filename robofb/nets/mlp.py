"""A residual MLP that denoises flattened chunks: the denoiser for CPUs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robofb.nets.embedding import StepEmbedding


class FilmBlock(nn.Module):
    """h + W2 silu((1 + scale) * W1 norm(h) + shift), with scale and shift from the context (FiLM)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, width)
        self.film = nn.Linear(width, 2 * width)
        self.contract = nn.Linear(width, width)
        nn.init.zeros_(self.contract.weight)
        nn.init.zeros_(self.contract.bias)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Return (B, W) of x and context, both (B, W)."""
        scale, shift = self.film(context).chunk(2, dim=-1)
        hidden = torch.addcmul(shift, 1 + scale, self.expand(self.norm(x)))
        return x + self.contract(F.silu(hidden))


class MlpDenoiser(nn.Module):
    """Denoise chunks (B, H, A) as flat vectors, conditioned by FiLM on observation and diffusion step.

    The context silu(f(step) + g(cond)) modulates every block (FiLM: Perez et al., arXiv 1709.07871), behind
    its first linear map. About 2.2 M parameters at the default size.

    Args:
        action_dim: A.
        horizon: H.
        cond_dim: C.
        width: W, of every hidden layer.
        num_blocks: residual blocks.
        step_dim: size of the embedding of the diffusion step.
    """

    def __init__(
        self,
        action_dim: int,
        horizon: int,
        cond_dim: int,
        *,
        width: int = 384,
        num_blocks: int = 3,
        step_dim: int = 64,
    ) -> None:
        super().__init__()
        self.step = nn.Sequential(
            StepEmbedding(step_dim), nn.Linear(step_dim, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.cond = nn.Sequential(nn.Linear(cond_dim, width), nn.SiLU(), nn.Linear(width, width))
        self.stem = nn.Linear(horizon * action_dim, width)
        self.blocks = nn.ModuleList(FilmBlock(width) for _ in range(num_blocks))
        self.head = nn.Linear(width, horizon * action_dim)

    def forward(self, noisy: Tensor, step: Tensor, cond: Tensor) -> Tensor:
        """Return the prediction (B, H, A) for noisy chunks (B, H, A), steps (B,) int64, conditions (B, C)."""
        context = F.silu(self.step(step) + self.cond(cond))
        x = self.stem(noisy.flatten(1))
        for block in self.blocks:
            x = block(x, context)
        return self.head(x).unflatten(1, noisy.shape[1:])
