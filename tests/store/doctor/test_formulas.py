"""The formulas behind the checks, by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robofb.geometry import quat_from_axis_angle, quat_to_rot6d
from robofb.store.doctor.actions import gripper_changes
from robofb.store.doctor.finding import robust_scale, runs
from robofb.store.doctor.motion import command_lag
from robofb.store.doctor.poses import angles


def test_runs_by_hand():
    assert runs([0, 1, 1, 0, 1]) == [(1, 2), (4, 4)]
    assert runs([]) == []


@given(st.lists(st.booleans(), max_size=30))
def test_runs_cover_exactly_what_is_true(mask):
    covered = [index for first, last in runs(mask) for index in range(first, last + 1)]
    assert covered == [index for index, value in enumerate(mask) if value]


def test_robust_scale_by_hand():
    # Median 3; distances 2, 1, 0, 1, 97 have the median 1.
    middle, scale = robust_scale(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    assert middle == 3.0
    assert scale == pytest.approx(1.4826)


@pytest.mark.parametrize("angle", [1e-6, 0.02, 1.0, 3.14])
def test_angles_between_rotations_however_they_are_written(angle):
    axis = torch.tensor([[0.6, 0.0, 0.8]] * 3, dtype=torch.float64)
    quat = quat_from_axis_angle(axis, torch.tensor([0.3, 0.3 + angle, 0.3], dtype=torch.float64))
    assert angles(quat_to_rot6d(quat).numpy()) == pytest.approx([angle, angle], rel=1e-4)
    assert angles(quat.numpy()) == pytest.approx([angle, angle], rel=1e-3)


def test_gripper_changes_by_hand():
    assert gripper_changes(np.array([-1, -1, 1, 1, -1])) == [2, 4]
    assert gripper_changes(np.array([0.0, 0.6, 0.4, 1.0, 0.6, 0.0])) == [3, 5]  # the middle says nothing
    assert gripper_changes(np.array([1.0, 1.0])) == []


@given(st.integers(-4, 10), st.integers(0, 2**31))
def test_the_lag_of_a_delayed_copy(lag, seed):
    walk = np.random.default_rng(seed).normal(scale=0.01, size=(80, 3)).cumsum(0)
    measured = walk[20:61]
    assert command_lag(walk[20 + lag : 60 + lag], measured) == pytest.approx(lag, abs=0.5)


def test_an_arm_at_rest_has_no_lag():
    assert command_lag(np.zeros((40, 3)), np.zeros((41, 3))) is None
