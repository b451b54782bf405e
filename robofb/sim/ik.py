"""Batched forward and differential inverse kinematics of a serial arm, in torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robofb.geometry import matrix_to_rotvec


class SerialArm:
    """A chain of revolute joints, each turning about the z axis of its own frame.

    Args:
        offset: (N, 3) position of each joint's frame in the one before it [m].
        rotation: (N, 3, 3) orientation of each joint's frame in the one before it, at zero angle.
        tool_offset: (3,) tool position in the last joint's frame [m].
        tool_rotation: (3, 3) tool orientation in the last joint's frame.
        lower, upper: (N,) joint limits [rad].
    """

    def __init__(
        self,
        offset: Tensor,
        rotation: Tensor,
        tool_offset: Tensor,
        tool_rotation: Tensor,
        lower: Tensor,
        upper: Tensor,
    ) -> None:
        self.offset, self.rotation = offset.double(), rotation.double()
        self.tool_offset, self.tool_rotation = tool_offset.double(), tool_rotation.double()
        self.lower, self.upper = lower.double(), upper.double()

    def to(self, device: torch.device) -> SerialArm:
        """Return the same arm with its constants on another device."""
        constants = (self.offset, self.rotation, self.tool_offset, self.tool_rotation, self.lower, self.upper)
        return SerialArm(*(tensor.to(device) for tensor in constants))

    def forward(self, q: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return tool pose and the joints' axes, all in the base frame.

        Args:
            q: (B, N) joint angles [rad].

        Returns:
            tool position (B, 3) [m], tool rotation (B, 3, 3), joint origins (B, N, 3) [m],
            joint axes (B, N, 3).
        """
        c, s = torch.cos(q)[..., None], torch.sin(q)[..., None]  # (B, N, 1)
        x, y, z = self.rotation.unbind(-1)  # columns, (N, 3)
        local = torch.stack([c * x + s * y, c * y - s * x, z.expand(*q.shape, 3)], -1)  # (B, N, 3, 3)
        rotation = local[:, 0]
        position = self.offset[0].expand(len(q), 3)
        origins, axes = [position], [rotation[:, :, 2]]
        for joint in range(1, q.shape[1]):
            position = position + rotation @ self.offset[joint]
            rotation = torch.bmm(rotation, local[:, joint])
            origins.append(position)
            axes.append(rotation[:, :, 2])
        tool = position + rotation @ self.tool_offset
        return tool, rotation @ self.tool_rotation, torch.stack(origins, 1), torch.stack(axes, 1)

    def jacobian(self, tool: Tensor, origins: Tensor, axes: Tensor) -> Tensor:
        """Return the geometric Jacobian (B, 6, N): linear [m/rad] over angular, in the base frame."""
        linear = torch.linalg.cross(axes, tool.unsqueeze(1) - origins)  # (B, N, 3)
        return torch.cat([linear, axes], -1).transpose(1, 2)


def solve_differential_ik(
    arm: SerialArm,
    q: Tensor,
    target_position: Tensor,
    target_rotation: Tensor,
    *,
    iterations: int = 3,
    damping: float = 0.02,
    max_joint_step_rad: float = 0.2,
) -> Tensor:
    """Move joint angles towards a tool pose by damped least squares (Levenberg-Marquardt).

    Each iteration solves dq = J^T (J J^T + damping^2 I)^-1 e, e the pose error as metres over
    radians. The total motion is scaled down, all joints alike, to `max_joint_step_rad`.

    Args:
        q: (B, N) present joint angles [rad].
        target_position: (B, 3) [m], base frame.
        target_rotation: (B, 3, 3), base frame.

    Returns:
        (B, N) joint angles within the joint limits.
    """
    start = q
    ridge = damping**2 * torch.eye(6, dtype=q.dtype, device=q.device)
    for _ in range(iterations):
        tool, rotation, origins, axes = arm.forward(q)
        jacobian = arm.jacobian(tool, origins, axes)
        error = torch.cat(
            [target_position - tool, matrix_to_rotvec(target_rotation @ rotation.transpose(1, 2))], -1
        )
        weights = torch.linalg.solve(jacobian @ jacobian.transpose(1, 2) + ridge, error.unsqueeze(-1))
        q = q + (jacobian.transpose(1, 2) @ weights).squeeze(-1)
    motion = q - start
    largest = motion.abs().amax(-1, keepdim=True)
    scale = (max_joint_step_rad / largest.clamp_min(1e-12)).clamp_max(1.0)
    return torch.minimum(torch.maximum(start + scale * motion, arm.lower), arm.upper)


def rotation_about_x(angle_rad: float) -> Tensor:
    """Return the (3, 3) rotation about x, float64."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return torch.tensor([[1.0, 0, 0], [0, c, -s], [0, s, c]], dtype=torch.float64)


def rotation_about_z(angle_rad: float) -> Tensor:
    """Return the (3, 3) rotation about z, float64."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1.0]], dtype=torch.float64)
