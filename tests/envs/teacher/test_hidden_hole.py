"""The hidden hole: what is felt, what is hidden, and who finds it."""

import math

import mujoco
import numpy as np
import pytest
import torch
from taught_rollouts import one_thread, play, rate
from taught_rules import HOLES_M, on_average, sweep

from robofb.envs.teacher.felt_peg import PEG_REACH_M, WRIST_JOINTS
from robofb.envs.teacher.hidden_hole import BLOCK, MAX_OFFSET_M, ROOM, STATE_NAMES, HiddenHole
from robofb.errors import UserError
from robofb.sim.engine import joint_indices
from robofb.sim.vec_env import SimVecEnv
from robofb.types import PRIVILEGED

ONE = torch.tensor([0])
WRENCH = slice(9, 15)
DOWN = torch.tensor([[0.0, 0.0, -1.0]])


@pytest.fixture(scope="module")
def task():
    return HiddenHole()


def started(offset_m, seed=0):
    """Return an env of one world whose hole is off by this much, and what is seen."""
    env = SimVecEnv(HiddenHole(offsets_m=[offset_m]), 1, one_thread)
    return env, env.reset(seed)


def pressed(offset_m, steps=12):
    """Return an env in which the peg is pressed onto the middle of where the hole may be."""
    env, obs = started(offset_m)
    env.task.place_hand(env.engine, ONE, torch.tensor([[0.0, 0.0, 0.004]]))
    env.engine.forward(ONE)
    for _ in range(steps):
        obs = env.step(DOWN).final_obs
    return env, obs


def test_the_wrench_is_what_bends_the_wrist(task):
    """1 mm of 20 N/mm is 20 N, twice 10 N; 10 mrad of 30 N m/rad is 0.3 N m."""
    env, obs = started(0.0)
    assert obs["state"][0, WRENCH].abs().max() == 0
    q, _ = joint_indices(env.engine.model, WRIST_JOINTS)
    env.engine.field("qpos")[0, torch.from_numpy(q)[[2, 3]].long()] = torch.tensor([-0.001, 0.01]).double()
    wrench = env.task.observe(env.engine)["state"][0, WRENCH]
    expected = [0, 0, -math.tanh(2.0), math.tanh(1.0), 0, 0]
    torch.testing.assert_close(wrench, torch.tensor(expected), atol=1e-6, rtol=0)
    assert STATE_NAMES[11] == "peg_force_tcp_z_tanh_10n" and STATE_NAMES[12].endswith("x_tanh_300mnm")


