"""Rotations and poses, batched over any leading axes.

Quaternions are wxyz and of unit length. The 6D rotation is the first two COLUMNS of the matrix,
first column first (Zhou et al., 2019). `R_ab` turns vectors of frame b into frame a.
"""

from __future__ import annotations

import torch
from torch import Tensor


def quat_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Return the Hamilton product a b, (..., 4)."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )


def quat_conjugate(q: Tensor) -> Tensor:
    """Return the inverse of a unit quaternion, (..., 4)."""
    return torch.cat([q[..., :1], -q[..., 1:]], -1)


def quat_from_axis_angle(axis: Tensor, angle: Tensor) -> Tensor:
    """Return the rotation by `angle` (...) [rad] about the unit vector `axis` (..., 3)."""
    half = 0.5 * angle.unsqueeze(-1)
    return torch.cat([torch.cos(half), torch.sin(half) * axis], -1)


def quat_from_yaw(yaw: Tensor) -> Tensor:
    """Return the rotation by `yaw` (...) [rad] about z."""
    zero = torch.zeros_like(yaw)
    return torch.stack([torch.cos(0.5 * yaw), zero, zero, torch.sin(0.5 * yaw)], -1)


def quat_to_matrix(q: Tensor) -> Tensor:
    """Return the matrices (..., 3, 3) of unit quaternions (..., 4)."""
    w, x, y, z = q.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def matrix_to_quat(matrix: Tensor) -> Tensor:
    """Return the unit quaternions (..., 4), w >= 0, of rotation matrices (..., 3, 3)."""
    m = matrix
    trace = m.diagonal(dim1=-2, dim2=-1)  # (..., 3)
    xx, yy, zz = trace.unbind(-1)
    squares = torch.stack([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], -1)
    magnitude = torch.sqrt(squares.clamp_min(0.0))  # 2 |q_i|
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    mw, mx, my, mz = (magnitude**2).unbind(-1)
    rows = torch.stack(
        [
            torch.stack([mw, wx, wy, wz], -1),
            torch.stack([wx, mx, xy, xz], -1),
            torch.stack([wy, xy, my, yz], -1),
            torch.stack([wz, xz, yz, mz], -1),
        ],
        -2,
    )  # row i is 4 q_i q: divide by the largest component, which is never near zero
    largest = magnitude.argmax(-1, keepdim=True)
    q = rows.gather(-2, largest.unsqueeze(-1).expand(*largest.shape, 4)).squeeze(-2)
    q = q / q.norm(dim=-1, keepdim=True)
    return torch.where(q[..., :1] < 0, -q, q)


def matrix_to_rot6d(matrix: Tensor) -> Tensor:
    """Return the first two columns (..., 6) of rotation matrices (..., 3, 3)."""
    return torch.cat([matrix[..., :, 0], matrix[..., :, 1]], -1)


def rot6d_to_matrix(rot6d: Tensor) -> Tensor:
    """Return the rotation matrices (..., 3, 3) of any 6D vectors, by Gram-Schmidt."""
    x = torch.nn.functional.normalize(rot6d[..., 0:3], dim=-1, eps=1e-9)
    y = rot6d[..., 3:6]
    y = torch.nn.functional.normalize(y - (x * y).sum(-1, keepdim=True) * x, dim=-1, eps=1e-9)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


def quat_to_rot6d(q: Tensor) -> Tensor:
    """Return the 6D rotations (..., 6) of unit quaternions (..., 4)."""
    return matrix_to_rot6d(quat_to_matrix(q))


def matrix_to_rotvec(matrix: Tensor) -> Tensor:
    """Return axis times angle (..., 3) [rad], angle in [0, pi], of rotation matrices."""
    q = matrix_to_quat(matrix)
    sine = q[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2.0 * torch.atan2(sine, q[..., :1])
    return q[..., 1:] * torch.where(sine > 1e-9, angle / sine.clamp_min(1e-9), 2.0)


def rotvec_to_matrix(rotvec: Tensor) -> Tensor:
    """Return the rotation matrices of axis-times-angle vectors (..., 3) [rad]."""
    angle = rotvec.norm(dim=-1)
    axis = rotvec / angle.clamp_min(1e-12).unsqueeze(-1)
    return quat_to_matrix(quat_from_axis_angle(axis, angle))


def rotate(q: Tensor, vector: Tensor) -> Tensor:
    """Turn vectors (..., 3) by unit quaternions (..., 4)."""
    u = q[..., 1:]
    t = 2.0 * torch.linalg.cross(u, vector)
    return vector + q[..., :1] * t + torch.linalg.cross(u, t)


def rotation_angle(a: Tensor, b: Tensor) -> Tensor:
    """Return the angle (...) [rad] in [0, pi] between rotation matrices (..., 3, 3)."""
    return matrix_to_rotvec(a.transpose(-1, -2) @ b).norm(dim=-1)


def seen_from(rotation: Tensor, vector: Tensor) -> Tensor:
    """Turn vectors (..., 3) into the frame whose axes are the columns of `rotation` (..., 3, 3)."""
    return (vector.unsqueeze(-2) @ rotation).squeeze(-2)


def shortest_turn(start: Tensor, end: Tensor) -> Tensor:
    """Return the rotations (n, 3, 3) by the least angle that bring unit vectors (n, 3) to others.

    Between opposite ones any half turn across them would do: it is taken about what of y, or of x where they
    lie near y, stands across them.
    """
    axis, cos = torch.linalg.cross(start, end), (start * end).sum(-1)
    level = torch.nn.functional.one_hot((start[:, 1].abs() < 0.5).long(), 3).to(start)  # x or y
    across = torch.linalg.cross(start, level)
    axis = torch.where((cos < -1 + 1e-9)[:, None], torch.linalg.cross(across, start), axis)
    axis = torch.nn.functional.normalize(axis, dim=-1)
    return rotvec_to_matrix(axis * torch.atan2(torch.linalg.cross(start, end).norm(dim=-1), cos)[:, None])


def nearest_turn(rotation: Tensor) -> Tensor:
    """Return the angles (n,) [rad] of the turns about z that bring rotations (n, 3, 3) nearest to none."""
    return torch.atan2(rotation[:, 0, 1] - rotation[:, 1, 0], rotation[:, 0, 0] + rotation[:, 1, 1])
