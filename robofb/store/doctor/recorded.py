"""One episode as far as it could be read, and what the names in a spec say about its columns."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from robofb.normalize import is_image
from robofb.types import ArraySpec, EnvSpec

POSITION, ROT6D, QUAT = "pos", "rot6d", "quat"
_AXES = {POSITION: "xyz", ROT6D: "012345", QUAT: "wxyz"}
_NAME = re.compile(r"(?:(?P<body>\w+?)_)?(?P<kind>pos|rot6d|quat)_(?:(?P<frame>\w+)_)?(?P<axis>[wxyz0-5])")


@dataclass(frozen=True)
class Group:
    """The columns of an array that together are one position or one rotation.

    Attributes:
        key: the array.
        body: whose it is, such as "ee"; "" where the names do not say.
        kind: "pos", "rot6d" or "quat".
        frame: in which it is given, such as "base".
        columns: their numbers in the flattened array, in the order x y z, 0 .. 5 or w x y z.
    """

    key: str
    body: str
    kind: str
    frame: str
    columns: tuple[int, ...]

    @property
    def label(self) -> str:
        """Name for a reader, such as "state ee_pos_base"."""
        return " ".join([self.key, "_".join(part for part in (self.body, self.kind, self.frame) if part)])


@functools.lru_cache(maxsize=256)
def find_groups(key: str, array: ArraySpec, kind: str) -> tuple[Group, ...]:
    """Return the complete groups of a kind among the named columns of an array."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for column, name in enumerate(array.names):
        match = _NAME.fullmatch(name)
        if match and match["kind"] == kind:
            found.setdefault((match["body"] or "", match["frame"] or ""), {})[match["axis"]] = column
    numbered = "".join(str(index) for index in range(len(_AXES[kind])))
    groups = []
    for (body, frame), columns in found.items():
        for axes in (_AXES[kind], numbered):
            if set(columns) == set(axes):
                groups.append(Group(key, body, kind, frame, tuple(columns[axis] for axis in axes)))
                break
    return tuple(groups)


def observed_groups(spec: EnvSpec, kind: str) -> list[Group]:
    """Return the groups of a kind in all observations."""
    return [group for key, array in spec.obs.items() for group in find_groups(key, array, kind)]


def commanded_bodies(spec: EnvSpec) -> set[str]:
    """Return the bodies that the action moves, by name: the robot's tool, and not the objects."""
    return {group.body for kind in _AXES for group in find_groups("action", spec.action, kind)}


def gripper_columns(array: ArraySpec) -> list[int]:
    """Return the columns that concern the gripper, by name."""
    return [column for column, name in enumerate(array.names) if name.startswith("gripper")]


@dataclass(frozen=True)
class Recorded:
    """One episode as it lies on the disk; arrays that cannot be read are absent.

    Attributes:
        number: of the episode.
        spec: the dataset's.
        length: T, its actions.
        success, terminated: as the index says.
        arrays: observations (T + 1, ...), "timestamp" (T + 1,) [s], "action", "reward", "source" (T, ...).
    """

    number: int
    spec: EnvSpec
    length: int
    success: bool
    terminated: bool
    arrays: Mapping[str, np.ndarray]

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
