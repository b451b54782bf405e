"""What a policy sees of an arm."""

from __future__ import annotations

import numpy as np
import pytest

from robofb.deploy.arms.arm import ArmState
from robofb.deploy.arms.ideal import IdealArm
from robofb.deploy.live.bench import SEEN, RealBench
from robofb.deploy.pose import Pose
from robofb.errors import UserError


def test_a_policy_sees_what_the_arm_says_in_the_order_of_its_names() -> None:
    half = np.sqrt(0.5)
    pose = Pose((0.1, 0.2, 0.3), (half, 0.0, 0.0, half))  # a quarter turn about z: x to y, y to -x
    state = ArmState(0.0, 1.0, pose, (0.5, 0.6), 0.25, (7.0, 8.0, 9.0))
    names = ("gripper", "ee_pos_base_z", "joint_pos_1", "joint_pos_6", "ee_force_base_y")
    seen = RealBench(IdealArm(), 50.0, names).observe(state)
    np.testing.assert_allclose(seen, [0.25, 0.3, 0.6, 0.0, 8.0], rtol=1e-6)
    whole = RealBench(IdealArm(), 50.0, SEEN).observe(state)
    np.testing.assert_allclose(whole[3:9], [0, 1, 0, -1, 0, 0], atol=1e-7)
    assert whole.dtype == np.float32


@pytest.mark.parametrize("names", [("ee_pos_base_x", "leg_pos_base_x"), ("joint_pos_7",), ()])
def test_what_no_arm_says_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="which no arm says; it says ee_pos_base_x, ") as error:
        RealBench(IdealArm(), 50.0, names)
    assert "\n" not in str(error.value)
