"""One episode as far as it could be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robofb.normalize import is_image
from robofb.store.element_names import Group, observed_groups
from robofb.types import EnvSpec


@dataclass(frozen=True)
class Recorded:
    """One episode as it lies on the disk; arrays that cannot be read are absent.

    Attributes:
        number: of the episode.
        spec: the dataset's.
        length: T, its actions.
        success, terminated: as the index says.
        arrays: observations (T + 1, ...), "timestamp" (T + 1,) [s], "action", "reward", "source" (T, ...).
        meta: what the index says of it.
    """

    number: int
    spec: EnvSpec
    length: int
    success: bool
    terminated: bool
    arrays: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]

    def finite(self) -> Recorded:
        """Return the episode without the arrays that hold NaN or infinity."""
        kept = {
            name: rows
            for name, rows in self.arrays.items()
            if rows.dtype.kind != "f" or np.isfinite(rows).all()
        }
        return replace(self, arrays=kept)

    def images(self) -> dict[str, np.ndarray]:
        """Return the readable images by key, (T + 1, C, H, W) uint8."""
        return {key: self.arrays[key] for key in image_keys(self.spec) if key in self.arrays}

    def columns(self, key: str) -> np.ndarray | None:
        """Return an array as (rows, columns) float64, or None where it cannot be read."""
        rows = self.arrays.get(key)
        return None if rows is None else rows.reshape(len(rows), -1).astype(np.float64)

    def group(self, group: Group) -> np.ndarray | None:
        """Return a group's columns (rows, 3, 4 or 6) float64, or None where they cannot be read."""
        rows = self.columns(group.key)
        return None if rows is None else rows[:, group.columns]

    def groups(self, kind: str) -> list[tuple[Group, np.ndarray]]:
        """Return the readable observed groups of a kind with their values (T + 1, ...)."""
        pairs = [(group, self.group(group)) for group in observed_groups(self.spec, kind)]
        return [(group, values) for group, values in pairs if values is not None]


def image_keys(spec: EnvSpec) -> list[str]:
    """Return the observations that are images."""
    return [key for key, array in spec.obs.items() if is_image(array)]
