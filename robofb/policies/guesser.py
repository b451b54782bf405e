"""Tell from what a policy sees what only the simulator knows, such as where the parts are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from robofb.errors import UserError
from robofb.policies.elements import seen_elements
from robofb.types import EnvSpec, Obs

WIDTH = 128


class Guesser(nn.Module):
    """Guess normalised elements of flat observations from a policy's conditioning.

    In training it is told the truth; when the policy acts nothing needs to.

    Args:
        spec: of the policy.
        flat_keys: its flat observations.
        cond_dim: C.
        elements: beginnings of the elements' names, by key of a flat observation that the policy has; where
            None, all elements that it does not see.
        shown: beginnings of the names of those that it sees, by key; all are where a key is missing.

    Attributes:
        keys: of the observations.
        num_guessed: G.

    Raises:
        UserError: the policy has no such observation, or it no such elements.
    """

    def __init__(
        self,
        spec: EnvSpec,
        flat_keys: Sequence[str],
        cond_dim: int,
        elements: Mapping[str, Sequence[str] | None],
        shown: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__()
        wanted = {
            key: _hidden(spec, key, shown or {}) if beginnings is None else beginnings
            for key, beginnings in elements.items()
        }
        self.keys = tuple(key for key in flat_keys if key in wanted)
        taken = dict(zip(flat_keys, seen_elements(spec, flat_keys, wanted, "guess"), strict=True))
        parts = [taken[key] for key in self.keys]
        self.parts = nn.ModuleList(parts)
        self.num_guessed = sum(part.num_elements for part in parts)
        layers = [nn.Linear(cond_dim, WIDTH), nn.ReLU(), nn.Linear(WIDTH, self.num_guessed)]
        self.network = nn.Sequential(*layers)

    def forward(self, cond: Tensor) -> Tensor:
        """Return guesses (B, G) of conditionings (B, C)."""
        guessed: Tensor = self.network(cond)
        return guessed

    def truth(self, obs: Obs) -> Tensor:
        """Return what there is to guess (B, G): the newest of normalised histories (B, To, D) by key."""
        return torch.cat([part(obs[key][:, -1]) for key, part in zip(self.keys, self.parts, strict=True)], -1)


def _hidden(spec: EnvSpec, key: str, shown: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the names of the elements that a policy does not see.

    Raises:
        UserError: it sees them all, or they have no names.
    """
    names = spec.obs[key].names if key in spec.obs else ()
    hidden = [name for name in names if key in shown and not name.startswith(tuple(shown[key]))]
    if key in spec.obs and not hidden:
        raise UserError(f"guess.{key}: the policy sees every named element of it; set guess=null")
    return hidden
