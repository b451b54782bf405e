"""Batched forward and differential inverse kinematics of a serial arm, in torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_EYE = torch.eye(6, dtype=torch.float64)


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
        self._tool = torch.eye(4, dtype=torch.float64, device=offset.device)
        self._tool[:3, :3], self._tool[:3, 3] = self.tool_rotation, self.tool_offset
        # A joint's transform is fixed + cos(q) with_cosine + sin(q) with_sine, each (N, 4, 4).
        x, y, z = self.rotation.unbind(-1)  # columns, (N, 3)
        self._fixed, self._with_cosine, self._with_sine = self._tool.new_zeros(3, len(offset), 4, 4)
        self._fixed[:, :3, 2], self._fixed[:, :3, 3], self._fixed[:, 3, 3] = z, self.offset, 1.0
        self._with_cosine[:, :3, 0], self._with_cosine[:, :3, 1] = x, y
        self._with_sine[:, :3, 0], self._with_sine[:, :3, 1] = y, -x

    def to(self, device: torch.device) -> SerialArm:
        """Return the same arm with its constants on another device."""
        constants = (self.offset, self.rotation, self.tool_offset, self.tool_rotation, self.lower, self.upper)
        return SerialArm(*(tensor.to(device) for tensor in constants))

    def forward(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return the poses of the tool (B, 4, 4) and of the joints (B, N, 4, 4) in the base frame.

        Args:
            q: (B, N) joint angles [rad].
        """
        turn = q[..., None, None]
        local = torch.addcmul(self._fixed, self._with_cosine, torch.cos(turn))
        first, *others = torch.addcmul(local, self._with_sine, torch.sin(turn)).unbind(1)  # (B, 4, 4) each
        chain = [first]
        for joint in others:
            chain.append(torch.bmm(chain[-1], joint))
        return chain[-1] @ self._tool, torch.stack(chain, 1)

    @staticmethod
    def jacobian(tool: Tensor, joints: Tensor) -> Tensor:
        """Return the geometric Jacobian transposed, (B, N, 6): linear [m/rad] beside angular, base frame."""
        axes, origins = joints[..., :3, 2], joints[..., :3, 3]
        linear = torch.linalg.cross(axes, tool[:, None, :3, 3] - origins)
        return torch.cat([linear, axes], -1)


def solve_differential_ik(
    arm: SerialArm,
    q: Tensor,
    target_position: Tensor,
    target_rotation: Tensor,
    *,
    iterations: int = 2,
    damping: float = 0.02,
    max_joint_step_rad: float = 0.2,
    posture: Tensor | None = None,
    posture_gain: float = 0.1,
) -> Tensor:
    """Move joint angles towards a tool pose by damped least squares.

    Each iteration adds dq = J^T (J J^T + damping^2 I)^-1 e, e the pose error as metres over radians
    and J the Jacobian at the start (chord method); two, from where the last control step ended, leave
    some hundredths of a millimetre. e holds the sine of the angle: a target exactly half a turn away
    is not turned to. The total motion is scaled down, all joints alike, to `max_joint_step_rad`.

    Args:
        q: (B, N) present joint angles [rad].
        target_position: (B, 3) [m], base frame.
        target_rotation: (B, 3, 3), base frame.
        posture: (N,) joint angles [rad] towards which the arm goes as far as that moves no tool: without it
            the elbow wanders over long tasks, until joints are at their limits. None leaves it free.
        posture_gain: share of the way there for each call.

    Returns:
        (B, N) joint angles within the joint limits.
    """
    tool, joints = arm.forward(q)
    jacobian = arm.jacobian(tool, joints)  # transposed, (B, N, 6)
    transposed = jacobian.transpose(1, 2)
    squared = torch.baddbmm(_EYE.to(q), transposed, jacobian, beta=damping**2)
    inverse = torch.linalg.solve(squared, transposed).transpose(1, 2)  # (B, N, 6)
    start, error = q, _pose_error(tool, target_position, target_rotation)
    q = start + torch.bmm(inverse, error).squeeze(-1)
    for _ in range(iterations - 1):
        tool, _ = arm.forward(q)
        q = q + torch.bmm(inverse, _pose_error(tool, target_position, target_rotation)).squeeze(-1)
    if posture is not None:
        away = (posture - start).unsqueeze(-1)
        q = q + posture_gain * (away - inverse @ (transposed @ away)).squeeze(-1)
    motion = q - start
    largest = motion.abs().amax(-1, keepdim=True)
    scale = (max_joint_step_rad / largest).clamp_max(1.0)  # infinite where nothing moves
    return torch.minimum(torch.maximum(start + scale * motion, arm.lower), arm.upper)


def _pose_error(tool: Tensor, position: Tensor, rotation: Tensor) -> Tensor:
    """Return the pose error (B, 6, 1): metres over axis times sine of the angle (Luh et al., 1980)."""
    turn = 0.5 * torch.linalg.cross(tool[:, :3, :3], rotation, dim=1).sum(-1)
    return torch.cat([position - tool[:, :3, 3], turn], -1).unsqueeze(-1)


def rotation_about_x(angle_rad: float) -> Tensor:
    """Return the (3, 3) rotation about x, float64."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return torch.tensor([[1.0, 0, 0], [0, c, -s], [0, s, c]], dtype=torch.float64)


def rotation_about_z(angle_rad: float) -> Tensor:
    """Return the (3, 3) rotation about z, float64."""
    c, s = math.cos(angle_rad), math.sin(angle_rad)
    return torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1.0]], dtype=torch.float64)
