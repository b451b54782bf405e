"""Turn a person's twists into absolute tool poses that never run away from the arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robofb.deploy.cell import CellState
from robofb.geometry import matrix_to_rot6d, matrix_to_rotvec, rot6d_to_matrix, rotvec_to_matrix
from robofb.types import ArraySpec, TeleopCommand

ACTION_NAMES = (
    *(f"ee_pos_base_{axis}" for axis in "xyz"),
    *(f"ee_rot6d_base_{index}" for index in range(6)),
    "gripper",
)


@dataclass(frozen=True)
class ToolPose:
    """A commanded tool pose with its gripper.

    Attributes:
        pos_base_m: (3,) float64.
        rotation_base: (3, 3) float64.
        gripper: -1 open, 1 closed.
    """

    pos_base_m: Tensor
    rotation_base: Tensor
    gripper: float


class ToolTarget:
    """The tool pose that is commanded: twists move it, limits keep it near the arm.

    Args:
        action: spec of the action, whose bounds of the position [m] are the workspace.
        max_speed_m_s: fastest motion.
        max_turn_rad_s: fastest turning.
        lead_m: how far the target may be ahead of the measured position; without this it would wind
            up while the arm is blocked, and be worked off after.
        lead_rad: the same for the rotation.
        settled_m, settled_rad: an arm that is nearer to its target than this has arrived; where the
            person takes hold again the target then stays, so that the arm's sag does not add up.
    """

    def __init__(
        self,
        action: ArraySpec,
        max_speed_m_s: float = 0.35,
        max_turn_rad_s: float = 3.0,
        lead_m: float = 0.05,
        lead_rad: float = 0.5,
        settled_m: float = 0.003,
        settled_rad: float = 0.03,
    ) -> None:
        if action.names != ACTION_NAMES or action.low is None or action.high is None:
            raise ValueError(f"a bounded action of {', '.join(ACTION_NAMES)} is needed")
        self._low = torch.tensor(action.low[:3], dtype=torch.float64)
        self._high = torch.tensor(action.high[:3], dtype=torch.float64)
        self.max_speed_m_s, self.max_turn_rad_s = max_speed_m_s, max_turn_rad_s
        self.lead_m, self.lead_rad = lead_m, lead_rad
        self.settled_m, self.settled_rad = settled_m, settled_rad
        self.pose: ToolPose | None = None

    def reset(self, state: CellState) -> None:
        """Take the measured pose and the cell's gripper as the target."""
        self.pose = ToolPose(*_measured(state), state.gripper)

    def engage(self, state: CellState) -> None:
        """Start from where the arm is; from the last target only where the arm has arrived there."""
        position, rotation = _measured(state)
        pose = self.pose
        if pose is not None:
            distance_m = float((pose.pos_base_m - position).norm())
            angle_rad = float(matrix_to_rotvec(pose.rotation_base @ rotation.T).norm())
            if distance_m <= self.settled_m and angle_rad <= self.settled_rad:
                position, rotation = pose.pos_base_m, pose.rotation_base
        self.pose = ToolPose(position, rotation, state.gripper if pose is None else pose.gripper)

    def move(self, command: TeleopCommand, dt_s: float, state: CellState) -> np.ndarray:
        """Move the target by a twist held for `dt_s` and return it as an action (10,) float32.

        The rotation turns about the base frame's axes: R <- exp([w]) R.
        """
        if self.pose is None:
            raise RuntimeError("call reset before move")
        twist = torch.from_numpy(np.asarray(command.twist, np.float64))
        linear, turn = _shorten(twist[:3], self.max_speed_m_s), _shorten(twist[3:], self.max_turn_rad_s)
        measured_pos, measured_rotation = _measured(state)
        position = measured_pos + _shorten(self.pose.pos_base_m + dt_s * linear - measured_pos, self.lead_m)
        position = torch.minimum(torch.maximum(position, self._low), self._high)
        rotation = rotvec_to_matrix(dt_s * turn) @ self.pose.rotation_base
        ahead = _shorten(matrix_to_rotvec(rotation @ measured_rotation.T), self.lead_rad)
        rotation = rot6d_to_matrix(matrix_to_rot6d(rotvec_to_matrix(ahead) @ measured_rotation))
        gripper = float(np.sign(command.gripper)) or self.pose.gripper
        self.pose = ToolPose(position, rotation, gripper)
        values = torch.cat([position, matrix_to_rot6d(rotation), torch.tensor([gripper]).double()])
        return values.float().numpy()


def _measured(state: CellState) -> tuple[Tensor, Tensor]:
    return (
        torch.from_numpy(np.array(state.tool_pos_base_m, np.float64)),
        torch.from_numpy(np.array(state.tool_rotation_base, np.float64)),
    )


def _shorten(vector: Tensor, longest: float) -> Tensor:
    """Return a vector (3,) of the same direction, not longer than `longest`."""
    return vector * min(1.0, longest / max(float(vector.norm()), 1e-12))
