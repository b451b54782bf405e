"""A teacher that takes the shortest way, of which its observation tells how long it is."""

from __future__ import annotations

import torch
from torch import Tensor

from robofb.types import PRIVILEGED, EnvSpec, Obs

SMOOTHING = 0.01
"""Probability that the answer spreads over all choices, so that no log-probability is -inf."""

_PREFIX = "steps_after_"


def steps_after_names(actions: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names under which `PRIVILEGED` holds how many steps each action leaves to the goal."""
    return tuple(f"{_PREFIX}{action}" for action in actions)


class ShortestPathTeacher:
    """Answer with the actions that leave the fewest steps to the goal; satisfies `interfaces.Teacher`.

    Ties share 1 - SMOOTHING equally; SMOOTHING is spread over all.

    Args:
        spec: of an env whose `PRIVILEGED` has the names of `steps_after_names` in the order of the choices.
    """

    def __init__(self, spec: EnvSpec) -> None:
        names = spec.obs[PRIVILEGED].names
        self._columns = [index for index, name in enumerate(names) if name.startswith(_PREFIX)]

    def answer(self, obs: Obs) -> Tensor:
        """Return log-probabilities (B, n) of the n choices."""
        steps = obs[PRIVILEGED][:, self._columns]
        best = (steps == steps.amin(-1, keepdim=True)).to(steps.dtype)
        share = best / best.sum(-1, keepdim=True)
        return torch.log((1.0 - SMOOTHING) * share + SMOOTHING / len(self._columns))
