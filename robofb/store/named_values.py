"""Find quantities in low-dimensional arrays by the names of their elements, such as `leg_pos_base_x`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from robofb.geometry import matrix_to_quat, rot6d_to_matrix
from robofb.normalize import is_image
from robofb.store.element_names import find_poses
from robofb.types import EnvSpec, Episode

_AXIS = re.compile(r"_(?:[xyzw]|\d+)$")


@dataclass(frozen=True)
class PoseTrack:
    """Where one thing was at every observation of an episode.

    Attributes:
        thing: such as "leg"; "ee" is the gripper.
        frame: that of the poses, such as "base" or "w".
        pos_m: (T + 1, 3) float64.
        quat_wxyz: (T + 1, 4) float64, None where the rotation is not recorded.
    """

    thing: str
    frame: str
    pos_m: np.ndarray
    quat_wxyz: np.ndarray | None


def value_groups(spec: EnvSpec) -> dict[tuple[str, str], list[int]]:
    """Return the columns of each quantity by (key, quantity): the names without their last axis.

    Keys are the low-dimensional vectors among the observations, and "action". An array without names
    is one group with the name "".
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for key, array in {**spec.obs, "action": spec.action}.items():
        if is_image(array) or len(array.shape) != 1:
            continue
        for column in range(array.shape[0]):
            quantity = _AXIS.sub("", array.names[column]) if array.names else ""
            groups.setdefault((key, quantity), []).append(column)
    return groups


def group_values(episode: Episode, key: str, columns: list[int]) -> np.ndarray:
    """Return (T + 1, n) or, of the action, (T, n) values of a group."""
    rows = episode.action if key == "action" else episode.obs[key]
    return rows[:, columns]


def pose_tracks(spec: EnvSpec, episode: Episode) -> list[PoseTrack]:
    """Return the tracks of everything whose observed position, and maybe 6D rotation, is named."""
    tracks = []
    for key, array in spec.obs.items():
        for pose in find_poses(array) if len(array.shape) == 1 else ():
            rows = episode.obs[key].astype(np.float64)
            quat = _quat(rows[:, pose.rotation]) if pose.rotation else None
            tracks.append(PoseTrack(pose.body, pose.frame, rows[:, pose.position], quat))
    return tracks


def _quat(rot6d: np.ndarray) -> np.ndarray:
    return matrix_to_quat(rot6d_to_matrix(torch.from_numpy(rot6d))).numpy()


def find_values(
    episode: Episode, groups: Mapping[tuple[str, str], list[int]], pattern: str
) -> dict[str, np.ndarray]:
    """Return the observed values (T + 1, n) of every quantity whose whole name matches a pattern."""
    return {
        quantity: group_values(episode, key, columns)
        for (key, quantity), columns in groups.items()
        if key != "action" and re.fullmatch(pattern, quantity)
    }
