"""What every trainer needs beside its optimiser: schedule, resumed rates, means of metrics, NaN errors."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class NonFiniteError(Exception):
    """A loss, gradient or weight became NaN or infinite.

    Attributes:
        state: what went in (such as the minibatch) and the learner's state: tensors and plain values.
    """

    def __init__(self, what: str, state: dict[str, Any]) -> None:
        super().__init__(f"{what} is not finite")
        self.state = state


def finite_means(
    history: Sequence[Mapping[str, Tensor]], cause: Callable[[], dict[str, Any]]
) -> dict[str, float]:
    """Return the mean of each metric over some updates.

    Args:
        history: metrics () of each update.
        cause: returns what shall be kept where one of them is not finite.

    Raises:
        NonFiniteError: names the first that is not.
    """
    means = {name: float(torch.stack([one[name] for one in history]).mean()) for name in history[0]}
    for name, value in means.items():
        if not math.isfinite(value):
            raise NonFiniteError(name, {"what": name, **cause()})
    return means


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


class Adams:
    """Optimisers by name, one for each part that has a loss of its own.

    Args:
        parts: what each of them changes.
        lr: learning rate of all.
    """

    def __init__(self, parts: Mapping[str, Iterable[Tensor]], *, lr: float) -> None:
        self._each = {name: torch.optim.Adam(weights, lr=lr, fused=True) for name, weights in parts.items()}

    def descend(self, name: str, loss: Tensor, grad_clip: float | None = None) -> Tensor | None:
        """Take a step against a loss (); return the gradient's norm (), before it was clipped, if it is.

        Args:
            grad_clip: largest norm of it.
        """
        optimizer = self._each[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = None
        if grad_clip is not None:
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            norm = torch.nn.utils.clip_grad_norm_(weights, grad_clip)
        optimizer.step()
        return norm

    def set_rate(self, lr: float) -> None:
        """Go on at a learning rate."""
        for optimizer in self._each.values():
            for group in optimizer.param_groups:
                group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """Return what they remember."""
        return {name: copy.deepcopy(optimizer.state_dict()) for name, optimizer in self._each.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, but keep the present learning rates."""
        restore_optimizers(self._each, state)
