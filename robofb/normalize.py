"""Scale observations and actions by statistics that live in the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robofb.errors import UserError
from robofb.types import SIM_STATE, ArraySpec, EnvSpec

Stats = Mapping[str, Mapping[str, Any]]
"""Per key the arrays "min", "max", "mean", "std" of one element's shape."""


def low_dim_specs(spec: EnvSpec) -> dict[str, ArraySpec]:
    """Return the specs that have statistics: "action" and every observation but images and `SIM_STATE`."""
    low_dim = {key: array for key, array in spec.obs.items() if key != SIM_STATE and not is_image(array)}
    return {**low_dim, "action": spec.action}


def is_image(array: ArraySpec) -> bool:
    """Return whether a spec describes an image, (C, H, W) uint8."""
    return array.dtype == "uint8" and len(array.shape) == 3


def element_stats(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return "min", "max", "mean", "std" (float32) of each element of `rows` (N, ...)."""
    wide = rows.astype(np.float64)
    values = {"min": wide.min(0), "max": wide.max(0), "mean": wide.mean(0), "std": wide.std(0)}
    return {name: value.astype(np.float32) for name, value in values.items()}


def _minmax(values: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    return (values["max"] + values["min"]) / 2, (values["max"] - values["min"]) / 2


def _meanstd(values: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    return values["mean"], values["std"]


_MODES = {"minmax": _minmax, "meanstd": _meanstd}


class Normalizer(nn.Module):
    """Map each key by y = (x - centre) / radius, element by element, and back.

    Only centre, radius and 1 / radius are kept, as buffers. So a checkpoint needs no mode to be
    read. An element that hardly varies in the data has radius 0: it maps to 0, and back to its
    centre.

    Args:
        stats: per key the arrays "min", "max", "mean", "std", each of the key's element shape.
        mode: "minmax" maps [min, max] to [-1, 1]; "meanstd" maps to zero mean and unit deviation.
        clamp: largest absolute normalised value of an observation, or None. Never applied to
            "action".
        min_radius: radius below which an element counts as constant, in its own unit, or as a
            share of its centre where that is beyond 1. The jitter of resting contacts is smaller.

    Raises:
        UserError: an unknown mode, statistics that are not finite, or a key without statistics.
    """

    def __init__(
        self, stats: Stats, mode: str = "minmax", clamp: float | None = None, min_radius: float = 5e-6
    ) -> None:
        super().__init__()
        if mode not in _MODES:
            raise UserError(f"normaliser mode '{mode}' is unknown; valid: {', '.join(_MODES)}")
        self.clamp = clamp
        self.keys = tuple(stats)
        self._checked = False
        for key, values in stats.items():
            wide = {name: torch.as_tensor(array, dtype=torch.float64) for name, array in values.items()}
            centre, radius = _MODES[mode](wide)
            if not bool(torch.isfinite(centre).all() and torch.isfinite(radius).all()):
                raise UserError(f"statistics of '{key}' hold NaN or infinity")
            constant = radius <= min_radius * centre.abs().clamp_min(1.0)
            radius = torch.where(constant, 0.0, radius)
            self._register(key, centre, radius, torch.where(constant, 0.0, 1.0 / radius))

    @classmethod
    def empty(cls, spec: EnvSpec, clamp: float | None = None) -> Normalizer:
        """Return a normaliser of `spec`'s shapes that refuses to work before a checkpoint is loaded."""
        normalizer = cls({}, clamp=clamp)
        specs = low_dim_specs(spec)
        normalizer.keys = tuple(specs)
        for key, array in specs.items():
            normalizer._register(key, *torch.full((3, *array.shape), torch.nan))
        return normalizer

    def forward(self, x: Tensor, key: str) -> Tensor:
        """Return normalised values of `x` (..., *shape), given in the key's units."""
        centre, _, gain = self._affine(key)
        y = (x - centre) * gain
        return y if self.clamp is None or key == "action" else y.clamp(-self.clamp, self.clamp)

    def inverse(self, y: Tensor, key: str) -> Tensor:
        """Return values in the key's units of normalised `y` (..., *shape)."""
        centre, radius, _ = self._affine(key)
        return centre + y * radius

    def _register(self, key: str, centre: Tensor, radius: Tensor, gain: Tensor) -> None:
        for name, value in (("centre", centre), ("radius", radius), ("gain", gain)):
            self.register_buffer(self._buffer_name(name, key), value.to(torch.float32))

    @staticmethod
    def _buffer_name(name: str, key: str) -> str:
        return f"{name}_{key.replace('.', '/')}"  # a buffer's name cannot hold a dot

    def _affine(self, key: str) -> list[Tensor]:
        if key not in self.keys:
            known = ", ".join(self.keys) or "none"
            raise UserError(f"normaliser has no statistics of '{key}'; it has: {known}")
        if not self._checked:
            self._check_loaded()
        return [getattr(self, self._buffer_name(name, key)) for name in ("centre", "radius", "gain")]

    def _check_loaded(self) -> None:
        if any(bool(torch.isnan(buffer).any()) for buffer in self.buffers()):
            raise UserError("normaliser is empty: give it statistics of a dataset or load a checkpoint")
        self._checked = True
