"""Hold every engine that has a config to the contract of `interfaces.Engine`."""

import mujoco
import numpy as np
import pytest
import torch
from engine_scene import BOX_KG, DT_S, GRAVITY_M_S2, NAMES, make_engine, scene

from robofb.interfaces import Engine
from robofb.rng import EpisodeRng, derive_seeds
from robofb.sim.randomization import DomainRandomization

ALL = torch.arange(3)
STEPS = 20
FLOATING_M = 1.0  # a height without contact


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def engine(name):
    engine = make_engine(name, scene(), 3)
    yield engine
    engine.close()


def fallen_m(acceleration_m_s2, steps=STEPS):
    """Return how far semi-implicit Euler goes: sum of i a dt^2."""
    return acceleration_m_s2 * DT_S**2 * steps * (steps + 1) / 2


def lift_box(engine):
    engine.field("qpos")[:, 2] = FLOATING_M
    engine.forward(ALL)


def box_height(engine):
    return engine.field("qpos")[:, 2].double().clone()


def rng(*seeds):
    return EpisodeRng(derive_seeds(torch.tensor(seeds), 1))


def test_is_an_engine(engine):
    assert isinstance(engine, Engine)
    assert engine.num_worlds == 3 and engine.model is scene()


def test_fields_have_the_shapes_of_mjdata(engine):
    data = mujoco.MjData(scene())
    for field in (
        "qpos",
        "qvel",
        "act",
        "ctrl",
        "sensordata",
        "xfrc_applied",
        "mocap_pos",
        "mocap_quat",
        "xmat",
    ):
        assert engine.field(field).shape == (3, *np.shape(getattr(data, field))), field
        assert engine.field(field).dtype in (torch.float32, torch.float64)
    assert engine.field("eq_active").shape == (3, 1)
    assert engine.field("qpos").data_ptr() == engine.field("qpos").data_ptr()
    with pytest.raises((ValueError, AttributeError), match="no_such_field"):
        engine.field("no_such_field")


def test_every_world_moves_as_mujoco_does(engine):
    engine.field("ctrl")[:, 0] = torch.tensor([0.0, 1.0, -2.0])
    engine.field("qpos")[:, 2] = torch.tensor([0.3, 0.102, 0.15])
    engine.forward(ALL)
    start = engine.snapshot()
    engine.step(STEPS)
    for world in range(3):
        data = mujoco.MjData(scene())
        mujoco.mj_setState(scene(), data, start[world].numpy(), mujoco.mjtState.mjSTATE_INTEGRATION)
        for _ in range(STEPS):
            mujoco.mj_step(scene(), data)
        acceleration = data.sensordata[6:9].copy()
        mujoco.mj_step1(scene(), data)
        np.testing.assert_allclose(engine.field("qpos")[world], data.qpos, atol=2e-5)
        np.testing.assert_allclose(engine.field("act")[world], data.act, atol=1e-6)
        np.testing.assert_allclose(engine.field("sensordata")[world, :6], data.sensordata[:6], atol=2e-4)
        np.testing.assert_allclose(engine.field("sensordata")[world, 9], data.sensordata[9], atol=1e-5)
        np.testing.assert_allclose(engine.field("sensordata")[world, 6:9], acceleration, atol=0.05)


def test_overlap_sensor_tells_the_depth_at_once(engine):
    engine.field("qpos")[:, 2] = torch.tensor([0.097, 0.1 + 0.01, 0.099])  # half a side is 0.1
    engine.forward(ALL)
    depth = engine.field("sensordata")[:, 9].tolist()
    assert depth == pytest.approx([-0.003, 0.0, -0.001], abs=1e-6)


def test_forces_written_act_from_the_next_step(engine):
    lift_box(engine)
    force_n = torch.tensor([0.0, BOX_KG * GRAVITY_M_S2, 3 * BOX_KG * GRAVITY_M_S2])
    engine.field("xfrc_applied")[:, 2, 2] = force_n.to(engine.field("xfrc_applied"))
    engine.step(STEPS)
    rise = (box_height(engine) - FLOATING_M).tolist()
    fall = fallen_m(GRAVITY_M_S2)
    assert rise == pytest.approx([-fall, 0.0, 2 * fall], abs=2e-6)


