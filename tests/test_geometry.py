"""Rotations against scipy, hand-worked values and the axioms they must obey."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from robofb import geometry as g

floats = st.floats(-3.0, 3.0)


def random_quats(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(count, 4, dtype=torch.float64, generator=generator)
    return q / q.norm(dim=-1, keepdim=True)


def scipy_rotation(q: torch.Tensor) -> Rotation:
    return Rotation.from_quat(q.numpy()[:, [1, 2, 3, 0]])


def test_quarter_turn_about_z_by_hand():
    q = g.quat_from_yaw(torch.tensor(math.pi / 2, dtype=torch.float64))
    expected = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(g.quat_to_matrix(q), expected)
    torch.testing.assert_close(g.quat_to_rot6d(q), torch.tensor([0.0, 1, 0, -1, 0, 0], dtype=torch.float64))


def test_agrees_with_scipy():
    a, b = random_quats(200), random_quats(200, 1)
    vector = torch.randn(200, 3, dtype=torch.float64)
    np.testing.assert_allclose(g.quat_to_matrix(a), scipy_rotation(a).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(
        g.quat_to_matrix(g.quat_multiply(a, b)),
        (scipy_rotation(a) * scipy_rotation(b)).as_matrix(),
        atol=1e-12,
    )
    np.testing.assert_allclose(g.rotate(a, vector), scipy_rotation(a).apply(vector.numpy()), atol=1e-12)
    np.testing.assert_allclose(
        g.matrix_to_rotvec(g.quat_to_matrix(a)), scipy_rotation(a).as_rotvec(), atol=1e-8
    )
    angle = (scipy_rotation(a).inv() * scipy_rotation(b)).magnitude()
    np.testing.assert_allclose(g.rotation_angle(g.quat_to_matrix(a), g.quat_to_matrix(b)), angle, atol=1e-8)


def test_matrix_to_quat_at_half_turns():
    turns = torch.eye(4, dtype=torch.float64)  # identity and the half turns about x, y, z
    torch.testing.assert_close(g.matrix_to_quat(g.quat_to_matrix(turns)), turns)


def test_quat_round_trip_is_exact_up_to_sign():
    q = random_quats(500)
    back = g.matrix_to_quat(g.quat_to_matrix(q))
    torch.testing.assert_close(back, torch.where(q[:, :1] < 0, -q, q), atol=1e-12, rtol=0)


@settings(max_examples=100, deadline=None)
@given(st.lists(floats, min_size=6, max_size=6))
def test_rot6d_gives_a_rotation_and_ignores_scale(values):
    x = torch.tensor(values, dtype=torch.float64)
    if torch.linalg.cross(x[:3], x[3:]).norm() < 1e-3:
        return
    matrix = g.rot6d_to_matrix(x)
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(3, dtype=torch.float64), atol=1e-9, rtol=0)
    assert torch.linalg.det(matrix) == pytest.approx(1.0)
    torch.testing.assert_close(g.rot6d_to_matrix(2.5 * x), matrix, atol=1e-9, rtol=0)


def test_rot6d_round_trip():
    matrix = g.quat_to_matrix(random_quats(100))
    torch.testing.assert_close(g.rot6d_to_matrix(g.matrix_to_rot6d(matrix)), matrix)
    torch.testing.assert_close(g.rotvec_to_matrix(g.matrix_to_rotvec(matrix)), matrix, atol=1e-8, rtol=0)


def test_conjugate_undoes_a_rotation():
    q = random_quats(50)
    identity = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64).expand(50, 4)
    torch.testing.assert_close(g.quat_multiply(q, g.quat_conjugate(q)), identity, atol=1e-12, rtol=0)


def test_small_rotations_have_a_finite_rotvec():
    rotvec = torch.tensor([[1e-13, 0, 0], [0, 0, 0], [0, 3e-7, 0]], dtype=torch.float64)
    torch.testing.assert_close(g.matrix_to_rotvec(g.rotvec_to_matrix(rotvec)), rotvec, atol=1e-9, rtol=0)


def test_the_shortest_turn_turns_by_the_angle_between_and_about_nothing_else():
    start, end = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(0)).double()
    start, end = torch.nn.functional.normalize(start, dim=-1), torch.nn.functional.normalize(end, dim=-1)
    end[0], end[1] = start[0], -start[1]
    start[2], end[2] = torch.tensor([0.0, -1.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    start[3], end[3] = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, 0.0, -1.0])
    turns = g.shortest_turn(start, end)
    torch.testing.assert_close((turns @ start[..., None]).squeeze(-1), end)
    torch.testing.assert_close(
        g.matrix_to_rotvec(turns).norm(dim=-1), (start * end).sum(-1).clamp(-1, 1).acos()
    )
    torch.testing.assert_close(turns[3], torch.diag(torch.tensor([-1.0, 1.0, -1.0])).double())  # about y
    torch.testing.assert_close(turns[2], torch.diag(torch.tensor([1.0, -1.0, -1.0])).double())  # about x


def test_the_nearest_turn_is_the_best_of_all():
    """Against trying every degree."""
    rotations = g.rotvec_to_matrix(torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).double())
    degrees = torch.arange(360).double().deg2rad()
    turns = g.rotvec_to_matrix(torch.nn.functional.pad(degrees[:, None], (2, 0)))
    trace = (turns[None] @ rotations[:, None]).diagonal(dim1=-2, dim2=-1).sum(-1)  # 1 + 2 cos of the angle
    off = (g.nearest_turn(rotations) - degrees[trace.argmax(-1)] + math.pi) % (2 * math.pi) - math.pi
    assert (off.abs().rad2deg() <= 0.5).all()
