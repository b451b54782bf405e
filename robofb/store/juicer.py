"""What the two JUICER importers share: names, frames and rotations of its robot states and part poses."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch

from robofb.geometry import matrix_to_rot6d, quat_to_rot6d, rot6d_to_matrix
from robofb.store.bottlenecks import BY_PERSON, Bottleneck
from robofb.types import ArraySpec

RATE_HZ = 10.0
CAMERAS = {"color_image1": "image_wrist", "color_image2": "image_front"}
STATE_NAMES = (
    *(f"ee_pos_base_{axis}" for axis in "xyz"),
    *(f"ee_rot6d_base_{index}" for index in range(6)),
    *(f"ee_linvel_base_{axis}" for axis in "xyz"),
    *(f"ee_angvel_base_{axis}" for axis in "xyz"),
    "gripper_width",
)
STATE_SPEC = ArraySpec((16,), unit="m, 1, m/s, rad/s, m by name", names=STATE_NAMES)
PART_SIZE = 7
ROTATION_NOTE = "6D rotations were the first two rows of the matrix and are its first two columns now"
PARTS_NOTE = (
    "parts_poses stands in the AprilTag's frame, not in the robot's base frame of state and action;"
    " its quaternions were xyzw and are wxyz now"
)


def action_spec(kind: str) -> ArraySpec:
    """Return the spec of the ten-number action, "pos" (absolute) or "delta" (from the present pose)."""
    frame = "base" if kind == "pos" else "delta"
    names = [f"ee_pos_{frame}_{axis}" for axis in "xyz"] + [f"ee_rot6d_{frame}_{index}" for index in range(6)]
    return ArraySpec((10,), unit="m (pos), 1 (rot6d, gripper)", names=(*names, "gripper"))


def parts_spec(size: int) -> ArraySpec:
    """Return the spec of part poses in the AprilTag's frame; the last part is the obstacle."""
    axes = [f"pos_tag_{axis}" for axis in "xyz"] + [f"quat_tag_{axis}" for axis in "wxyz"]
    names = tuple(f"part{part}_{axis}" for part in range(size // PART_SIZE) for axis in axes)
    return ArraySpec((size,), unit="m (pos), 1 (quat wxyz)", names=names if len(names) == size else ())


def columns_from_rows(rot6d: np.ndarray) -> np.ndarray:
    """Return 6D rotations (..., 6) by columns, float32, from ones by rows.

    By rows, a turn of 90 degrees about z is (0, -1, 0, 1, 0, 0); by columns it is (0, 1, 0, -1, 0, 0).
    """
    by_rows = rot6d_to_matrix(torch.from_numpy(np.asarray(rot6d, np.float64)))  # its columns are the rows
    return matrix_to_rot6d(by_rows.mT).numpy().astype(np.float32)


def rotation_by_columns(rows: np.ndarray) -> np.ndarray:
    """Return states or actions (T, n) float32 whose elements 3..8 are turned from rows to columns."""
    rows = np.asarray(rows, np.float32)
    return np.concatenate([rows[:, :3], columns_from_rows(rows[:, 3:9]), rows[:, 9:]], 1)


def rot6d_from_xyzw(rows: np.ndarray) -> np.ndarray:
    """Return (T, n + 2) float32 rows, whose elements 3..6, a quaternion xyzw, are a 6D rotation now."""
    rows = np.asarray(rows, np.float64)
    quat = torch.from_numpy(rows[:, [6, 3, 4, 5]])
    quat = quat / quat.norm(dim=-1, keepdim=True)
    return np.concatenate([rows[:, :3], quat_to_rot6d(quat).numpy(), rows[:, 7:]], 1).astype(np.float32)


def parts_wxyz(rows: np.ndarray) -> np.ndarray:
    """Return part poses (T, 7 n) float32 with quaternions wxyz, from ones with xyzw."""
    poses = np.asarray(rows, np.float32).reshape(len(rows), -1, PART_SIZE)
    return poses[..., [0, 1, 2, 6, 3, 4, 5]].reshape(len(rows), -1)


def bottlenecks(marks: np.ndarray) -> list[dict[str, object]]:
    """Return the steps (T,) that a person marked to augment from, as the episode's fact of that name."""
    steps = np.flatnonzero(np.asarray(marks).reshape(-1) > 0)
    why = "marked in JUICER's augment_states"
    return [asdict(Bottleneck(int(step), BY_PERSON, why)) for step in steps]
