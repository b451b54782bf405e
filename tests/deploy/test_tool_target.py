"""From twists to tool poses: integration, limits, and no jump."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from robofb.deploy.cell import CellState
from robofb.deploy.teleop.fake import FAKE_SPEC
from robofb.deploy.tool_target import ToolTarget
from robofb.types import TeleopCommand

DT_S = 0.1


def state(position=(0.0, 0.0, 0.0), rotation=None, gripper=-1.0):
    rotation = np.eye(3) if rotation is None else rotation
    return CellState({}, 0.0, np.array(position, float), rotation, gripper)


def command(*twist, gripper=0.0):
    return TeleopCommand(np.array([*twist, *[0.0] * (6 - len(twist))]), gripper, True)


def target(**limits):
    made = ToolTarget(FAKE_SPEC.action, **limits)
    made.reset(state())
    return made


def matrix(action):
    x, y = action[3:6], action[6:9]
    return np.stack([x, y, np.cross(x, y)], -1)


def test_a_twist_moves_and_turns_as_worked_by_hand():
    action = target().move(command(0.2, 0, -0.1, 0, 0, 1.0), DT_S, state())
    assert action.dtype == np.float32
    np.testing.assert_allclose(action[:3], [0.02, 0, -0.01], atol=1e-7)
    cosine, sine = math.cos(0.1), math.sin(0.1)
    np.testing.assert_allclose(action[3:9], [cosine, sine, 0, -sine, cosine, 0], atol=1e-7)
    assert action[9] == -1


def test_turns_about_the_axes_of_the_base_not_of_the_tool():
    tipped = Rotation.from_euler("x", 90, degrees=True).as_matrix()
    aim = ToolTarget(FAKE_SPEC.action)
    aim.reset(state(rotation=tipped))
    action = aim.move(command(0, 0, 0, 0, 0, 1.0), DT_S, state(rotation=tipped))
    expected = Rotation.from_rotvec([0, 0, 0.1]).as_matrix() @ tipped
    np.testing.assert_allclose(matrix(action), expected, atol=1e-6)


def test_a_blocked_arm_does_not_wind_the_target_up():
    aim = target(lead_m=0.05, lead_rad=0.2)
    for _ in range(50):
        action = aim.move(command(0.3, 0, 0, 0, 1.0, 0), DT_S, state())
    np.testing.assert_allclose(action[:3], [0.05, 0, 0], atol=1e-7)
    assert np.linalg.norm(Rotation.from_matrix(matrix(action)).as_rotvec()) == pytest.approx(0.2, abs=1e-6)
    action = aim.move(command(-0.3), DT_S, state())  # turning round takes effect at once
    np.testing.assert_allclose(action[:3], [0.02, 0, 0], atol=1e-7)


def test_stays_in_the_workspace():
    aim = target()
    action = aim.move(command(0.3), DT_S, state((0.99, 0, 0)))
    aim.engage(state((0.99, 0, 0)))
    action = aim.move(command(0.3), DT_S, state((0.99, 0, 0)))
    assert action[0] == 1.0


def test_speeds_are_limited_without_bending_the_way():
    aim = target(max_speed_m_s=0.1, max_turn_rad_s=0.5)
    action = aim.move(command(3.0, 4.0, 0, 0, 0, 50.0), DT_S, state())
    np.testing.assert_allclose(action[:3], [0.006, 0.008, 0], atol=1e-7)
    np.testing.assert_allclose(Rotation.from_matrix(matrix(action)).as_rotvec(), [0, 0, 0.05], atol=1e-6)


def test_taking_hold_starts_from_where_the_arm_is():
    aim = target()
    moved = state((0.3, -0.2, 0.1), Rotation.from_rotvec([0.4, 0, 0]).as_matrix())
    aim.engage(moved)
    action = aim.move(command(), DT_S, moved)
    np.testing.assert_allclose(action[:3], [0.3, -0.2, 0.1], atol=1e-7)
    np.testing.assert_allclose(matrix(action), moved.tool_rotation_base, atol=1e-6)


def test_sag_does_not_add_up_over_many_holds():
    aim = target()
    for _ in range(100):  # the arm hangs 2 mm below whatever it is told
        sagging = state((0, 0, float(aim.pose.pos_base_m[2]) - 0.002))
        aim.engage(sagging)
        action = aim.move(command(), DT_S, sagging)
    np.testing.assert_allclose(action[:3], 0.0, atol=1e-7)


def test_the_gripper_keeps_what_it_was_told():
    aim = target()
    told = [0.0, 1.0, 0.0, -0.5, 0.0]
    assert [aim.move(command(gripper=g), DT_S, state())[9] for g in told] == [-1, 1, 1, -1, -1]


@given(st.lists(st.tuples(*[st.floats(-50, 50)] * 6), min_size=1, max_size=20))
def test_whatever_is_commanded_stays_near_the_arm_and_is_a_rotation(twists):
    aim = target()
    for twist in twists:
        action = aim.move(command(*twist), DT_S, state()).astype(float)
        assert np.isfinite(action).all()
        assert np.linalg.norm(action[:3]) <= aim.lead_m + 1e-6
        turned = matrix(action)
        np.testing.assert_allclose(turned.T @ turned, np.eye(3), atol=1e-5)
        assert np.linalg.norm(Rotation.from_matrix(turned).as_rotvec()) <= aim.lead_rad + 1e-5
