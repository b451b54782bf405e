"""Scores, stages, features and resets of assembly tasks, by hand."""

import math

import mujoco
import pytest
import torch
from assembled import SOCKET_M, assembled

from robofb.envs import make_task
from robofb.envs.furniture.one_leg import LEG_START_M, TOP_START_M, OneLeg
from robofb.envs.furniture.square_table import HOLES, SquareTable
from robofb.envs.furniture.task import RANDOMNESS
from robofb.errors import UserError
from robofb.geometry import matrix_to_rot6d, quat_from_yaw, quat_to_matrix
from robofb.sim.vec_env import SimVecEnv


def one_leg(max_part_overlap_m=1.0, **settings) -> OneLeg:
    return OneLeg(max_part_overlap_m=max_part_overlap_m, **settings)


@pytest.mark.parametrize(
    ("shift_m", "tilt_rad", "success"),
    [
        ((0, 0, 0), 0.0, True),
        ((0.0049, -0.0049, 0.0049), 0.0, True),  # 5 mm along each axis, not in all
        ((0.0051, 0, 0), 0.0, False),
        ((0, -0.0051, 0), 0.0, False),
        ((0, 0, 0.0051), 0.0, False),
        ((0, 0, -0.0051), 0.0, False),
        ((0, 0, 0), 0.347, True),  # cosine 0.9404
        ((0, 0, 0), 0.350, False),  # cosine 0.9394
        ((0, 0, 0), math.pi, False),  # upside down
    ],
)
def test_success_by_hand(shift_m, tilt_rad, success):
    """The socket is turned by a third of a turn: offsets count along its own axes."""
    task = one_leg()
    score = task.score(assembled(task, shift_m, tilt_rad, socket_yaw_rad=2.0))
    assert score.success.item() is success
    assert score.achieved.item() == float(success)


@pytest.mark.parametrize(
    ("symmetry", "yaw_deg", "success"),
    [
        (0, 123.0, True),  # any heading
        (1, 19.0, True),  # cosine 0.9455
        (1, 21.0, False),  # cosine 0.9336
        (1, 180.0, False),
        (2, 180.0, True),
        (2, 199.0, True),
        (2, 201.0, False),
        (2, 90.0, False),
        (4, 90.0, True),
        (4, -71.0, True),
        (4, -69.0, False),
    ],
)
def test_headings_that_serve(symmetry, yaw_deg, success):
    task = one_leg()
    task._relations._symmetry = torch.tensor([float(symmetry)], dtype=torch.float64)
    score = task.score(assembled(task, yaw_rad=math.radians(yaw_deg), socket_yaw_rad=-0.7))
    assert score.success.item() is success


def test_a_pair_whose_axes_do_not_matter():
    task = one_leg()
    task._relations._any_axes = torch.tensor([True])
    assert task.score(assembled(task, tilt_rad=2.0)).success.item() is True
    assert task.score(assembled(task, (0.006, 0, 0), tilt_rad=2.0)).success.item() is False


def test_success_through_penetration_is_refused():
    """A leg 1.5 mm beside the axis is 1.0 mm in the wall of a hole with 0.5 mm of clearance."""
    for bound, success in ((0.0008, False), (0.0012, True)):
        task = one_leg(bound)
        score = task.score(assembled(task, (0.0015, 0, 0.002)))
        assert score.metrics["part_overlap"].item() == pytest.approx(0.001, abs=1e-4)
        assert score.success.item() is success
        assert score.metrics["refused"].item() is not success


@pytest.mark.parametrize(
    ("shift_m", "stage"),
    [
        ((0, 0, 0), 3),
        ((0, 0, 0.035), 2),  # tip 19 mm above the mouth
        ((0, 0, 0.037), 1),  # 21 mm
        ((0.0149, 0, 0.03), 2),
        ((0.0151, 0, 0.03), 1),  # beside the hole
        ((-0.2, 0, 0.03), 1),  # anywhere, 20 mm above where it lay: 33.25 + 30 - 15 = 48
        ((-0.2, 0, 0.0017), 0),  # 33.25 + 1.7 - 15 = 19.95 mm
    ],
)
def test_stages_by_hand(shift_m, stage):
    task = one_leg()
    assert task.score(assembled(task, shift_m)).stage.item() == stage


def test_a_part_that_falls_off_the_table_is_a_failure():
    task = one_leg()
    assert task.score(assembled(task, (0, 0, -0.05325))).failure.item() is False  # 20.0 mm below
    assert task.score(assembled(task, (0, 0, -0.0535))).failure.item() is True


