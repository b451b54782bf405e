"""Chunks by regression: behaviour cloning with no noise, the "MLP, chunks" of ResiP (arXiv 2407.16677)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robofb.errors import UserError
from robofb.policies.chunk_policy import ChunkPolicy
from robofb.policies.schedule import checked_clip
from robofb.rng import EpisodeRng
from robofb.types import Batch, EnvSpec, Obs

ERRORS = {"l1": F.l1_loss, "l2": F.mse_loss}


class MlpChunkPolicy(ChunkPolicy):
    """Predict one chunk for one history: the median (L1) or mean (L2) of what was demonstrated there.

    It draws no random numbers. Where demonstrations go different ways, it goes between.

    Args:
        spec: what the environment shows and accepts.
        regressor: builds the network, conditions (B, C) -> (B, H, A), from (action_dim, horizon, cond_dim).
        error: "l1" or "l2", what training makes small.
        clip: largest absolute normalised action when acting; 1 keeps chunks within the range of the data.
        seen: what it sees and how long its chunks are: see `ChunkPolicy`.

    Raises:
        UserError: an argument out of range, or an observation that is missing or cannot be seen.
    """

    def __init__(
        self,
        spec: EnvSpec,
        regressor: Callable[..., nn.Module],
        *,
        error: str = "l1",
        clip: float = 1.0,
        **seen: Any,
    ) -> None:
        super().__init__(spec, **seen)
        if error not in ERRORS:
            raise UserError(f"error '{error}' is unknown; valid: {', '.join(ERRORS)}")
        self.error, self.clip = ERRORS[error], checked_clip(clip)
        self.regressor = regressor(action_dim=self.action_dim, horizon=self.horizon, cond_dim=self.cond_dim)

    @property
    def network(self) -> nn.Module:
        """The regressor."""
        return self.regressor

    def predict(self, obs: Obs) -> Tensor:
        """Return normalised chunks (B, H, A) for histories (B, To, ...), not clipped, with gradients."""
        return self.regressor(self.encode(obs)).to(torch.float32)

    def act(self, obs: Obs, rng: EpisodeRng) -> Tensor:
        """Return chunks (B, H, A) in environment units for histories (B, To, ...); draws nothing."""
        with torch.inference_mode():
            chunk = self.normalizer.inverse(self.predict(obs).clamp(-self.clip, self.clip), "action")
        return chunk.clone()  # an ordinary tensor, of which autograd may keep a reference

    def loss(self, batch: Batch, rng: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted mean error of the chunks; draws nothing.

        Args:
            batch: in environment units.
            rng: not drawn from.
        """
        target = self.normalizer(batch.action, "action")
        return self.weigh(self.error(self.predict(batch.obs), target, reduction="none"), batch)
