"""Residual MLPs on flattened chunks: the denoiser for CPUs, and a regressor."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robofb.nets.denoiser import Context, Denoiser
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

    def forward(self, x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
        """Return (B, W) of x, gain = 1 + scale, and shift, all (B, W)."""
        hidden = torch.addcmul(shift, gain, self.expand(self.norm(x)))
        return x + self.contract(F.silu(hidden))


class MlpDenoiser(Denoiser):
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

    @property
    def films(self) -> list[nn.Linear]:
        """The map to scale and shift of each block."""
        return [block.film for block in self.blocks if isinstance(block, FilmBlock)]

    def context(self, step_features: Tensor, cond_features: Tensor) -> Context:
        """Return gain and shift (..., W) of one block after the other."""
        hidden = F.silu(step_features + cond_features)
        modulations = [film(hidden).chunk(2, dim=-1) for film in self.films]
        return tuple(part for scale, shift in modulations for part in (1 + scale, shift))

    def denoise(self, noisy: Tensor, context: Context) -> Tensor:
        """Return the prediction (B, H, A) for noisy chunks (B, H, A) and their context (B, ...)."""
        x = self.stem(noisy.flatten(1))
        for block, gain, shift in zip(self.blocks, context[::2], context[1::2], strict=True):
            x = block(x, gain, shift)
        return self.head(x).unflatten(1, noisy.shape[1:])


class MlpBlock(nn.Module):
    """h + W2 silu(W1 norm(h)), which starts as h."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, width)
        self.contract = nn.Linear(width, width)
        nn.init.zeros_(self.contract.weight)
        nn.init.zeros_(self.contract.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, W) of x (B, W)."""
        return x + self.contract(F.silu(self.expand(self.norm(x))))


class MlpRegressor(nn.Module):
    """Predict chunks (B, H, A) from conditions (B, C). About 1.0 M parameters at the default size.

    Args:
        action_dim: A.
        horizon: H.
        cond_dim: C.
        width: W, of every hidden layer.
        num_blocks: residual blocks.
    """

    def __init__(
        self, action_dim: int, horizon: int, cond_dim: int, *, width: int = 384, num_blocks: int = 3
    ) -> None:
        super().__init__()
        self.chunk_shape = (horizon, action_dim)
        self.stem = nn.Linear(cond_dim, width)
        self.blocks = nn.Sequential(*(MlpBlock(width) for _ in range(num_blocks)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, horizon * action_dim))

    def forward(self, cond: Tensor) -> Tensor:
        """Return chunks (B, H, A) for conditions (B, C)."""
        return self.head(self.blocks(self.stem(cond))).unflatten(1, self.chunk_shape)
