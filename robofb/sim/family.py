"""What families of tasks share, whatever simulates them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Self

from torch import Tensor

from robofb.rng import EpisodeRng
from robofb.types import ArraySpec


class Family(ABC):
    """Tasks alike but for parameters; see `meta_interfaces.MetaTask`.

    Attributes:
        params: of which parameters there are.
        start_distribution: where episodes begin, in words.
        moves_alike: tasks differ in rewards alone.
        own_params: (B, P) of B envs, each of which keeps its own; None: every episode draws others.
    """

    params: ArraySpec
    start_distribution: str
    moves_alike: bool
    own_params: Tensor | None = None

    @abstractmethod
    def draw_params(self, rng: EpisodeRng) -> Tensor:
        """Return parameters (n, P) float32 drawn from `rng` (n rows)."""

    @abstractmethod
    def relabel(self, params: Tensor, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return what tasks `params` (..., P) pay for a step, (...)."""

    def fixed(self, params: Tensor) -> Self:
        """Return this family with env i held to the task of row i of `params` (B, P)."""
        one = copy.copy(self)
        one.own_params = params.float()
        return one
