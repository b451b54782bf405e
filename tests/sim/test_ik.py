"""Kinematics against MuJoCo and finite differences."""

import math

import mujoco
import numpy as np
import torch

from robofb.envs.furniture.one_leg_insert import OneLegInsert
from robofb.envs.robots import franka
from robofb.geometry import rotation_angle, rotvec_to_matrix
from robofb.sim.ik import rotation_about_x, rotation_about_z, solve_differential_ik

ARM = franka.serial_arm()
HOME = torch.tensor(franka.HOME_RAD, dtype=torch.float64)


def random_joints(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(count, 7, dtype=torch.float64, generator=generator)
    return ARM.lower + share * (ARM.upper - ARM.lower)


def test_forward_kinematics_equals_mujocos():
    model = OneLegInsert().build()
    data = mujoco.MjData(model)
    joints = random_joints(20)
    tool, _ = ARM.forward(joints)
    for row in range(20):
        data.qpos[:7] = joints[row].numpy()
        mujoco.mj_kinematics(model, data)
        np.testing.assert_allclose(tool[row, :3, 3], data.site("tcp").xpos, atol=1e-9)
        np.testing.assert_allclose(tool[row, :3, :3].flatten(), data.site("tcp").xmat, atol=1e-6)


def test_jacobian_equals_finite_differences():
    joints = random_joints(5)
    tool, frames = ARM.forward(joints)
    jacobian = ARM.jacobian(tool, frames)
    step = 1e-6
    for joint in range(7):
        moved = joints.clone()
        moved[:, joint] += step
        after, _ = ARM.forward(moved)
        motion = (after[:, :3, 3] - tool[:, :3, 3]) / step
        torch.testing.assert_close(motion, jacobian[:, joint, :3], atol=1e-5, rtol=0)
        turn = (after[:, :3, :3] @ tool[:, :3, :3].transpose(1, 2) - torch.eye(3)) / step  # skew of the axis
        axis = torch.stack([turn[:, 2, 1], turn[:, 0, 2], turn[:, 1, 0]], -1)
        torch.testing.assert_close(axis, jacobian[:, joint, 3:], atol=1e-5, rtol=0)


def test_home_looks_straight_down_by_hand():
    tool, _ = ARM.forward(HOME[None])
    np.testing.assert_allclose(tool[0, :3, 3], [0.48, 0.0, 0.22], atol=2e-4)
    np.testing.assert_allclose(tool[0, :3, :3], np.diag([1.0, -1.0, -1.0]), atol=1e-3)


def test_reaches_a_near_pose():
    tool, _ = ARM.forward(HOME.expand(3, 7))
    target = tool[:, :3, 3] + torch.tensor([[0.02, 0.0, 0.0], [0.0, -0.02, 0.01], [0.0, 0.0, -0.03]])
    wanted = rotvec_to_matrix(torch.tensor([0.0, 0.02, 0.05], dtype=torch.float64)) @ tool[:, :3, :3]
    joints = HOME.expand(3, 7)
    for _ in range(4):
        joints = solve_differential_ik(ARM, joints, target, wanted)
    reached, _ = ARM.forward(joints)
    assert (reached[:, :3, 3] - target).norm(dim=-1).max() < 1e-5
    assert rotation_angle(reached[:, :3, :3], wanted).max() < 1e-4


def test_two_iterations_nearly_reach_the_pose_of_a_control_step():
    tool, _ = ARM.forward(HOME.expand(64, 7))
    generator = torch.Generator().manual_seed(0)
    shift, turn = torch.randn(2, 64, 3, dtype=torch.float64, generator=generator)
    target = tool[:, :3, 3] + 0.01 * shift / shift.norm(dim=-1, keepdim=True)
    wanted = rotvec_to_matrix(0.05 * turn / turn.norm(dim=-1, keepdim=True)) @ tool[:, :3, :3]
    reached, _ = ARM.forward(solve_differential_ik(ARM, HOME.expand(64, 7), target, wanted))
    assert (reached[:, :3, 3] - target).norm(dim=-1).max() < 1e-4
    assert rotation_angle(reached[:, :3, :3], wanted).max() < 5e-4


def test_repeated_calls_reach_a_far_pose():
    """0.3 m away and turned by 120 degrees about the vertical."""
    tool, _ = ARM.forward(HOME[None])
    target = tool[:, :3, 3] + torch.tensor([[0.05, -0.25, 0.15]])
    wanted = rotvec_to_matrix(torch.tensor([0.0, 0.0, math.radians(120)], dtype=torch.float64))
    wanted = wanted @ tool[:, :3, :3]
    joints = HOME[None]
    for _ in range(40):
        joints = solve_differential_ik(ARM, joints, target, wanted)
    reached, _ = ARM.forward(joints)
    assert (reached[:, :3, 3] - target).norm() < 1e-4
    assert rotation_angle(reached[:, :3, :3], wanted).max() < 1e-3


def test_motion_and_joints_stay_within_limits():
    joints = random_joints(50)
    far = torch.tensor([0.3, 0.5, 0.8], dtype=torch.float64).expand(50, 3)
    after = solve_differential_ik(ARM, joints, far, torch.eye(3, dtype=torch.float64).expand(50, 3, 3))
    assert (after - joints).abs().max() <= 0.2 + 1e-12
    assert (after >= ARM.lower).all() and (after <= ARM.upper).all()


def test_a_row_does_not_depend_on_its_batch():
    joints, target = random_joints(33), torch.rand(33, 3, dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64)
    together = solve_differential_ik(ARM, joints, target, eye.expand(33, 3, 3))
    alone = torch.cat(
        [solve_differential_ik(ARM, joints[i : i + 1], target[i : i + 1], eye[None]) for i in range(33)]
    )
    assert torch.equal(together, alone)


def test_elementary_rotations_by_hand():
    quarter = math.pi / 2
    y, z = torch.tensor([0.0, 1, 0], dtype=torch.float64), torch.tensor([0.0, 0, 1], dtype=torch.float64)
    torch.testing.assert_close(rotation_about_x(quarter) @ y, z)
    torch.testing.assert_close(rotation_about_z(quarter) @ torch.tensor([1.0, 0, 0], dtype=torch.float64), y)


def test_posture_is_taken_up_without_moving_the_tool():
    """The elbow comes home while the tool stays; without it, the elbow stays too."""
    away = HOME.clone()
    tool, _ = ARM.forward(HOME[None])
    joints = (HOME + torch.tensor([0.5, 0, 0, 0, 0, 0, 0]))[None]
    for _ in range(60):  # back to the tool's pose, with the first joint turned: the elbow is elsewhere now
        joints = solve_differential_ik(ARM, joints, tool[:, :3, 3], tool[:, :3, :3])
    free, held = joints.clone(), joints.clone()
    before = (joints - away).norm().item()
    assert before > 0.1
    for _ in range(80):
        held = solve_differential_ik(ARM, held, tool[:, :3, 3], tool[:, :3, :3], posture=HOME)
        free = solve_differential_ik(ARM, free, tool[:, :3, 3], tool[:, :3, :3])
        reached, _ = ARM.forward(held)
        assert (reached[:, :3, 3] - tool[:, :3, 3]).norm() < 2e-3
    assert (free - away).norm().item() > 0.9 * before
    assert (held - away).norm().item() < 0.3 * before
