"""The transformer of diffusion policy: attention over the actions of a chunk."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robofb.errors import UserError
from robofb.nets.denoiser import Context, Denoiser
from robofb.nets.embedding import StepEmbedding


class TransformerBlock(nn.Module):
    """Attend to the chunk, then to the memory, then a two-layer MLP; each behind a norm, each added.

    Args:
        width: W, of a token.
        num_heads: the width is split among.
        causal: an action attends to itself and those before it alone.
    """

    def __init__(self, width: int, num_heads: int, causal: bool) -> None:
        super().__init__()
        self.num_heads, self.causal = num_heads, causal
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.memory_query = nn.Linear(width, width)
        self.memory_key_value = nn.Linear(width, 2 * width)
        self.remembered = nn.Linear(width, width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Return (B, H, W) of chunks x (B, H, W) and their memory (B, 2, heads, M, W / heads)."""
        of_chunk, of_memory, of_mlp = self.norms
        query, key, value = self._heads(self.query_key_value(of_chunk(x)), 3).unbind(1)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        x = x + self.attended(_join(attended))
        query, (key, value) = self._heads(self.memory_query(of_memory(x)), 1)[:, 0], memory.unbind(1)
        x = x + self.remembered(_join(F.scaled_dot_product_attention(query, key, value)))
        return x + self.contract(F.gelu(self.expand(of_mlp(x))))

    def remember(self, tokens: Tensor) -> Tensor:
        """Return keys and values (..., 2, heads, M, W / heads) of memory tokens (..., M, W)."""
        return self._heads(self.memory_key_value(tokens), 2)

    def _heads(self, x: Tensor, parts: int) -> Tensor:
        """Split x (..., T, parts W) into (..., parts, heads, T, W / heads)."""
        split = x.unflatten(-1, (parts, self.num_heads, -1))  # (..., T, parts, heads, W / heads)
        return split.movedim(-4, -2)


def _join(x: Tensor) -> Tensor:
    """Put heads (B, heads, T, W / heads) together, (B, T, W)."""
    return x.transpose(1, 2).flatten(2)


class Transformer1D(Denoiser):
    """Denoise chunks by a transformer over their actions, which attends to observation and step as tokens.

    The transformer of Chi et al., arXiv 2303.04137, in the size of Ankile et al., arXiv 2407.16677: 8 layers,
    4 heads, width 256; 9.5 M parameters. The noise level is one token of memory; a linear map of all
    conditioning values gives the others. Keys and values of memory do not depend on the chunk, so they are
    the context. Its papers use weight decay 1e-3, which is for matrices alone (see `undecayed`).

    Args:
        action_dim: A.
        horizon: H.
        cond_dim: C.
        width: W, of a token.
        num_layers: blocks.
        num_heads: of each attention.
        num_cond_tokens: tokens that the conditioning values become, such as one for each observation.
        causal: an action depends on itself and earlier ones of the noisy chunk alone.

    Raises:
        UserError: a width that the heads do not divide, or that is odd; fewer than one layer, head or token.
    """

    def __init__(
        self,
        action_dim: int,
        horizon: int,
        cond_dim: int,
        *,
        width: int = 256,
        num_layers: int = 8,
        num_heads: int = 4,
        num_cond_tokens: int = 1,
        causal: bool = True,
    ) -> None:
        super().__init__()
        if min(num_layers, num_heads, num_cond_tokens) < 1 or width < 4 or width % (2 * num_heads):
            raise UserError(
                f"width={width}, num_layers={num_layers}, num_heads={num_heads}, "
                f"num_cond_tokens={num_cond_tokens}: each at least 1, width a multiple of 2 * num_heads"
            )
        self.step = nn.Sequential(
            StepEmbedding(width), nn.Linear(width, 4 * width), nn.Mish(), nn.Linear(4 * width, width)
        )
        self.cond = nn.Sequential(
            nn.Linear(cond_dim, num_cond_tokens * width),
            nn.Unflatten(-1, (num_cond_tokens, width)),
            nn.Linear(width, 4 * width),
            nn.Mish(),
            nn.Linear(4 * width, width),
        )
        self.memory_norm = nn.LayerNorm(width)
        self.stem = nn.Linear(action_dim, width)
        self.position = nn.Parameter(torch.empty(horizon, width))
        self.blocks = nn.ModuleList(TransformerBlock(width, num_heads, causal) for _ in range(num_layers))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, action_dim))
        self._initialise()

    @property
    def undecayed(self) -> list[nn.Parameter]:
        """Biases, norms and positions."""
        return [parameter for parameter in self.parameters() if parameter.dim() < 2] + [self.position]

    def context(self, step_features: Tensor, cond_features: Tensor) -> Context:
        """Return keys and values (..., 2, heads, M, W / heads) of one block's memory after the other's."""
        pairs = torch.broadcast_shapes(step_features.shape[:-1], cond_features.shape[:-2])
        step = self.memory_norm(step_features)[..., None, :]  # (..., 1, W)
        seen = self.memory_norm(cond_features)  # (..., M - 1, W)
        return tuple(
            torch.cat([made.expand(*pairs, *made.shape[-4:]) for made in parts], dim=-2)
            for parts in ((block.remember(step), block.remember(seen)) for block in self._layers)
        )

    def denoise(self, noisy: Tensor, context: Context) -> Tensor:
        """Return the prediction (B, H, A) for noisy chunks (B, H, A) and their context (B, ...)."""
        x = self.stem(noisy) + self.position
        for block, memory in zip(self._layers, context, strict=True):
            x = block(x, memory)
        return self.head(x)

    @property
    def _layers(self) -> list[TransformerBlock]:
        return [block for block in self.blocks if isinstance(block, TransformerBlock)]

    def _initialise(self) -> None:
        """Draw matrices and positions with a deviation of 0.02 at width 256; biases start at zero.

        The deviation falls with the root of the width. With 0.02 at every width, as is usual, networks of
        width 16 to 64 were left with half as much again of the action error after 250 steps.
        """
        std = 0.02 * math.sqrt(256 / self.position.shape[1])
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=std)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.position, std=std)
