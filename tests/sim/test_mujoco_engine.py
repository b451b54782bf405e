"""The engine against plain MuJoCo, and its promises: any thread count, exact snapshots, no silent NaN."""

import mujoco
import numpy as np
import pytest
import torch

from robofb.envs.furniture.one_leg_insert import OneLegInsert
from robofb.interfaces import Engine
from robofb.sim.engine import free_joint_slices, world_ids
from robofb.sim.mujoco_engine import MujocoEngine


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return OneLegInsert().build()


def start(engine: MujocoEngine) -> None:
    """Give every world another arm pose, so that worlds differ."""
    home = OneLegInsert()._home
    spread = torch.linspace(-0.1, 0.1, engine.num_worlds, dtype=torch.float64)[:, None]
    engine.field("qpos")[:, :7] = home + spread
    engine.field("act")[:, :7] = home - spread
    engine.forward(torch.arange(engine.num_worlds))


def test_satisfies_the_protocol(model):
    assert isinstance(MujocoEngine(model, 1), Engine)


def test_equals_a_plain_loop_of_mj_step(model):
    engine = MujocoEngine(model, 3, num_threads=2)
    start(engine)
    expected = []
    for world in range(3):
        data = mujoco.MjData(model)
        state = engine.snapshot(torch.tensor([world]))[0].numpy()
        mujoco.mj_setState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        for _ in range(24):
            mujoco.mj_step(model, data)
        expected.append(data.qpos.copy())
    engine.step(12)
    engine.step(12)
    np.testing.assert_array_equal(engine.field("qpos").numpy(), np.stack(expected))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_thread_count_does_not_change_a_bit(model, threads):
    engine, reference = MujocoEngine(model, 7, num_threads=threads), MujocoEngine(model, 7, num_threads=1)
    for each in (engine, reference):
        start(each)
        each.step(60)
    assert torch.equal(engine.snapshot(), reference.snapshot())


def test_snapshot_restores_bit_for_bit_into_any_world(model):
    engine = MujocoEngine(model, 4)
    start(engine)
    engine.step(30)
    saved = engine.snapshot()
    engine.step(40)
    after = engine.snapshot()
    engine.restore(torch.arange(4).flip(0), saved)
    engine.step(40)
    assert torch.equal(engine.snapshot().flip(0), after)


def test_derived_fields_are_current_after_step(model):
    engine = MujocoEngine(model, 2)
    start(engine)
    sensors = engine.field("sensordata")
    engine.step(12)
    data = mujoco.MjData(model)
    mujoco.mj_setState(model, data, engine.snapshot()[1].numpy(), mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(sensors[1, :3].numpy(), data.site("tcp").xpos, atol=1e-12)


def test_partial_reset_leaves_the_others_alone(model):
    engine = MujocoEngine(model, 3)
    start(engine)
    engine.step(10)
    before = engine.snapshot()
    engine.reset(torch.tensor([1]))
    engine.forward(torch.tensor([1]))
    after = engine.snapshot()
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    np.testing.assert_array_equal(engine.field("qpos")[1].numpy(), model.qpos0)


def test_reports_each_divergence_once_with_and_without_resets(model):
    engine = MujocoEngine(model, 3)
    for reset in (True, False, True):
        engine.field("qvel")[2, 0] = float("nan")
        engine.step(1)
        assert engine.diverged().tolist() == [False, False, True]
        engine.step(1)
        assert engine.diverged().tolist() == [False, False, False]
        if reset:
            engine.reset(torch.tensor([2]))
            engine.forward(torch.tensor([2]))


def test_wrong_sizes_are_refused(model):
    engine = MujocoEngine(model, 2)
    with pytest.raises(ValueError, match="state must be"):
        engine.restore(torch.tensor([0]), engine.snapshot())
    with pytest.raises(ValueError, match=r"0\.\.1"):
        engine.snapshot(torch.tensor([2]))
    with pytest.raises(ValueError, match="at least 1"):
        MujocoEngine(model, 0)
    engine.close()
    engine.close()


def test_addresses(model):
    where, velocity = free_joint_slices(model, "leg")
    assert where.stop - where.start == 7 and velocity.stop - velocity.start == 6
    with pytest.raises(ValueError, match="no free joint"):
        free_joint_slices(model, "hand")
    mask = torch.tensor([True, False, True])
    assert world_ids(mask, 3, torch.device("cpu")).tolist() == [0, 2]
