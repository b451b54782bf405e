"""Exponential moving average of a model's weights."""

from __future__ import annotations

import copy
from typing import Any, Generic, TypeVar

import torch
from torch import nn

ModelT = TypeVar("ModelT", bound=nn.Module)


class Ema(Generic[ModelT]):
    """Follow a model's weights by an average that is steadier than they are.

    After update n (1, 2, ...) of the followed weights w: average <- d * average + (1 - d) * w with
    d = min(decay, n / (n + 9)), so that the first weights are soon forgotten. Buffers are copied.

    Args:
        model: whose present weights start the average.
        decay: d in the long run, in [0, 1).

    Attributes:
        model: a copy that holds the average; in evaluation mode, without gradients.
    """

    def __init__(self, model: ModelT, decay: float) -> None:
        self.model: ModelT = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.num_updates = 0

    @torch.no_grad()
    def update(self, model: ModelT) -> None:
        """Move the average towards the present weights of `model`."""
        self.num_updates += 1
        decay = min(self.decay, self.num_updates / (self.num_updates + 9))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1.0 - decay)
        for average, current in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(current)

    def state_dict(self) -> dict[str, Any]:
        """Return the average and how many updates made it."""
        return {"model": self.model.state_dict(), "num_updates": self.num_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.num_updates = state["num_updates"]