def test_a_constraint_switched_on_in_one_world_holds_there_from_the_next_step(engine):
    lift_box(engine)
    engine.field("mocap_pos")[:, 0] = torch.tensor([1.0, 0.0, FLOATING_M]).to(engine.field("mocap_pos"))
    engine.field("eq_active")[1, 0] = 1
    engine.step(STEPS)
    height = box_height(engine)
    assert height[1] == pytest.approx(FLOATING_M, abs=0.01)
    assert height[[0, 2]].tolist() == pytest.approx([FLOATING_M - fallen_m(GRAVITY_M_S2)] * 2, abs=2e-6)
    engine.field("eq_active")[1, 0] = 0
    engine.field("qvel")[:] = 0
    engine.field("qpos")[:, 2] = FLOATING_M
    engine.step(STEPS)
    assert box_height(engine)[1] == pytest.approx(FLOATING_M - fallen_m(GRAVITY_M_S2), abs=2e-6)


def test_snapshot_holds_everything_and_restores_bit_for_bit_into_any_world(engine):
    writes = {"ctrl": 0.7, "xfrc_applied": 0.3, "mocap_pos": 0.4, "qfrc_applied": 0.1}
    for field, value in writes.items():
        engine.field(field)[1] = value
    engine.field("eq_active")[1] = 1
    engine.field("qpos")[:, 2] = 0.105
    engine.step(STEPS)
    saved = engine.snapshot()
    assert saved.dtype == torch.float64
    assert saved.shape == (3, mujoco.mj_stateSize(scene(), mujoco.mjtState.mjSTATE_INTEGRATION))
    engine.step(STEPS)
    after = engine.snapshot()
    engine.reset(ALL)
    engine.restore(ALL.flip(0), saved)
    assert torch.equal(engine.snapshot().flip(0), saved)
    engine.step(STEPS)
    assert torch.equal(engine.snapshot().flip(0), after)
    assert torch.equal(engine.snapshot(torch.tensor([2])), after[:1])


def test_a_world_moves_alike_alone_and_among_others(name, engine):
    alone = make_engine(name, scene(), 1)
    engine.field("ctrl")[:, 0] = torch.tensor([0.0, 1.0, -2.0]).to(engine.field("ctrl"))
    engine.field("qpos")[:, 2] = torch.tensor([0.3, 0.15, 0.099]).to(engine.field("qpos"))
    alone.restore(torch.tensor([0]), engine.snapshot(torch.tensor([2])))
    for each in (engine, alone):
        for _ in range(3):
            each.step(STEPS)
    assert torch.equal(alone.snapshot()[0], engine.snapshot()[2])


def test_snapshot_is_laid_out_as_mujocos_state(engine):
    engine.field("ctrl")[1] = 0.5
    engine.field("eq_active")[1] = 1
    engine.field("xfrc_applied")[1, 2, 4] = 0.25
    engine.step(2)
    data = mujoco.MjData(scene())
    state = engine.snapshot()[1].numpy()
    mujoco.mj_setState(scene(), data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
    assert data.time == pytest.approx(2 * DT_S)
    assert data.ctrl[0] == 0.5 and data.eq_active[0] == 1 and data.xfrc_applied[2, 4] == 0.25
    np.testing.assert_allclose(data.qpos, engine.field("qpos")[1], atol=0)


def test_partial_reset_leaves_the_others_alone(engine):
    engine.field("eq_active")[:] = 1
    engine.step(5)
    before = engine.snapshot()
    engine.reset(torch.tensor([1]))
    engine.forward(torch.tensor([1]))
    after = engine.snapshot()
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    np.testing.assert_allclose(engine.field("qpos")[1], scene().qpos0, atol=1e-7)
    assert engine.field("eq_active")[:, 0].tolist() == [1, 0, 1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e12])
def test_reports_each_divergence_once_and_puts_the_world_back(engine, bad):
    engine.field("qvel")[2, 0] = bad
    engine.step(2)
    assert engine.diverged().tolist() == [False, False, True]
    engine.step(2)
    assert engine.diverged().tolist() == [False, False, False]
    assert torch.isfinite(engine.snapshot()).all() and torch.isfinite(engine.field("sensordata")).all()
    assert box_height(engine).tolist() == pytest.approx([0.1] * 3, abs=1e-3)


