"""Several critics of the same inputs, computed together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robofb.nets.stacked import StackedMlp


class QEnsemble(StackedMlp):
    """K critics of observation and action.

    Args:
        obs_dim, action_dim: sizes of the inputs.
        hidden: sizes of the hidden layers.
        num_members: K.
        layer_norm, generator: see `StackedMlp`.
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
        sizes = [obs_dim + action_dim, *hidden, 1]
        super().__init__(sizes, num_members, layer_norm=layer_norm, generator=generator)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:  # type: ignore[override]
        """Return values (K, B) of obs (B, obs_dim) and actions (B, action_dim)."""
        return super().forward(torch.cat([obs, action], dim=-1))[..., 0]