def test_stages_of_several_pairs_count_in_order():
    """Three legs are in; the one that is not stops the count at its place, whichever it is."""
    task = SquareTable(max_part_overlap_m=1.0)
    for pair in range(4):
        score = task.score(assembled(task, (0, 0, 0.1), pair=pair))
        assert score.achieved.item() == 3.0
        assert score.success.item() is False
        assert score.stage.item() == 3 * pair + 1  # it is lifted
    score = task.score(assembled(task))
    assert score.success.item() is True and score.stage.item() == 12 and score.achieved.item() == 4.0
    assert len(task.spec.stages) == 12


def test_relative_features_by_hand():
    """The leg 3, -4, 10 mm from its seat, tilted by 0.05 about the socket's x, turned by 0.3."""
    task = one_leg()
    state = observed(task, assembled(task, (0.003, -0.004, 0.01), 0.05, 0.3, socket_yaw_rad=1.1))
    for axis, value in zip("xyz", (0.003, -0.004, 0.01), strict=True):
        assert state[f"leg_top_plug_socket_{axis}_tanh_1cm"] == pytest.approx(
            math.tanh(value / 0.01), abs=1e-5
        )
        assert state[f"leg_top_plug_socket_{axis}_tanh_4cm"] == pytest.approx(
            math.tanh(value / 0.04), abs=1e-5
        )
    assert state["leg_top_plug_tilt_socket_x_tanh_100mrad"] == pytest.approx(0.0, abs=1e-5)
    tilt_y = -math.sin(0.05)  # z turned about x goes to -y
    assert state["leg_top_plug_tilt_socket_y_tanh_100mrad"] == pytest.approx(
        math.tanh(tilt_y / 0.1), abs=1e-5
    )
    heading = math.atan2(math.sin(0.3) * math.cos(0.05), math.cos(0.3))
    assert state["leg_top_plug_heading_socket_cos"] == pytest.approx(math.cos(heading), abs=1e-5)
    squashed = math.tanh(math.sin(heading) / 0.1)
    assert state["leg_top_plug_heading_socket_sin_tanh_100mrad"] == pytest.approx(squashed, abs=1e-5)


def test_way_to_the_grasp_by_hand():
    """The hand at home looks down (TCP x is the base's x, y and z turned over)."""
    task = OneLeg()
    engine = assembled(task)
    engine.field("qpos")[0, task._arm_q] = task._home
    engine.forward(torch.tensor([0]))
    state = observed(task, engine)
    tcp = [state[f"ee_pos_base_{axis}"] for axis in "xyz"]
    grasp = [SOCKET_M[0] + 0.06, SOCKET_M[1] + 0.06, SOCKET_M[2] + 0.05]
    for axis, sign, want, have in zip("xyz", (1, -1, -1), grasp, tcp, strict=True):
        value = state[f"tcp_to_leg_grasp_tcp_{axis}_tanh_2cm_leg_top"]
        assert value == pytest.approx(math.tanh(sign * (want - have) / 0.02), abs=1e-3)


def test_heading_of_a_symmetric_pair_repeats():
    """With four headings a turn, 30 and 120 degrees look the same, and 45 is as far off as can be."""
    task = one_leg()
    task._relations._symmetry = torch.tensor([4.0], dtype=torch.float64)
    for yaw_deg, angle_deg in ((30.0, 120.0), (120.0, 120.0), (45.0, 180.0), (-60.0, 120.0)):
        state = observed(task, assembled(task, yaw_rad=math.radians(yaw_deg)))
        assert state["leg_top_plug_heading_socket_cos"] == pytest.approx(
            math.cos(math.radians(angle_deg)), abs=1e-5
        )


@pytest.mark.parametrize("task", [OneLeg("high"), SquareTable("high")], ids=lambda task: task.spec.task)
def test_complete_finds_what_the_sensors_measure(task):
    env = SimVecEnv(task, 6)
    seen = env.reset(2)["state"]
    blind = seen.clone()
    width = 13 * len(task.pairs)
    blind[:, -width:] = 0.0
    torch.testing.assert_close(task.complete(blind), seen, atol=2e-5, rtol=0)
    assert torch.equal(task.complete(blind)[:, :-width], seen[:, :-width])
    assert torch.equal(blind[:, -width:], torch.zeros(6, width))  # what was given is not changed