def test_wrong_sizes_are_refused(name, engine):
    with pytest.raises(ValueError, match="state must be"):
        engine.restore(torch.tensor([0]), engine.snapshot())
    with pytest.raises(ValueError, match=r"0\.\.2"):
        engine.snapshot(torch.tensor([3]))
    with pytest.raises(ValueError, match="no_such_field"):
        engine.model_field("no_such_field")
    with pytest.raises(Exception, match="at least 1"):
        make_engine(name, scene(), 0)
    engine.close()
    engine.close()


def test_a_mass_written_changes_that_world_alone(engine):
    lift_box(engine)
    engine.model_field("body_mass")[1, 2] = 2 * BOX_KG
    engine.model_field("body_inertia")[1, 2] *= 2
    engine.constants_changed(torch.tensor([1]))
    engine.field("xfrc_applied")[:, 2, 2] = 2 * BOX_KG * GRAVITY_M_S2
    engine.step(STEPS)
    fall = fallen_m(GRAVITY_M_S2)
    assert (box_height(engine) - FLOATING_M).tolist() == pytest.approx([fall, 0.0, fall], abs=2e-6)
    inverse = engine.model_field("body_invweight0")[:, 2, 0].double() * BOX_KG
    assert inverse.tolist() == pytest.approx([1.0, 0.5, 1.0], abs=1e-5)
    assert engine.model.body_mass[2] == BOX_KG


def test_a_constant_written_between_steps_acts_from_the_next(engine):
    """Also where the engine has recorded its steps by then."""
    fall, heights = fallen_m(GRAVITY_M_S2), []
    for round_ in range(4):
        if round_ == 3:
            engine.model_field("opt.gravity")[1] = 0
        engine.field("qvel")[:] = 0
        lift_box(engine)
        engine.step(STEPS)
        heights.append(box_height(engine))
    for height in heights[:3]:
        assert (FLOATING_M - height).tolist() == pytest.approx([fall] * 3, abs=2e-6)
    assert (FLOATING_M - heights[3]).tolist() == pytest.approx([fall, 0.0, fall], abs=2e-6)


def test_randomized_constants_follow_from_the_episodes_seed_alone(name):
    ranges = DomainRandomization(mass=(0.5, 2.0), friction=(0.7, 1.3), gain=(0.9, 1.1), gravity=(0.8, 1.2))
    three, one = (make_engine(name, scene(), count) for count in (3, 1))
    for engine in (three, one):
        engine.randomization = ranges
    three.randomize(ALL, rng(5, 6, 7))
    fields = (
        "body_mass",
        "body_inertia",
        "geom_friction",
        "actuator_gainprm",
        "actuator_biasprm",
        "opt.gravity",
    )
    before = {field: three.model_field(field).clone() for field in fields}
    one.randomize(torch.tensor([0]), rng(7))
    three.randomize(torch.tensor([1]), rng(9))
    for field in fields:
        now = three.model_field(field)
        assert torch.equal(one.model_field(field)[0], now[2]), field
        assert torch.equal(now[[0, 2]], before[field][[0, 2]]) and not torch.equal(now[1], before[field][1])
    model = scene()
    factor = three.model_field("body_mass")[:, 2].double() / BOX_KG
    assert factor.min() >= 0.5 and factor.max() <= 2.0 and len(set(factor.tolist())) == 3
    assert (
        three.model_field("body_mass")[:, 3].tolist() == [model.body_mass[3]] * 3
    )  # the arm is no free body
    gain, bias = three.model_field("actuator_gainprm"), three.model_field("actuator_biasprm")
    torch.testing.assert_close(gain[:, 0, 0], -bias[:, 0, 1])
    torch.testing.assert_close(gain[:, 0, 0] / 40, -bias[:, 0, 2] / 4)
    gravity = three.model_field("opt.gravity")[:, 2].double() / -GRAVITY_M_S2
    three.reset(ALL)
    lift_box(three)
    three.step(STEPS)
    fall = [fallen_m(share * GRAVITY_M_S2) for share in gravity.tolist()]
    assert (FLOATING_M - box_height(three)).tolist() == pytest.approx(fall, abs=2e-6)


def test_ranges_of_one_change_no_bit(name, engine):
    plain = make_engine(name, scene(), 3, randomization=None)
    assert isinstance(engine.randomization, DomainRandomization) and plain.randomization is None
    for each in (engine, plain):
        each.field("ctrl")[:] = 0.5
        each.randomize(ALL, rng(1, 2, 3))
        each.step(STEPS)
    assert torch.equal(engine.snapshot(), plain.snapshot())
