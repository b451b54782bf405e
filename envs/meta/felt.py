"""Families of tasks that a hand does by touch."""

from __future__ import annotations

from typing import Self

import torch

from robofb.envs.teacher.felt_peg import FeltPegTask
from robofb.sim.meta_sim_task import MetaSimTask


class FeltFamily(MetaSimTask, FeltPegTask):
    """A family whose tasks differ in where a body stands that the peg touches."""

    def to(self, device: torch.device) -> Self:
        """Return this family with its constants on the engine's device."""
        one: Self = FeltPegTask.to(self, device)
        return one if self.own_params is None else one.fixed(self.own_params.to(device))
