"""The elements of a flat observation that a policy sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from robofb.errors import UserError
from robofb.types import ArraySpec, EnvSpec


class SeenElements(nn.Module):
    """Take the elements whose names begin with given words, or all of them.

    Args:
        array: a flat observation, (D,).
        key: its name, for messages, with that of the setting: elements.state.
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
        if isinstance(beginnings, str):
            raise UserError(f"{key}={beginnings}: needs a list of beginnings: [{beginnings}]")
        for beginning in map(str, beginnings):
            if not any(name.startswith(beginning) for name in array.names):
                named = ", ".join(array.names) or "no names"
                raise UserError(f"{key}: no element begins with '{beginning}'; there are: {named}")
        seen = [at for at, name in enumerate(array.names) if name.startswith(tuple(map(str, beginnings)))]
        if not seen:
            raise UserError(f"{key} is empty: name at least one beginning")
        self.num_elements = len(seen)
        self.register_buffer("seen", torch.tensor(seen), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., num_elements) of x (..., D)."""
        return x if self.whole else x[..., self.get_buffer("seen")]


def seen_elements(
    spec: EnvSpec, flat_keys: Sequence[str], elements: Mapping[str, Sequence[str]], setting: str
) -> list[SeenElements]:
    """Return what takes the named elements of each of the observations `flat_keys`.

    Args:
        elements: beginnings of names by key; a key that is not said is taken whole.
        setting: what names `elements` in messages.

    Raises:
        UserError: `elements` names another key, or see `SeenElements`.
    """
    for key in elements:
        if key not in flat_keys:
            known = ", ".join(flat_keys) or "none"
            raise UserError(f"{setting}.{key}: not among the flat obs_keys ({known})")
    return [SeenElements(spec.obs[key], f"{setting}.{key}", elements.get(key)) for key in flat_keys]
