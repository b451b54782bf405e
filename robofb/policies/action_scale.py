"""Between actions as environments take them and as networks give them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robofb.errors import UserError
from robofb.types import EnvSpec, num_choices


def action_bounds(spec: EnvSpec) -> Tensor:
    """Return the lowest and the highest of continuous actions (2, A) float32.

    Raises:
        UserError: they have no bounds.
    """
    low, high = spec.action.low, spec.action.high
    if low is None or high is None or any(not abs(x) < float("inf") for x in (*low, *high)):
        raise UserError(f"{spec.task} sets no bounds to its actions: a student needs them")
    return torch.tensor([low, high], dtype=torch.float32)


class ActionScale(nn.Module):
    """Map [-1, 1] to the bounds of continuous actions and back; choices stay as they are.

    It follows from the spec, so that checkpoints hold nothing of it.

    Args:
        spec: of the environment.

    Raises:
        UserError: continuous actions without bounds.
    """

    middle: Tensor
    radius: Tensor

    def __init__(self, spec: EnvSpec) -> None:
        super().__init__()
        self._is_choice = num_choices(spec.action) is not None
        if self._is_choice:
            return
        low, high = action_bounds(spec)
        self.register_buffer("middle", (low + high) / 2, persistent=False)
        self.register_buffer("radius", (high - low) / 2, persistent=False)

    def to_env(self, action: Tensor) -> Tensor:
        """Return actions (..., A) within [-1, 1], or choices, as the environment takes them."""
        return action if self._is_choice else self.middle + self.radius * action

    def from_env(self, action: Tensor) -> Tensor:
        """Return actions (..., A) in environment units as networks give them; the inverse of `to_env`."""
        return action if self._is_choice else (action - self.middle) / self.radius
