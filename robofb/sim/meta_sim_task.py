"""Families of tasks in MuJoCo: alike but for parameters that each world's userdata holds."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from robofb.interfaces import Engine
from robofb.rng import EpisodeRng
from robofb.sim.family import Family


class MetaSimTask(Family):
    """Makes a `Task` a `MetaTask`; to be mixed in. The scene's `nuserdata` has room for the parameters."""

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
