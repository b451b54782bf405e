"""Families of tasks in MuJoCo: alike but for parameters that each world's userdata holds."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor

from robofb.interfaces import Engine
from robofb.rng import EpisodeRng
from robofb.types import ArraySpec


class MetaSimTask(ABC):
    """What makes a `Task` a `MetaTask`: to be mixed in.

    Attributes:
        params: of which parameters there are; the scene's `nuserdata` has room for them.
        start_distribution, moves_alike: see `meta_interfaces.MetaTask`.
        own_params: (B, P) of B worlds, each of which keeps its own; None: every episode draws others.
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
        """Return what tasks `params` (..., P) pay for a step, (...); see `meta_interfaces.MetaTask`."""

    def fixed(self, params: Tensor) -> Self:
        """Return this family with world i held to the task of row i of `params` (B, P)."""
        one = copy.copy(self)
        one.own_params = params.float()
        return one

    def to(self, device: torch.device) -> Self:
        """Return this family with its parameters on the engine's device."""
        if self.own_params is None or self.own_params.device == device:
            return self
        return self.fixed(self.own_params.to(device))

    def begin_tasks(self, engine: Engine, ids: Tensor, rng: EpisodeRng) -> None:
        """Write the parameters of the episodes that begin in the worlds `ids` (n,).

        They are drawn in any case, so that a world's task changes nothing else of its episode.
        """
        drawn = self.draw_params(rng)
        wanted = drawn if self.own_params is None else self.own_params[ids]
        kept = engine.field("userdata")
        kept[ids, : wanted.shape[1]] = wanted.to(kept)

    def tasks(self, engine: Engine) -> Tensor:
        """Return the parameters (B, P) float32 of all worlds."""
        return engine.field("userdata")[:, : self.params.shape[0]].float()
