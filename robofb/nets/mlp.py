"""A residual MLP that denoises flattened chunks: the denoiser for CPUs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robofb.nets.embedding import StepEmbedding


class MlpBlock(nn.Module):
    """h + W2 mish(W1 (scale * norm(h) + shift)): a residual block whose input FiLM modulates."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.expand = nn.Linear(width, width)
        self.contract = nn.Linear(width, width)

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Return (B, W) of x, scale, shift (B, W)."""
        hidden = torch.addcmul(shift, scale, self.norm(x))
        return x + self.contract(F.mish(self.expand(hidden)))


class MlpDenoiser(nn.Module):
    """Denoise chunks (B, H, A) as flat vectors, conditioned by FiLM on observation and diffusion step.

    The context mish(f(step) + g(cond)) gives scale and shift of every block by one linear map (FiLM:
    Perez et al., arXiv 1709.07871). About 1.2 M parameters at the default size.

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
        width: int = 256,
        num_blocks: int = 4,
        step_dim: int = 64,
    ) -> None:
        super().__init__()
        self.step = nn.Sequential(StepEmbedding(step_dim), nn.Linear(step_dim, width), nn.Mish(), nn.Linear(width, width))
        self.cond = nn.Sequential(nn.Linear(cond_dim, width), nn.Mish(), nn.Linear(width, width))
        self.film = nn.Linear(width, 2 * num_blocks * width)
        self.stem = nn.Linear(horizon * action_dim, width)
        self.blocks = nn.ModuleList(MlpBlock(width) for _ in range(num_blocks))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, horizon * action_dim))

    def forward(self, noisy: Tensor, step: Tensor, cond: Tensor) -> Tensor:
        """Return the prediction (B, H, A) for noisy chunks (B, H, A), steps (B,) int64, conditions (B, C)."""
        context = F.mish(self.step(step) + self.cond(cond))
        modulation = self.film(context).chunk(2 * len(self.blocks), dim=-1)  # scale, shift, scale, ...
        x = self.stem(noisy.flatten(1))
        for block, scale, shift in zip(self.blocks, modulation[::2], modulation[1::2], strict=True):
            x = block(x, 1 + scale, shift)
        return self.head(x).unflatten(1, noisy.shape[1:])
