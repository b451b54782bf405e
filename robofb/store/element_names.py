"""Find positions, rotations and poses among the named elements of observations and actions."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from torch import Tensor

from robofb.geometry import rot6d_to_matrix
from robofb.types import ArraySpec, EnvSpec

EE = "ee"  # the name of the end-effector; every other pose is a part's
DERIVED = "_tanh_"  # in the name of an element that is a function of poses
WIDTH = "gripper_width"  # the name of the distance between the fingers [m]
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
class PoseColumns:
    """Where one body's pose stands in the last axis of an array.

    Attributes:
        position: three columns x, y, z [m].
        rotation: six columns of the 6D rotation, or none where the body has none.
        frame: of both, as their names say.
        body: whose it is.
    """

    position: tuple[int, ...]
    rotation: tuple[int, ...]
    frame: str
    body: str

    def matrix(self, values: Tensor) -> Tensor:
        """Return the rotation matrices (..., 3, 3) of rows (..., D)."""
        return rot6d_to_matrix(values[..., self.rotation])


def find_poses(array: ArraySpec) -> list[PoseColumns]:
    """Return the poses in names such as `leg_pos_base_x` and `leg_rot6d_base_0`, which say body and frame."""
    rotations = {(group.body, group.frame): group.columns for group in find_groups("", array, ROT6D)}
    return [
        PoseColumns(group.columns, rotations.get((group.body, group.frame), ()), group.frame, group.body)
        for group in find_groups("", array, POSITION)
        if group.body and group.frame
    ]


def find_hand(spec: EnvSpec) -> tuple[str, PoseColumns] | None:
    """Return the first observation that holds the end-effector's pose, and where; None where none does."""
    for key, array in spec.obs.items():
        for pose in find_poses(array):
            if pose.body == EE:
                return key, pose
    return None
