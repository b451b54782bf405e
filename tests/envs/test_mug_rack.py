"""Hanging by hand-worked poses, hanging by physics, and the expert."""

import math

import mujoco
import numpy as np
import pytest
import torch
from placing import placed, play

from robofb.envs.furniture.mug_rack import HUNG_M, LAID_M, MUG, RACK, TIP_M, UPRIGHT, MugRack
from robofb.geometry import quat_from_axis_angle, quat_multiply, quat_to_matrix

RACK_M, STANDING = torch.tensor([0.5, 0.2, 0.0]), torch.tensor(UPRIGHT)
# The peg's place for a mug: rack's y is up, its z points along -y of the base.
PEG_M = RACK_M + torch.tensor([0.0, TIP_M - RACK.tip_z_m, RACK.peg_height_m])


def scene(shift_m=(0.0, 0.0, 0.0), turn_rad: float = 0.0, tilt_rad: float = 0.0, at=HUNG_M, **settings):
    """Hang the mug on the peg, displaced; turned about the peg, and tilted about the vertical."""
    task = MugRack(**settings)
    axes, angles = torch.tensor([[0.0, -1, 0], [0.0, 0, 1]]), torch.tensor([turn_rad, tilt_rad])
    turn, tilt = quat_from_axis_angle(axes, angles)
    quat = quat_multiply(tilt, quat_multiply(turn, STANDING))
    mug_m = PEG_M + torch.tensor(shift_m) - quat_to_matrix(quat) @ torch.tensor(at)
    return task, placed(task, {"rack": (RACK_M, STANDING), "mug": (mug_m, quat)})


@pytest.mark.parametrize(
    ("shift_m", "turn_rad", "tilt_rad", "hung"),
    [
        ((0, 0, 0), 0.0, 0.0, True),
        ((0, 0, 0), 1.4, 0.0, True),  # turned about the peg: as it hangs free
        ((0, 0, 0), -2.0, 0.0, True),
        ((0.0049, 0.0049, 0.0049), 0.0, 0.0, True),
        ((0.0051, 0, 0), 0.0, 0.0, False),
        ((0, -0.0051, 0), 0.0, 0.0, False),
        ((0, 0, 0.0051), 0.0, 0.0, False),
        ((0, 0, 0), 0.0, 0.34, True),  # cosine 0.943
        ((0, 0, 0), 0.0, -0.36, False),  # cosine 0.936
        ((0, 0, 0), 0.0, math.pi, False),  # the handle the wrong way round
    ],
)
def test_success_by_hand(shift_m, turn_rad, tilt_rad, hung):
    task, engine = scene(shift_m, turn_rad, tilt_rad, max_part_overlap_m=1.0)
    score = task.score(engine)
    assert score.success.item() is hung
    assert score.achieved.item() == float(hung)


def test_hanging_through_the_handle_is_refused():
    task, engine = scene((0, 0, -0.003))  # the upper bar sinks 3 mm into the peg
    score = task.score(engine)
    assert score.metrics["part_overlap"].item() == pytest.approx(0.003, abs=1e-5)
    assert score.success.item() is False and score.metrics["refused"].item() is True


def test_relative_features_by_hand():
    task, engine = scene((0.003, -0.004, 0.010))
    state = dict(zip(task.spec.obs["state"].names, task.observe(engine)["state"][0].tolist(), strict=True))
    for axis, value in (("x", 0.003), ("y", 0.010), ("z", 0.004)):  # the rack's y is up, its z is -y
        for name, scale in (("1cm", 0.01), ("4cm", 0.04)):
            found = state[f"mug_rack_plug_socket_{axis}_tanh_{name}"]
            assert found == pytest.approx(math.tanh(value / scale), abs=1e-4)
    assert state["mug_rack_plug_tilt_socket_x_tanh_100mrad"] == pytest.approx(0.0, abs=1e-5)


def test_laid_on_the_peg_and_let_go_the_mug_hangs():
    """It swings about the peg, which finds the corner of the handle, and stays assembled."""
    task, engine = scene((0, 0, 0.0005), at=LAID_M)
    engine.step(480)
    score = task.score(engine)
    assert score.success.item() is True
    assert score.metrics["part_overlap"].item() < 0.0005
    below = engine.field("qpos")[0, task._part_q[1]][2] < PEG_M[2] - 0.04
    assert below.item() is True


def test_rack_and_mug_have_their_dimensions():
    model = MugRack().model
    for body, size_m in (("rack", RACK.size_m), ("mug", (None, MUG.height_m, 2 * MUG.radius_m))):
        corners = [_corners(model, geom) for geom in np.flatnonzero(model.geom_bodyid == model.body(body).id)]
        extent = np.ptp(np.concatenate(corners), axis=0)
        for found, wanted in zip(extent, size_m, strict=True):
            assert wanted is None or found == pytest.approx(wanted, abs=1e-6)


def _corners(model: mujoco.MjModel, geom: int) -> np.ndarray:
    """Return the extreme points of a geom along the axes of its body's frame."""
    turn = np.empty(9)
    mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
    turn, size, place = turn.reshape(3, 3), model.geom_size[geom], model.geom_pos[geom]
    axis = np.abs(turn[:, 2])
    half = {
        mujoco.mjtGeom.mjGEOM_SPHERE: np.full(3, size[0]),
        mujoco.mjtGeom.mjGEOM_BOX: np.abs(turn) @ size,
        mujoco.mjtGeom.mjGEOM_CAPSULE: axis * size[1] + size[0],
        mujoco.mjtGeom.mjGEOM_CYLINDER: axis * size[1] + size[0] * np.sqrt(np.maximum(1 - axis**2, 0)),
    }[mujoco.mjtGeom(model.geom_type[geom])]
    return np.stack([place - half, place + half])


def test_expert_solves_it_whatever_the_batch():
    success, length = play(MugRack(), 8, 0.5)
    assert success.sum() >= 7
    few_success, few_length = play(MugRack(), 2, 0.5)
    assert few_success.tolist() == success[:2].tolist() and few_length.tolist() == length[:2].tolist()
