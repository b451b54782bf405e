"""The joints of a UR5e whose tool is somewhere, by its maker's (standard Denavit-Hartenberg) table."""

from __future__ import annotations

import math

import numpy as np

TABLE = (  # a [m], d [m], alpha [rad]
    (0.0, 0.1625, math.pi / 2),
    (-0.425, 0.0, 0.0),
    (-0.3922, 0.0, 0.0),
    (0.0, 0.1333, math.pi / 2),
    (0.0, 0.0997, -math.pi / 2),
    (0.0, 0.0996, 0.0),
)
TOOL_M = 0.15  # in front of the flange
BENT = (math.pi, -1.57, 1.57, -1.57, -1.57, 0.0)  # over the table in front, pointing down
NEAR = 1e-6
_DIFFERENCE = 1e-6


class UrJoints:
    """Follow a tool by Newton's method, from `BENT` on."""

    def __init__(self) -> None:
        self.angles = np.array(BENT)

    def follow(self, pose: list[float]) -> list[float]:
        """Return angles whose tool is at a pose: [m], then a rotation vector [rad]; as near as they come."""
        goal = matrix(pose)
        for _ in range(50):
            error = between(tool(self.angles), goal)
            if np.abs(error).max() < NEAR:
                break
            steps = [between(tool(self.angles), tool(moved)) / _DIFFERENCE for moved in self._moved()]
            self.angles = self.angles + np.linalg.lstsq(np.array(steps).T, error, 1e-3)[0].clip(-0.3, 0.3)
        return self.angles.tolist()

    def _moved(self) -> np.ndarray:
        return self.angles + _DIFFERENCE * np.eye(6)


def tool(angles: np.ndarray) -> np.ndarray:
    """Return the tool's frame in the base frame (4, 4)."""
    frame = np.eye(4)
    for angle, (a, d, alpha) in zip(angles, TABLE, strict=True):
        c, s, ca, sa = math.cos(angle), math.sin(angle), math.cos(alpha), math.sin(alpha)
        turned = [[c, -s * ca, s * sa], [s, c * ca, -c * sa], [0, sa, ca]]
        frame = frame @ np.vstack([np.column_stack([turned, [a * c, a * s, d]]), [0, 0, 0, 1]])
    frame[:3, 3] += TOOL_M * frame[:3, 2]
    return frame


def matrix(pose: list[float]) -> np.ndarray:
    """Return the frame of a pose (4, 4): Rodrigues' formula."""
    x, y, z = pose[3:]
    angle = math.hypot(x, y, z)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) / max(angle, 1e-12)
    frame = np.eye(4)
    frame[:3, :3] += math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    frame[:3, 3] = pose[:3]
    return frame


def between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the way from a frame to one near it (6,): [m], and half the difference of its columns' turns."""
    turns = 0.5 * np.cross(start[:3, :3], end[:3, :3], axis=0).sum(1)
    return np.concatenate([end[:3, 3] - start[:3, 3], turns])