def test_a_pressed_peg_feels_its_contact_and_rests():
    """Its spring carries what MuJoCo says that the contacts do; it neither sinks in nor chatters."""
    env, obs = pressed(0.010)
    forces = []
    for _ in range(6):
        obs = env.step(torch.zeros(1, 3)).final_obs
        forces.append(10 * math.atanh(float(obs["state"][0, 11])))
    model, data = env.engine.model, mujoco.MjData(env.engine.model)
    mujoco.mj_setState(model, data, env.engine.snapshot()[0].numpy(), mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_forward(model, data)
    total, one = np.zeros(3), np.zeros(6)
    for index in range(data.ncon):
        mujoco.mj_contactForce(model, data, index, one)
        total += data.contact[index].frame.reshape(3, 3).T @ one[:3]
    assert abs(total[2]) == pytest.approx(-forces[-1], rel=0.02)
    assert 15 < -forces[-1] < 40 and np.ptp(forces) < 0.2
    tip_m, overlap = env.engine.field("sensordata")[0, env.task._score_columns].split([3, 1])
    assert abs(tip_m[2]) < 2e-5 and abs(overlap) < 2e-5


def test_only_the_privileged_view_differs_until_the_hole_is_felt():
    """Same start, holes 16 mm apart: above the block and pressed onto its middle all is alike."""
    seen = []
    for offset in (-0.008, 0.008):
        _, obs = started(offset)
        _, after = pressed(offset)
        seen.append((obs, after))
    (left, left_pressed), (right, right_pressed) = seen
    assert torch.equal(left["state"], right["state"])
    torch.testing.assert_close(left_pressed["state"], right_pressed["state"], atol=2e-3, rtol=0)
    assert left[PRIVILEGED].item() == pytest.approx(-0.008) == -right[PRIVILEGED].item()


def test_offsets_are_drawn_evenly(task):
    env = SimVecEnv(task, 512, one_thread)
    offset = env.reset(0)[PRIVILEGED][:, 0]
    assert offset.abs().max() <= MAX_OFFSET_M
    share = torch.histc(offset, 4, -MAX_OFFSET_M, MAX_OFFSET_M) / 512
    assert (share - 0.25).abs().max() < 0.06  # three deviations of a binomial
    some = SimVecEnv(HiddenHole(offsets_m=[-0.006, 0.003]), 512, one_thread).reset(0)[PRIVILEGED][:, 0]
    near = (some - torch.tensor([[-0.006], [0.003]])).abs() < 1e-6
    assert near.any(0).all() and abs(near[0].float().mean() - 0.5) < 0.07


@pytest.mark.parametrize("offsets", [[], [0.011], [0.0, float("nan")]])
def test_offsets_outside_the_room_are_refused(offsets):
    with pytest.raises(UserError, match="offsets_m="):
        HiddenHole(offsets_m=offsets)


@pytest.mark.parametrize(
    ("height_m", "stage"), [(0.001, 0), (0.0, 1), (-0.0005, 1), (-0.002, 2), (-0.0089, 2), (-0.0091, 3)]
)
def test_stages_by_the_height_of_the_tip(height_m, stage):
    """60 % of 15 mm is 9 mm."""
    env, _ = started(0.004)
    env.task.place_hand(env.engine, ONE, torch.tensor([[0.0, 0.004, height_m]]))
    env.engine.forward(ONE)
    score = env.task.score(env.engine)
    assert score.stage.item() == stage and score.success.item() == (stage == 3) == bool(score.achieved)
    assert not score.failure


def test_a_success_through_overlap_is_refused():
    env, _ = started(0.0)
    env.task.place_hand(env.engine, ONE, torch.tensor([[0.0, 0.0, -0.010]]))
    env.engine.forward(ONE)
    env.engine.field("sensordata")[0, env.task._score_columns[3]] = -0.0004
    score = env.task.score(env.engine)
    assert not score.success and score.metrics["refused"]
    assert score.metrics["part_overlap"].item() == pytest.approx(0.0004)


def test_the_tip_is_where_the_name_of_the_state_says():
    """At 0 above the nominal hole the tip is in the plane of the block's face."""
    env, _ = started(0.0)
    env.task.place_hand(env.engine, ONE, torch.zeros(1, 3))
    env.engine.forward(ONE)
    assert env.task.observe(env.engine)["state"][0, :9].abs().max() < 1e-5
    tip = env.engine.field("sensordata")[0, env.task._score_columns[:3]]
    assert tip.abs().max() < 1e-5
    assert PEG_REACH_M + BLOCK.height_m + BLOCK.clearance_below_m == pytest.approx(ROOM.origin_m[2])


@pytest.mark.parametrize("height_m", [0.002, -0.002])
def test_who_averages_the_teachers_answers_goes_to_the_middle_and_fails(height_m):
    task = HiddenHole(teacher_height_m=height_m)
    rule = on_average(task, HOLES_M)
    assert rate(task, rule, 64) < 0.15
    assert rate(task, task.teacher().answer, 64) > 0.95


def test_the_hole_can_be_found_by_feel(task):
    found = play(task, sweep, 64)
    assert found["success"].float().mean() > 0.9
    assert found["part_overlap"].max() < 0.001


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("offsets_m", 0.004),
        ("min_depth_share", 2.0),
        ("min_depth_share", 0.0),
        ("teacher_height_m", float("nan")),
        ("teacher_height_m", 9.0),
        ("max_part_overlap_m", -1.0),
    ],
)
def test_values_without_meaning_are_named(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{name}={value}: (needs|must)"):
        HiddenHole(**{name: value})
