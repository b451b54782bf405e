"""The ant: it moves as Gymnasium's does, and stands, falls and starts as it says."""

from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
import torch
from taught_rollouts import one_thread

from robofb.envs.robots import ant
from robofb.rng import EpisodeRng

ASSET = Path(gymnasium.__file__).parent / "envs/mujoco/assets/ant.xml"
# Of Gymnasium's: its ankles of legs 2 and 3 turn the other way, and its motors are those of legs 4, 1, 2, 3.
THEIR_SIGN = np.array([1, 1, 1, -1, 1, -1, 1, 1])
THEIR_MOTORS = [6, 7, 0, 1, 2, 3, 4, 5]


@pytest.fixture(scope="module")
def model():
    spec = mujoco.MjSpec()
    ant.set_physics(spec)
    ant.add_floor(spec)
    ant.add_ant(spec, torso_rgba=(1, 0, 0, 1), leg_rgba=(1, 1, 0, 1))
    return spec.compile()


@pytest.fixture
def engine(model):
    engine = one_thread(model, 3)
    place(engine, torch.zeros(3, 2))
    return engine


def place(engine, places, seed=0):
    ids = torch.arange(len(places))
    engine.reset(ids)
    ant.place_ant(engine, ids, places.double(), EpisodeRng(ids + seed))
    engine.forward(ids)


def test_it_moves_as_gymnasiums_does(model):
    theirs = mujoco.MjModel.from_xml_path(str(ASSET))
    assert theirs.opt.timestep == model.opt.timestep
    np.testing.assert_allclose(theirs.body_subtreemass[1], model.body_subtreemass[1], rtol=1e-9)
    theirs.opt.integrator, theirs.opt.cone = model.opt.integrator, model.opt.cone
    mine, other = mujoco.MjData(model), mujoco.MjData(theirs)
    mine.qpos[:] = [0.3, -0.2, 0.6, 1, 0, 0, 0, *ant.HOME_RAD]
    other.qpos[:] = mine.qpos
    other.qpos[7:] *= THEIR_SIGN
    random = np.random.default_rng(0)
    for _ in range(40):
        action = random.uniform(-1, 1, 8)
        mine.ctrl[:] = action
        other.ctrl[:] = (action * THEIR_SIGN)[THEIR_MOTORS]
        mujoco.mj_step(model, mine, ant.NUM_SUBSTEPS)
        mujoco.mj_step(theirs, other, ant.NUM_SUBSTEPS)
        np.testing.assert_allclose(mine.qpos[:7], other.qpos[:7], atol=1e-4)
        np.testing.assert_allclose(mine.qpos[7:], other.qpos[7:] * THEIR_SIGN, atol=1e-4)
        other.qpos[:], other.qvel[:] = mine.qpos, mine.qvel  # contacts make errors grow
        other.qpos[7:] *= THEIR_SIGN
        other.qvel[6:] *= THEIR_SIGN
        other.qacc_warmstart[:] = mine.qacc_warmstart
        other.qacc_warmstart[6:] *= THEIR_SIGN
    assert np.abs(mine.qpos[:2]).max() > 0.3  # it went somewhere


def test_without_torques_it_stands(engine):
    for _ in range(100):
        engine.step(ant.NUM_SUBSTEPS)
    height = engine.field("qpos")[:, 2]
    assert (height > 0.45).all() and (height < 0.65).all() and not ant.fallen(engine).any()
    assert ant.ant_place(engine).norm(dim=-1).max() < 0.3
    assert engine.field("qvel").abs().max() < 0.2


def test_it_starts_at_home_but_for_small_draws(engine):
    places = torch.tensor([[1.0, 2.0], [-3.0, 0.5], [0.0, 0.0]])
    place(engine, places)
    qpos, qvel = engine.field("qpos"), engine.field("qvel")
    assert torch.equal(ant.ant_place(engine), places.double())
    assert (qpos[:, 2] == ant.HOME_HEIGHT_M).all() and (qpos[:, 3] == 1).all() and (qpos[:, 4:7] == 0).all()
    bend = qpos[:, 7:] - torch.tensor(ant.HOME_RAD)
    assert (bend.abs() <= ant.START_JOINT_RAD).all() and len(bend.unique()) == bend.numel()
    assert 0.05 < qvel.std() < 0.15
    lowest = engine.field("geom_xpos")[0, 1:, 2].min()  # of the middles of its shapes
    assert lowest > ant.LEG_RADIUS_M


@pytest.mark.parametrize(
    ("height", "quat", "falls"),
    [
        (0.56, [1.0, 0.0, 0.0, 0.0], False),
        (0.29, [1.0, 0.0, 0.0, 0.0], True),  # the torso's radius is 0.25
        (0.56, [0.0, 1.0, 0.0, 0.0], True),  # on its back
        (0.56, [0.70, 0.0, 0.714, 0.0], True),  # a little more than on its side
        (0.56, [0.9, 0.4, 0.1, 0.0], False),
    ],
)
def test_it_has_fallen_if_it_lies_low_or_on_its_back(engine, height, quat, falls):
    engine.field("qpos")[1, 2:7] = torch.tensor([height, *quat], dtype=torch.float64)
    assert ant.fallen(engine).tolist() == [False, falls, False]


def test_what_it_feels_has_names_and_not_its_place(engine):
    before = ant.ant_state(engine)
    assert before.shape == (3, len(ant.STATE_NAMES)) and len(set(ant.STATE_NAMES)) == 27
    engine.field("qpos")[:, :2] += 5.0
    assert torch.equal(ant.ant_state(engine), before)
    engine.field("qpos")[0, 8] = 1.2
    engine.field("qvel")[0, 7] = 3.0
    state = dict(zip(ant.STATE_NAMES, ant.ant_state(engine)[0].tolist(), strict=True))
    assert state["ankle_1_angle"] == 1.2 and state["ankle_1_speed"] == 3.0
    assert state["torso_pos_w_z"] == ant.HOME_HEIGHT_M


@pytest.mark.parametrize("index", range(ant.NUM_JOINTS))
def test_a_torque_turns_the_joint_of_its_name_most(model, index):
    """Two ants in the air, alike but for one torque."""
    engine = one_thread(model, 2)
    ids = torch.arange(2)
    ant.place_ant(engine, ids, torch.zeros(2, 2).double(), EpisodeRng(torch.zeros(2)))
    engine.field("qpos")[:, 2] = 3.0
    action = torch.zeros(2, 8)
    action[1, index] = 0.1
    ant.turn_motors(engine, action)
    engine.step(2)
    joint = model.joint(ant.JOINTS[index])
    change = (engine.field("qpos")[1] - engine.field("qpos")[0])[7:]
    turned = int(joint.qposadr[0]) - 7
    assert change[turned] > 0.001 and change.abs().argmax() == turned


def test_torques_beyond_the_bounds_count_as_these(engine):
    ant.turn_motors(engine, torch.tensor([[3.0] * 8, [-1.5] * 8, [0.5] * 8]))
    assert engine.field("ctrl")[:, 0].tolist() == [1.0, -1.0, 0.5]
