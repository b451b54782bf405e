"""Find quantities in low-dimensional arrays by the names of their elements, such as `leg_pos_base_x`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from robofb.geometry import matrix_to_quat, rot6d_to_matrix
from robofb.normalize import is_image
from robofb.types import EnvSpec, Episode

_AXIS = re.compile(r"_(?:[xyzw]|\d+)$")
_POSITION = re.compile(r"(?P<thing>\w+)_pos_(?P<frame>[A-Za-z0-9]+)")


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
    groups, tracks = value_groups(spec), []
    for (key, quantity), columns in groups.items():
        match = _POSITION.fullmatch(quantity)
        if key == "action" or match is None or len(columns) != 3:
            continue
        turn = groups.get((key, f"{match['thing']}_rot6d_{match['frame']}"), [])
        quat = _quat(group_values(episode, key, turn)) if len(turn) == 6 else None
        position = group_values(episode, key, columns).astype(np.float64)
        tracks.append(PoseTrack(match["thing"], match["frame"], position, quat))
    return tracks


def _quat(rot6d: np.ndarray) -> np.ndarray:
    return matrix_to_quat(rot6d_to_matrix(torch.from_numpy(rot6d.astype(np.float64)))).numpy()


def find_values(
    episode: Episode, groups: Mapping[tuple[str, str], list[int]], pattern: str
) -> dict[str, np.ndarray]:
    """Return the observed values (T + 1, n) of every quantity whose whole name matches a pattern."""
    return {
        quantity: group_values(episode, key, columns)
        for (key, quantity), columns in groups.items()
        if key != "action" and re.fullmatch(pattern, quantity)
    }
