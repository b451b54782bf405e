"""What a policy sees of an arm."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from robofb.deploy.arms.arm import ArmState, ArmTarget
from robofb.deploy.arms.ideal import IdealArm
from robofb.deploy.arms.sim import SimArm
from robofb.deploy.live.bench import SEEN, RealBench, SimBench, check_names, set_points_in
from robofb.deploy.pose import Pose
from robofb.envs import make_task
from robofb.errors import UserError
from robofb.sim.vec_env import SimVecEnv


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


def test_what_no_arm_says_is_counted_where_it_is_much() -> None:
    with pytest.raises(UserError, match="wants to see a, b, c and 2 more, which no arm says"):
        check_names(("a", "ee_pos_base_x", "b", "c", "d", "e"))


def test_a_control_step_takes_a_whole_number_of_set_points() -> None:
    assert set_points_in(0.1, 0.01) == 10 and set_points_in(0.1, 0.1) == 1
    for control_dt_s, hz in ((0.1, 25.0), (0.1, 1.0), (0.05, 10.0)):
        with pytest.raises(UserError, match=f"control_hz={hz:g}: a control step of {control_dt_s:g} s"):
            set_points_in(control_dt_s, 1.0 / hz)


def test_a_simulated_bench_has_a_clock_of_its_own_that_never_goes_back() -> None:
    env = SimVecEnv(make_task("one_leg_insert"), 1, autoreset=False)
    with closing(SimArm(env, 4)) as arm:
        bench = SimBench(arm)
        bench.begin(3)
        start_s, state = bench.now_s(), arm.state()
        seen = bench.observe(state).copy()
        for part in range(1, 6):
            arm.command(ArmTarget(arm.home, -1.0))
            assert bench.now_s() == pytest.approx(start_s + part * 0.1 / 4)
        assert bench.verdict() == ""
        np.testing.assert_array_equal(bench.observe(state), arm.obs["state"][0].numpy())
        before_s = bench.now_s()
        bench.begin(3)
        assert bench.now_s() == pytest.approx(before_s + bench.dt_s)
        np.testing.assert_array_equal(bench.observe(arm.state()), seen)  # the same episode again
