"""Where augmentation finds the poses that it changes and commands."""

from __future__ import annotations

from dataclasses import dataclass

from robofb.errors import UserError
from robofb.store.element_names import EE, PoseColumns, find_hand, find_poses
from robofb.types import ArraySpec, EnvSpec


def poses_by_body(array: ArraySpec) -> dict[str, PoseColumns]:
    """Return the poses in an array by their body."""
    return {pose.body: pose for pose in find_poses(array)}


def pose_key(spec: EnvSpec) -> str:
    """Return the observation that holds the end-effector's pose.

    Raises:
        UserError: none does.
    """
    hand = find_hand(spec)
    if hand is None:
        raise UserError(
            f"task {spec.task}: no observation names {EE}_pos_<frame>_x, _y and _z; "
            f"it has {', '.join(spec.obs)}"
        )
    return hand[0]


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
    pose = poses_by_body(action)
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
