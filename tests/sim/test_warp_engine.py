"""MuJoCo Warp on its CPU device against MuJoCo, and that nothing runs out of room in silence."""

import sys
from dataclasses import dataclass
from types import SimpleNamespace

import mujoco
import pytest
import torch
from engine_scene import make_engine, scene

from robofb.envs.furniture.one_leg_insert import OneLegInsert
from robofb.errors import UserError
from robofb.sim.mujoco_engine import MujocoEngine
from robofb.sim.randomization import DomainRandomization
from robofb.sim.vec_env import SimVecEnv
from robofb.sim.warp_engine import WarpEngine
from robofb.sim.warp_setup import find_device
from robofb.sim.warp_sizes import check_room, constraints_per_world, contacts_per_world
from robofb.types import Step

pytest.importorskip("mujoco_warp")
ALL = torch.arange(2)
PARTS_POSITION = [9, 10, 11, 16, 17, 18]  # in qpos of one_leg_insert, behind arm and fingers
PARTS_TURN = [12, 13, 14, 15, 19, 20, 21, 22]
CARRIED = (3, 4)  # the expert's phases LIFT and TRANSPORT


def warp(model, num_worlds, **settings):
    return make_engine("warp", model, num_worlds, **settings)


@pytest.fixture(scope="module")
def envs():
    """A vector env on each engine: Warp's, MuJoCo's."""
    return SimVecEnv(OneLegInsert(), 2, warp), SimVecEnv(OneLegInsert(), 2, MujocoEngine)


@dataclass
class Compared:
    """A control step of each world, begun on both engines in MuJoCo's state.

    Attributes:
        phase: (B,) of the expert.
        action: (B, A).
        arm, place, turn: (B,) largest difference in qpos: of arm and fingers, of the parts' positions [m]
            and of their quaternions.
        depth: (B, 3) how deep leg and top, leg and pads overlap [m], as MuJoCo has it.
        depth_error: (B,) largest difference from it.
        ours, theirs: what the steps returned.
    """

    phase: torch.Tensor
    action: torch.Tensor
    arm: torch.Tensor
    place: torch.Tensor
    turn: torch.Tensor
    depth: torch.Tensor
    depth_error: torch.Tensor
    ours: Step
    theirs: Step


@pytest.fixture(scope="module")
def episode(envs):
    """The expert's episodes, compared step by step until the first ends."""
    found, reference = envs
    found.reset(3)
    obs = reference.reset(3)
    agent = reference.task.expert(2, 0.5)
    agent.reset(torch.ones(2, dtype=torch.bool), reference.episode_seed)
    steps = []
    while len(steps) < 70:
        found.engine.restore(ALL, reference.engine.snapshot())
        action = agent.next(obs)
        theirs, ours = reference.step(action), found.step(action)
        if theirs.done.any():
            break
        steps.append(compare(found.engine, reference.engine, agent.phase.clone(), action, ours, theirs))
        obs = theirs.obs
    return steps


def compare(found, reference, phase, action, ours, theirs) -> Compared:
    qpos = (found.field("qpos").double() - reference.field("qpos")).abs()
    columns = [int(found.model.sensor(name).adr[0]) for name in ("leg_top", "leg_left", "leg_right")]
    depth = reference.field("sensordata")[:, columns].clone()
    error = (found.field("sensordata")[:, columns].double() - depth).abs().amax(1)
    arm, place, turn = (qpos[:, part].amax(1) for part in (slice(9), PARTS_POSITION, PARTS_TURN))
    return Compared(phase, action, arm, place, turn, depth, error, ours, theirs)


def gather(episode, name, phases=range(7)) -> torch.Tensor:
    values, phase = (torch.cat([getattr(step, key) for step in episode]) for key in (name, "phase"))
    return values[torch.isin(phase, torch.tensor(list(phases)))]


def test_a_control_step_ends_where_mujocos_does(episode):
    """Carrying the leg, and in nine of ten steps of all: to micrometres.

    No bound holds for every step: what hangs on a contact that is just made or not (a leg that stands on
    its foot, pads and peg in the moment of touching) hangs on rounding. 24 noisy episodes, 1,248 steps:
    at most 1.0 um in place while lifted and carried, in 99 of 100 steps of the grasp 142 um, and 3 mm once.
    """
    assert set(gather(episode, "phase").tolist()) >= set(range(6))
    for name, carried, usually in (("arm", 3e-6, 3e-6), ("place", 5e-6, 2e-5), ("turn", 5e-5, 5e-4)):
        assert gather(episode, name, CARRIED).max() < carried
        assert gather(episode, name).quantile(0.9) < usually
        assert gather(episode, name).median() < 1e-6


def test_overlap_sensors_are_mujocos(episode):
    """Depths to a micrometre while the pads press into the leg, in every step by more than 0.5 mm."""
    assert gather(episode, "depth", CARRIED)[:, 1:].max() < -5e-4
    assert gather(episode, "depth_error", CARRIED).max() < 1e-6
    assert gather(episode, "depth_error").quantile(0.9) < 5e-6


def test_observation_and_score_are_of_the_same_kind_on_both_engines(episode):
    for step in episode:
        assert step.ours.obs["state"].dtype == torch.float32
        assert step.ours.reward.dtype == step.theirs.reward.dtype
        assert torch.equal(step.ours.info["stage"], step.theirs.info["stage"])
        assert set(step.ours.info) == set(step.theirs.info)
    carried = [step for step in episode if torch.isin(step.phase, torch.tensor(CARRIED)).all()]
    assert len(carried) > 5
    for step in carried:
        torch.testing.assert_close(step.ours.obs["state"], step.theirs.obs["state"], atol=1e-3, rtol=0)


