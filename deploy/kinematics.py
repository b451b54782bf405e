"""Kinematics of an arm whose joints are rotary and in a row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_NEXT, _LAST = np.array([1, 2, 0]), np.array([2, 0, 1])  # of x, y, z, in turn


class Chain:
    """J joints, by modified Denavit-Hartenberg parameters (Craig, Introduction to Robotics, 1986).

    Args:
        rows: of each joint a [m], alpha [rad] and d [m], from the base on; its angle has no offset.
    """

    def __init__(self, rows: Sequence[tuple[float, float, float]]) -> None:
        self._links = np.array([_link(*row) for row in rows])

    def __len__(self) -> int:
        return len(self._links)

    def frames(self, joints_rad: np.ndarray) -> np.ndarray:
        """Return each joint's frame in the base frame (J, 4, 4), its axis z, of angles (J,)."""
        frames, now = np.empty_like(self._links), np.eye(4)
        for index, angle in enumerate(joints_rad.tolist()):
            c, s = math.cos(angle), math.sin(angle)
            now = now @ self._links[index]
            now[:, :2] = now[:, :2] @ ((c, -s), (s, c))
            frames[index] = now
        return frames


def jacobian(frames: np.ndarray, place_m: np.ndarray) -> np.ndarray:
    """Return the velocity and turn rate (6, J) for each joint's speed of what is at a place (3,).

    Args:
        frames: of the joints (J, 4, 4), the last of which holds it.
        place_m: in the base frame.
    """
    axes = frames[:, :3, 2]
    arms = place_m - frames[:, :3, 3]
    swept = axes.take(_NEXT, 1) * arms.take(_LAST, 1) - axes.take(_LAST, 1) * arms.take(_NEXT, 1)
    return np.concatenate([swept, axes], 1).T


def least_singular(matrix: np.ndarray) -> float:
    """Return the smallest singular value."""
    return float(np.linalg.svd(matrix, compute_uv=False)[-1])


def _link(a: float, alpha: float, d: float) -> list[list[float]]:
    """Return the frame of a joint at 0 in that of the one before (4, 4)."""
    c, s = math.cos(alpha), math.sin(alpha)
    return [[1.0, 0.0, 0.0, a], [0.0, c, -s, -s * d], [0.0, s, c, c * d], [0.0, 0.0, 0.0, 1.0]]
