"""The elements of a flat observation that a policy sees."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robofb.errors import UserError
from robofb.types import ArraySpec


class SeenElements(nn.Module):
    """Take the elements whose names begin with given words, or all of them.

    Args:
        array: a flat observation, (D,).
        key: its name, for messages.
        beginnings: of the names of the elements that are seen; all are where None.

    Attributes:
        num_elements: that are seen.

    Raises:
        UserError: no name begins so, or there are no beginnings.
    """

    def __init__(self, array: ArraySpec, key: str, beginnings: Sequence[str] | None) -> None:
        super().__init__()
        self.whole = beginnings is None
        self.num_elements = array.shape[0]
        if beginnings is None:
            return
        for beginning in beginnings:
            if not any(name.startswith(beginning) for name in array.names):
                named = ", ".join(array.names) or "no names"
                raise UserError(f"elements.{key}: no element begins with '{beginning}'; there are: {named}")
        seen = [at for at, name in enumerate(array.names) if name.startswith(tuple(beginnings))]
        if not seen:
            raise UserError(f"elements.{key} is empty; leave the key out of obs_keys instead")
        self.num_elements = len(seen)
        self.register_buffer("seen", torch.tensor(seen), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., num_elements) of x (..., D)."""
        return x if self.whole else x[..., self.get_buffer("seen")]
