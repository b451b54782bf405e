"""Find the poses among the named elements of an observation or an action."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from robofb.errors import UserError
from robofb.geometry import rot6d_to_matrix
from robofb.types import ArraySpec, EnvSpec

EE = "ee"  # the name of the end-effector; every other pose is a part's
_POSITION = re.compile(r"(\w+)_pos_([a-z]+)_([xyz])")
_ROTATION = re.compile(r"(\w+)_rot6d_([a-z]+)_([0-5])")


@dataclass(frozen=True)
class PoseColumns:
    """Where one body's pose stands in the last axis of an array.

    Attributes:
        position: three columns x, y, z [m].
        rotation: six columns of the 6D rotation, or none where the body has none.
        frame: of both, as their names say.
    """

    position: tuple[int, ...]
    rotation: tuple[int, ...]
    frame: str

    def matrix(self, values: Tensor) -> Tensor:
        """Return the rotation matrices (..., 3, 3) of rows (..., D)."""
        return rot6d_to_matrix(values[..., self.rotation])


def find_poses(names: Sequence[str]) -> dict[str, PoseColumns]:
    """Return the poses by their body, from names such as `leg_pos_base_x` and `leg_rot6d_base_0`."""
    positions, rotations = _groups(names, _POSITION, 3), _groups(names, _ROTATION, 6)
    return {
        body: PoseColumns(columns, rotations.get((body, frame), ()), frame)
        for (body, frame), columns in positions.items()
    }


def _groups(
    names: Sequence[str], pattern: re.Pattern[str], size: int
) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return the columns of every complete group by (body, frame), in the order of their last part."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for column, name in enumerate(names):
        if match := pattern.fullmatch(name):
            found.setdefault((match[1], match[2]), {})[match[3]] = column
    return {
        key: tuple(columns[part] for part in sorted(columns))
        for key, columns in found.items()
        if len(columns) == size
    }


def pose_key(spec: EnvSpec) -> str:
    """Return the observation that holds the end-effector's pose.

    Raises:
        UserError: none does.
    """
    for key, array in spec.obs.items():
        if EE in find_poses(array.names):
            return key
    raise UserError(
        f"task {spec.task}: no observation names {EE}_pos_<frame>_x, _y and _z; it has {', '.join(spec.obs)}"
    )


@dataclass(frozen=True)
class ActionColumns:
    """Where the parts of a pose action stand, and how far it may reach.

    Attributes:
        pose: of the end-effector.
        gripper: one column.
        low_m, high_m: corners of the workspace.
    """

    pose: PoseColumns
    gripper: int
    low_m: tuple[float, ...]
    high_m: tuple[float, ...]


def action_columns(action: ArraySpec) -> ActionColumns:
    """Read the layout of absolute pose actions from their names.

    Raises:
        UserError: the actions are no absolute poses with a gripper, or have no bounds.
    """
    pose: Mapping[str, PoseColumns] = find_poses(action.names)
    if EE not in pose or not pose[EE].rotation or "gripper" not in action.names:
        raise UserError(f"augmentation needs absolute pose actions with a gripper, not {action.names}")
    if action.low is None or action.high is None:
        raise UserError("augmentation needs actions with bounds: they are the workspace")
    columns = pose[EE].position
    return ActionColumns(
        pose[EE],
        action.names.index("gripper"),
        tuple(action.low[column] for column in columns),
        tuple(action.high[column] for column in columns),
    )
