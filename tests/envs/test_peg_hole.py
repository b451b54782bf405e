"""The keyed pair's arithmetic by hand, the play between peg and hole, and the expert."""

import math

import pytest
import torch
from placing import placed, play

from robofb.envs.furniture.peg_hole import BLOCK, PEG_SHAPE, PegHole
from robofb.geometry import quat_from_axis_angle, quat_multiply

BLOCK_M = torch.tensor([0.5, 0.1, BLOCK.height_m + BLOCK.clearance_below_m])
UPRIGHT = torch.tensor([1.0, 0, 0, 0])


def scene(shift_m=(0.0, 0.0, 0.0), yaw_rad: float = 0.0, tilt_rad: float = 0.0, **settings):
    """Put the peg into the hole, seated, then displaced; turned about z first, then about x."""
    task = PegHole(**settings)
    axes, angles = torch.tensor([[0.0, 0, 1], [1.0, 0, 0]]), torch.tensor([yaw_rad, tilt_rad])
    yaw, tilt = quat_from_axis_angle(axes, angles)
    peg = (BLOCK_M + torch.tensor(shift_m), quat_multiply(tilt, yaw))
    return task, placed(task, {"block": (BLOCK_M, UPRIGHT), "peg": peg})


@pytest.mark.parametrize(
    ("shift_m", "yaw_rad", "tilt_rad", "seated"),
    [
        ((0, 0, 0), 0.0, 0.0, True),
        ((0, 0, 0.0049), 0.0, 0.0, True),
        ((0, 0, 0.0051), 0.0, 0.0, False),
        ((0.0049, -0.0049, 0.0049), 0.0, 0.0, True),
        ((0.0051, 0, 0), 0.0, 0.0, False),
        ((0, 0, 0), math.pi, 0.0, True),  # the other heading that fits
        ((0, 0, 0), math.pi / 2, 0.0, False),
        ((0, 0, 0), 0.34, 0.0, True),  # cosine 0.943
        ((0, 0, 0), 0.36, 0.0, False),  # cosine 0.936
        ((0, 0, 0), math.pi - 0.34, 0.0, True),
        ((0, 0, 0), math.pi + 0.36, 0.0, False),
        ((0, 0, 0), 0.0, 0.34, True),
        ((0, 0, 0), 0.0, 0.36, False),
    ],
)
def test_success_by_hand(shift_m, yaw_rad, tilt_rad, seated):
    task, engine = scene(shift_m, yaw_rad, tilt_rad, max_part_overlap_m=1.0)
    score = task.score(engine)
    assert score.success.item() is seated
    assert score.achieved.item() == float(seated)
    assert score.stage.item() == (3 if seated else 2)


@pytest.mark.parametrize(
    ("shift_m", "touches"),
    [
        ((0.00010, 0, 0.001), False),  # 16.22 - 16 mm: 0.11 mm on each side
        ((0.00012, 0, 0.001), True),
        ((-0.00012, 0, 0.001), True),
        ((0, 0.00007, 0.001), False),  # 10.16 - 10 mm: 0.08 mm
        ((0, 0.00009, 0.001), True),
        ((0, 0, 0.00005), False),
        ((0, 0, -0.00005), True),  # the floor
    ],
)
def test_play_between_peg_and_hole(shift_m, touches):
    task, engine = scene(shift_m)
    assert (task.score(engine).metrics["part_overlap"].item() > 0) is touches


def test_success_through_a_wall_is_refused():
    for shift, overlap in ((0.00035, 0.00024), (0.00045, 0.00034)):  # less 0.11 mm of play
        task, engine = scene((shift, 0, 0.001))
        score = task.score(engine)
        assert score.metrics["part_overlap"].item() == pytest.approx(overlap, abs=5e-6)
        assert score.success.item() is (overlap < 0.0003)
        assert score.metrics["refused"].item() is (overlap > 0.0003)


@pytest.mark.parametrize("turns", [0, 1])
def test_relative_features_by_hand(turns):
    """Half a turn changes none of them."""
    task, engine = scene((0.003, -0.004, 0.010), yaw_rad=0.05 + turns * math.pi)
    state = dict(zip(task.spec.obs["state"].names, task.observe(engine)["state"][0].tolist(), strict=True))
    for axis, value in (("x", 0.003), ("y", -0.004), ("z", 0.010)):
        for name, scale in (("5mm", 0.005), ("3cm", 0.030)):
            found = state[f"peg_block_plug_socket_{axis}_tanh_{name}"]
            assert found == pytest.approx(math.tanh(value / scale), abs=1e-4)
    assert state["peg_block_plug_heading_socket_cos"] == pytest.approx(math.cos(0.1), abs=1e-4)
    sine = state["peg_block_plug_heading_socket_sin_tanh_100mrad"]
    assert sine == pytest.approx(math.tanh(math.sin(0.1) / 0.1), abs=1e-4)


@pytest.mark.parametrize(("force_n", "axis"), [(15.0, 0), (-15.0, 0), (15.0, 1), (-15.0, 1)])
def test_walls_hold_against_a_push(force_n, axis):
    """Pushed against a wall at the mouth, the peg moves by the play and sinks 0.02 mm in."""
    task, engine = scene()
    push, peg, block = engine.field("xfrc_applied"), task.model.body("peg").id, task.model.body("block").id
    assert PEG_SHAPE.size_m[2] / 2 == PEG_SHAPE.depth_m  # its centre, where the push acts, is at the mouth
    for newton in torch.linspace(0.0, force_n, 100).tolist():
        push[0, peg, axis], push[0, block, axis] = newton, -newton
        engine.step(4)
    for _ in range(20):
        engine.step(4)
        assert task.score(engine).metrics["part_overlap"].item() < 0.00002
    play_m = (0.00011, 0.00008)[axis]
    assert play_m < abs(task._relations.measure(engine)[0].place[0, 0, axis].item()) < play_m + 0.00002


def test_released_over_the_hole_the_peg_sinks_in():
    task, engine = scene((0.00005, 0.00003, 0.020))
    assert task.score(engine).success.item() is False
    engine.step(240)
    assert task.score(engine).success.item() is True


def test_standing_parts_stay_put():
    task = PegHole()
    poses = {part.name: (torch.tensor(part.start_m), torch.tensor(part.start_quat)) for part in task.parts}
    engine = placed(task, poses)
    before = engine.field("qpos")[0, 9:].clone()
    engine.step(480)
    assert (engine.field("qpos")[0, 9:] - before).abs().max() < 2e-4


def test_expert_solves_it_whatever_the_batch():
    success, length = play(PegHole(), 8, 0.5)
    assert success.sum() >= 7
    few_success, few_length = play(PegHole(), 2, 0.5)
    assert few_success.tolist() == success[:2].tolist() and few_length.tolist() == length[:2].tolist()