def test_complete_follows_a_part_that_is_moved():
    task = OneLeg()
    names = task.spec.obs["state"].names
    state = task.observe(assembled(task))["state"]
    moved = state.clone()
    moved[:, names.index("leg_pos_base_z")] += 0.01
    turn = quat_to_matrix(quat_from_yaw(torch.tensor(0.4)))
    at = names.index("leg_rot6d_base_0")
    moved[:, at : at + 6] = matrix_to_rot6d(turn)
    found = dict(zip(names, task.complete(moved)[0].tolist(), strict=True))
    assert found["leg_top_plug_socket_z_tanh_1cm"] == pytest.approx(math.tanh(1.0), abs=1e-4)
    squashed = math.tanh(math.sin(0.4) / 0.1)
    assert found["leg_top_plug_heading_socket_sin_tanh_100mrad"] == pytest.approx(squashed, abs=1e-4)


@pytest.mark.parametrize("level", RANDOMNESS)
def test_start_states_fill_their_ranges(level):
    """The frame moves by the level's range; the leg by half of it more, the top by a quarter."""
    env = SimVecEnv(OneLeg(level), 512)
    env.reset(0)
    task, ranges, qpos = env.task, RANDOMNESS[level], env.engine.field("qpos")
    frame = env.engine.field("mocap_pos")[:, 0, :2] - torch.tensor(task.obstacle_m).double()
    starts = (TOP_START_M, LEG_START_M)
    for row, (start, share, yaw_share) in enumerate(zip(starts, (0.25, 0.5), (0.2, 1.0), strict=True)):
        pose = qpos[:, task._part_q[row]]
        own = (pose[:, :2] - torch.tensor(start).double() - frame).abs().amax(0)
        assert (own <= share * ranges.part_xy_m + 1e-9).all()
        assert (own > 0.9 * share * ranges.part_xy_m).all()
        turned = quat_to_matrix(pose[:, 3:])[:, :2, 0]
        nominal = quat_to_matrix(task._start_quat[row])[:2, 0]
        angle = torch.acos((turned @ nominal).clamp(-1, 1))
        assert angle.max() <= yaw_share * ranges.part_yaw_rad + 1e-6
        assert angle.max() > 0.9 * yaw_share * ranges.part_yaw_rad
    assert (frame.abs().amax(0) <= ranges.part_xy_m).all()
    assert (frame.abs().amax(0) > 0.9 * ranges.part_xy_m).all()


@pytest.mark.parametrize("name", ["lamp", "one_leg", "round_table", "square_table"])
@pytest.mark.parametrize("level", ["med", "high"])
def test_no_part_starts_in_the_bars(name, level):
    env = SimVecEnv(make_task(name, randomness=level), 256)
    env.reset(0)
    model, qpos, mocap = env.engine.model, env.engine.field("qpos"), env.engine.field("mocap_pos")
    data, bars = mujoco.MjData(model), model.body("obstacle").id
    for world in range(256):
        data.qpos, data.mocap_pos = qpos[world].numpy(), mocap[world].numpy()
        mujoco.mj_forward(model, data)
        touched = (model.geom_bodyid[data.contact.geom] == bars).any(-1)
        assert data.contact.dist[touched].min(initial=0.0) > -1e-4


def test_lying_parts_stay_put():
    env = SimVecEnv(SquareTable("low"), 4)
    env.reset(0)
    rows = torch.cat([torch.arange(place.start, place.stop) for place in env.task._part_q])
    before = env.engine.field("qpos")[:, rows].clone()
    env.engine.step(240)
    assert (env.engine.field("qpos")[:, rows] - before).abs().max() < 1e-3


def test_bad_settings_are_named():
    with pytest.raises(UserError, match="max_steps=0: needs at least 1"):
        OneLeg(max_steps=0)
    with pytest.raises(UserError, match="perturbation=2: needs a chance, 0 to 1"):
        OneLeg(perturbation=2)


def test_every_hole_of_the_square_table_is_a_hole():
    """A leg over each seats itself with 0.5 mm of clearance all around."""
    for pair in range(len(HOLES)):
        task = SquareTable()
        engine = assembled(task, (0.0004, 0, 0.001), pair=pair)
        assert task.score(engine).metrics["part_overlap"].item() == 0.0
        engine = assembled(task, (0.0007, 0, 0.001), pair=pair)
        assert task.score(engine).metrics["part_overlap"].item() == pytest.approx(0.0002, abs=5e-5)


def observed(task, engine) -> dict[str, float]:
    return dict(zip(task.spec.obs["state"].names, task.observe(engine)["state"][0].tolist(), strict=True))
