"""Physical constants that differ from episode to episode, on either engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import mujoco
import numpy as np
import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.interfaces import Engine
from robofb.rng import EpisodeRng

Range = Sequence[float]
_UNCHANGED = (1.0, 1.0)


@dataclass(frozen=True)
class DomainRandomization:
    """Ranges (low, high) of factors on the model's constants, drawn uniformly for every episode.

    Attributes:
        mass: of mass and inertia: a factor for each body that moves freely.
        friction: of every shape's sliding, torsional and rolling friction: one factor.
        gain: of an actuator's stiffness and damping: a factor for each actuator.
        gravity: one factor.

    Raises:
        UserError: a range is no two numbers in order, or not positive.
    """

    mass: Range = _UNCHANGED
    friction: Range = _UNCHANGED
    gain: Range = _UNCHANGED
    gravity: Range = _UNCHANGED

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if len(value) != 2 or not 0 < value[0] <= value[1] < float("inf"):
                raise UserError(f"{field.name}={list(value)}: needs two factors above 0, the lower one first")

    def apply(self, engine: Engine, ids: Tensor, rng: EpisodeRng) -> None:
        """Draw the constants of the worlds `ids` (n,) from `rng` (n rows).

        A world's draw depends on its own stream alone. A quantity whose range is (1, 1) is left as it is.
        """
        if all(tuple(getattr(self, field.name)) == _UNCHANGED for field in fields(self)):
            return
        model = engine.model
        bodies = free_bodies(model).to(engine.device)
        mass = self._factors(rng, self.mass, len(bodies))
        friction = self._factors(rng, self.friction, 1)
        gain = self._factors(rng, self.gain, model.nu)
        gravity = self._factors(rng, self.gravity, 1)
        if tuple(self.friction) != _UNCHANGED:
            _scale(engine, ids, "geom_friction", friction[..., None])
        if tuple(self.gain) != _UNCHANGED:
            for name in ("actuator_gainprm", "actuator_biasprm"):
                _scale(engine, ids, name, gain[..., None])
        if tuple(self.gravity) != _UNCHANGED:
            _scale(engine, ids, "opt.gravity", gravity)
        if tuple(self.mass) != _UNCHANGED and len(bodies):
            by_body = torch.ones(len(ids), model.nbody, device=mass.device).index_copy(1, bodies, mass)
            _scale(engine, ids, "body_mass", by_body)
            _scale(engine, ids, "body_inertia", by_body[..., None])
            engine.constants_changed(ids)

    @staticmethod
    def _factors(rng: EpisodeRng, bounds: Range, count: int) -> Tensor:
        """Return (n, count) factors; drawn even where they are all 1, so that no range moves another's."""
        low, high = bounds
        return low + (high - low) * rng.uniform(max(count, 1))[:, :count]


def free_bodies(model: mujoco.MjModel) -> Tensor:
    """Return the bodies that a free joint moves, (n,) int64."""
    free = model.jnt_type == mujoco.mjtJoint.mjJNT_FREE
    return torch.from_numpy(model.jnt_bodyid[free].astype(np.int64))


def _scale(engine: Engine, ids: Tensor, name: str, factor: Tensor) -> None:
    """Set a model field of some worlds to the model's own values times `factor` (n, ...)."""
    holder = engine.model
    for part in name.split("."):
        holder = getattr(holder, part)
    field = engine.model_field(name)
    nominal = torch.as_tensor(np.array(holder), dtype=torch.float64).to(field.device)
    field[ids] = (nominal * factor.double()).to(field.dtype)