def test_replayed_open_loop_it_stays_close_until_the_grasp(episode, envs):
    """Until the pads touch: arm to 20 um or urad, parts to 1 mm. After that, no promise for single worlds.

    Parts start exactly on the table: rounding decides whether they touch it in the first substep.
    """
    found, reference = envs
    found.reset(3), reference.reset(3)
    free = [step.action for step in episode if (step.phase < 2).all()]
    assert len(free) > 5
    for action in free:
        found.step(action), reference.step(action)
        difference = (found.engine.field("qpos").double() - reference.engine.field("qpos")).abs()
        assert difference[:, :9].max() < 2e-5
        assert difference[:, PARTS_POSITION].max() < 1e-3


def test_states_travel_between_the_engines(envs):
    found, reference = envs
    reference.reset(9)
    found.engine.restore(ALL, reference.engine.snapshot())
    torch.testing.assert_close(found.engine.snapshot(), reference.engine.snapshot(), atol=1e-6, rtol=1e-6)
    reference.engine.restore(ALL, found.engine.snapshot())
    assert torch.equal(reference.engine.snapshot(), found.engine.snapshot())


def test_default_room_is_twice_what_the_noisiest_experts_needed():
    """32 worlds x 150 control steps at noise 1.5 made at most 49 contacts and 148 rows."""
    model = OneLegInsert().build()
    contacts = contacts_per_world(model)
    assert contacts >= 2 * 49 and constraints_per_world(model, contacts) >= 2 * 148


def test_room_by_hand():
    """A box on a floor: 8 contacts at most, but never less than 16; 3 rows each, 6 of the weld."""
    assert contacts_per_world(scene()) == 16
    assert constraints_per_world(scene(), 16) == 16 * 3 + 6


@pytest.mark.parametrize(
    ("room", "message"),
    [
        ({"contacts": 2}, r"8 contacts in 2 worlds found room for 4: set engine.contacts=8"),
        ({"contacts": 16, "constraints": 5}, r"12 constraint rows .* room for 5: set engine.constraints=24"),
    ],
)
def test_too_little_room_is_an_error_that_says_how_much_is_needed(room, message):
    engine = warp(scene(), 2, **room)
    engine.field("qpos")[:, 2] = 0.099
    with pytest.raises(UserError, match=message):
        engine.step(1)


def test_no_room_at_all_is_refused():
    """MuJoCo Warp would take 0 as: no contacts, in silence."""
    with pytest.raises(UserError, match="contacts=0, constraints=6: each needs at least 1"):
        warp(scene(), 1, contacts=0)


def test_other_overflows_are_errors_and_iteration_limits_are_not():
    import mujoco_warp

    kinds = mujoco_warp.OverflowType
    for kind in kinds:
        report = [0, int(kind), 3, 3, 3]
        if kind in (kinds.ITERATIONS, kinds.LS_ITERATIONS, kinds.NEFC, kinds.BROADPHASE, kinds.NARROWPHASE):
            check_room(report, 3, 3, 1)  # the last three show in the counts as well
        else:
            with pytest.raises(UserError, match=f"lacks room for {kind.name}"):
                check_room(report, 3, 3, 1)


def test_a_gpu_without_a_number_is_the_ranks_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    wp = SimpleNamespace(is_cuda_available=lambda: True)
    for name, number in (("auto", 3), ("cuda", 3), ("cuda:0", 0)):
        assert find_device(name, wp) == torch.device("cuda", number)


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cpu:1", "gpu"])
def test_a_device_that_is_none_is_refused(device):
    with pytest.raises(UserError, match=f"auto, cpu, cuda or cuda:<number>, not '{device}'"):
        warp(scene(), 1, device=device)


@pytest.mark.parametrize("device", ["cuda", "cuda:99"])
def test_a_gpu_that_is_not_there_is_refused(device):
    none = SimpleNamespace(is_cuda_available=lambda: False)
    with pytest.raises(
        UserError, match=f"engine.device={device}: no GPU is usable here; try engine.device=cpu"
    ):
        find_device(device, none)


def test_a_gpu_beyond_the_last_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    four = SimpleNamespace(is_cuda_available=lambda: True)
    with pytest.raises(UserError, match="engine.device=cuda:4: 4 GPUs are usable here, counted from 0"):
        find_device("cuda:4", four)


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco_warp", None)
    with pytest.raises(UserError, match=r"pip install 'robofb\[gpu\]'"):
        WarpEngine(scene(), 1, "cpu")


def test_a_scene_that_it_cannot_simulate_is_refused():
    model = mujoco.MjModel.from_xml_string(
        """<mujoco><option><flag fwdinv="enable"/></option><worldbody><body><freejoint/>
        <geom size="1"/></body></worldbody></mujoco>"""
    )
    with pytest.raises(UserError, match="engine warp cannot simulate this scene"):
        warp(model, 1)


def test_a_continued_env_has_the_same_constants_and_goes_on_bit_for_bit():
    ranges = DomainRandomization(mass=(0.5, 2.0), friction=(0.5, 1.5))
    env = SimVecEnv(OneLegInsert(), 2, lambda model, count: warp(model, count, randomization=ranges))
    env.reset(1)
    masses = env.engine.model_field("body_mass").clone()
    action = torch.cat([env.task.observe(env.engine)["state"][:, :9], torch.ones(2, 1)], -1)
    for _ in range(2):
        env.step(action)
    saved = env.state_dict()
    after = env.step(action).obs["state"]
    env.reset(2)
    assert not torch.equal(env.engine.model_field("body_mass"), masses)
    env.load_state_dict(saved)
    assert torch.equal(env.engine.model_field("body_mass"), masses)
    assert torch.equal(env.step(action).obs["state"], after)
