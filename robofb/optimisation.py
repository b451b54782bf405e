"""What every trainer needs beside its optimiser: learning-rate schedule and the error of a NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch


class NonFiniteError(Exception):
    """A loss, gradient or weight became NaN or infinite.

    Attributes:
        state: what went in (such as the minibatch) and the learner's state: tensors and plain values.
    """

    def __init__(self, what: str, state: dict[str, Any]) -> None:
        super().__init__(f"{what} is not finite")
        self.state = state


def learning_rate_factor(iteration: int, *, warmup: int, total: int | None, end: float = 0.0) -> float:
    """Return the factor on the learning rates: linear over `warmup`, then a cosine to `end` at `total`.

    Without `total` it stays at 1 after the warm-up.
    """
    if iteration < warmup:
        return (iteration + 1) / warmup
    if total is None:
        return 1.0
    progress = min(1.0, (iteration - warmup) / max(1, total - warmup))
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * progress))


def restore_optimizers(optimizers: Mapping[str, torch.optim.Optimizer], state: Mapping[str, Any]) -> None:
    """Load what the optimisers' `state_dict`s gave, by name, but keep the learning rates that they have now.

    A run may be resumed with others.
    """
    for name, optimizer in optimizers.items():
        rates = [group["lr"] for group in optimizer.param_groups]
        optimizer.load_state_dict(state[name])
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
