"""Turning a pen by touch: with a small hand, and with Gymnasium-Robotics'."""

import math

import gymnasium
import gymnasium_robotics
import mujoco
import pytest
import torch
from engine_scene import make_engine
from hand_scene import GRAVITY_M_S2, NUM_JOINTS, NUM_TOUCHES, PEN_KG, write_hand
from taught_rollouts import one_thread

from robofb.envs.robots.shadow_hand import SCENE, installed_assets, load_scene
from robofb.envs.teacher import pen_by_touch
from robofb.envs.teacher.pen_by_touch import GOAL_ASIDE_M, PALM_HEIGHT_M, PenByTouch, pen_angle
from robofb.errors import UserError
from robofb.geometry import quat_from_axis_angle, quat_multiply, quat_to_matrix, rotation_angle
from robofb.sim.vec_env import SimVecEnv
from robofb.types import PRIVILEGED

X, Y, Z = torch.eye(3, dtype=torch.float64)
ALL = torch.arange(3)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return str(write_hand(tmp_path_factory.mktemp("hand")))


@pytest.fixture(scope="module", params=["small", "installed"])
def assets(request, small):
    if request.param == "small":
        return small
    return str(installed_assets())


@pytest.fixture(scope="module")
def task(assets):
    return PenByTouch(assets=assets)


@pytest.fixture
def env(task):
    env = SimVecEnv(task, 3, one_thread)
    yield env
    env.close()


def draws(task, steps, num_envs, seed=0):
    """Return (steps, B, A) actions that wander, each for four steps, some beyond the bounds."""
    generator = torch.Generator().manual_seed(seed)
    shape = (math.ceil(steps / 4), num_envs, *task.spec.action.shape)
    return (2.4 * torch.rand(shape, generator=generator) - 1.2).repeat_interleave(4, 0)[:steps]


def both(obs):
    return torch.cat([obs["state"], obs[PRIVILEGED]], -1)


def columns(task, key, start):
    return [index for index, name in enumerate(task.spec.obs[key].names) if name.startswith(start)]


def turn(axis, angle):
    """Return the quaternions (..., 4) of turns about an axis by angles (...) [rad]."""
    angle = torch.as_tensor(angle, dtype=torch.float64)
    return quat_from_axis_angle(axis.expand(*angle.shape, 3), angle)


def put_goal(env, quat):
    env.engine.field("mocap_quat")[:, 0] = quat


def pens(env):
    """Return the pens' quaternions (B, 4)."""
    return env.task.observe(env.engine)[PRIVILEGED][:, columns(env.task, PRIVILEGED, "pen_quat")].double()


def test_small_hand_has_the_sizes_of_its_parts(small):
    spec = PenByTouch(assets=small).spec
    assert spec.obs["state"].shape == (2 * NUM_JOINTS + 7 + NUM_TOUCHES + 1,)
    assert spec.obs[PRIVILEGED].shape == (2 * NUM_JOINTS + 13 + 7,)
    assert spec.obs["state"].names[-4:-1] == ("touch_palm", "touch_fftip", "touch_mftip")
    assert spec.action.names == ("MFJ0_wanted", "FFJ0_wanted")


def test_shadow_hand_has_the_sizes_of_the_paper():
    """Student: proprioception 48, goal 7, touch 92 and 1; teacher: 68."""
    task = PenByTouch()
    assert task.spec.obs["state"].shape == (148,) and task.spec.obs[PRIVILEGED].shape == (68,)
    assert len(columns(task, "state", "touch_")) == 92
    assert task.spec.action.shape == (20,)
    assert task.spec.control_dt == pytest.approx(0.04) and task.spec.max_steps == 100


def test_every_element_has_a_name_of_its_own(task):
    for key in ("state", PRIVILEGED):
        assert len(set(task.spec.obs[key].names)) == task.spec.obs[key].shape[0]


def test_an_episodes_start_depends_on_its_seed_alone(task, env):
    many = SimVecEnv(task, 5, one_thread)
    whole = both(many.reset(3))
    assert torch.equal(both(env.reset(3)), whole[:3])
    assert torch.equal(both(env.repeat(many.episode_seed[[4, 1, 0]])), whole[[4, 1, 0]])
    assert not torch.equal(both(many.reset(4)), whole) and (whole[0] != whole[1]).any()
    many.close()


def test_a_pen_lies_still_on_the_palm_and_its_weight_is_felt(small):
    env = SimVecEnv(PenByTouch(assets=small), 8, one_thread)
    obs = env.reset(0)
    touch = obs["state"][:, columns(env.task, "state", "touch_")]
    weight = torch.full((8,), PEN_KG * GRAVITY_M_S2)
    torch.testing.assert_close(touch[:, 0], weight, atol=1e-3, rtol=0)
    assert (touch[:, 1:] == 0).all()
    closed = torch.ones(8, 2)
    for _ in range(15):
        obs = env.step(closed).obs
    palm, *tips = obs["state"][:, columns(env.task, "state", "touch_")].unbind(-1)
    assert (sum(tips) > 2).all()
    assert (
        abs((palm - sum(tips) - weight).median()) < 0.1
    )  # some fingers press onto the trough beside the pen
    env.close()


def test_pens_that_miss_the_palm_are_thrown_again(task, monkeypatch):
    monkeypatch.setattr(pen_by_touch, "START_DEVIATION_M", 0.05)
    height = columns(task, PRIVILEGED, "pen_pos_w_z")
    thrown = []
    throw = PenByTouch._throw
    monkeypatch.setattr(
        PenByTouch,
        "_throw",
        lambda self, engine, ids, rng: thrown.append(len(ids)) or throw(self, engine, ids, rng),
    )
    env = SimVecEnv(task, 12, one_thread)
    whole = env.reset(1)
    assert len(thrown) > 1 and thrown == sorted(thrown, reverse=True)
    assert (whole[PRIVILEGED][:, height] > PALM_HEIGHT_M).all()
    few = SimVecEnv(task, 4, one_thread)
    assert torch.equal(both(few.reset(1)), both(whole)[:4])


def test_worlds_that_go_on_notice_nothing_of_a_reset_beside_them(task, env):
    other = SimVecEnv(task, 3, one_thread)
    env.reset(2), other.reset(2)
    actions = draws(task, 12, 3)
    for action in actions[:6]:
        env.step(action), other.step(action)
    before = env.engine.snapshot()
    env._start(torch.tensor([1]))
    after = env.engine.snapshot()
    assert torch.equal(after[[0, 2]], before[[0, 2]]) and not torch.equal(after[1], before[1])
    assert torch.equal(both(task.observe(env.engine))[[0, 2]], both(task.observe(other.engine))[[0, 2]])
    for action in actions[6:]:
        seen, alone = both(env.step(action).obs), both(other.step(action).obs)
        assert torch.equal(seen[[0, 2]], alone[[0, 2]])
    other.close()


def test_the_simulator_holds_all_that_an_observation_and_a_course_depend_on(task, env):
    """Also what was felt: a restored state looks as it did, bit for bit."""
    other = SimVecEnv(task, 3, one_thread)
    env.reset(1), other.reset(8)
    actions = draws(task, 20, 3)
    for action in actions[:12]:
        seen = env.step(action).obs
    other.step(actions[0])
    assert (seen["state"][:, columns(task, "state", "touch_")] > 0).any()
    assert torch.equal(both(other.restore(env.engine.snapshot())), both(seen))
    assert torch.equal(both(task.observe(other.engine)), both(seen))
    for action in actions[12:]:
        assert torch.equal(both(other.step(action).obs), both(env.step(action).obs))
    other.close()


def test_plain_mujoco_on_the_file_itself_goes_the_same_way(task, env):
    """One control step from equal states, with the goal's body falling beside: state, touch, reward."""
    model = mujoco.MjModel.from_xml_path(str(task.assets / SCENE))
    data, (nq, nv) = mujoco.MjData(model), (task.model.nq, task.model.nv)
    names = [name for name in task.spec.obs["state"].names if name.startswith("touch_")]
    obs, felt = env.reset(5), 0
    for index, action in enumerate(draws(task, 32, 3)):
        world = index % 3
        for name in ("qpos", "qvel", "qacc_warmstart"):
            values = env.engine.field(name)[world]
            getattr(data, name)[: len(values)] = values
        low, high = model.actuator_ctrlrange.T
        data.ctrl[:] = low + (high - low) * (action[world].double().clamp(-1, 1).numpy() + 1) / 2
        mujoco.mj_step(model, data, nstep=20)
        obs = env.step(action).obs
        found = obs["state"][world, columns(task, "state", "touch_")]
        wanted = torch.tensor([data.sensor(f"robot0:TS_{name[6:]}").data[0] for name in names])
        torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=1e-5)
        felt += int((wanted > 0).sum())
        for name, number in (("qpos", nq), ("qvel", nv)):
            theirs = torch.from_numpy(getattr(data, name)[:number].copy())
            torch.testing.assert_close(env.engine.field(name)[world], theirs, atol=1e-7, rtol=0)
    assert felt > 10


def test_gymnasium_robotics_own_environment_goes_the_same_way():
    """Its steps and ours from equal states, where it starts: with our MuJoCo only after a change to it."""
    gymnasium.register_envs(gymnasium_robotics)
    try:
        theirs = gymnasium.make(
            "HandManipulatePenRotate_ContinuousTouchSensors-v1", reward_type="dense"
        ).unwrapped
    except AssertionError as error:
        pytest.skip(f"it does not start with this MuJoCo: {error}")
    task = PenByTouch()
    env = SimVecEnv(task, 1, one_thread, autoreset=False)
    env.reset(0), theirs.reset(seed=0)
    one, touch = torch.tensor([0]), columns(task, "state", "touch_")
    put_goal(env, torch.from_numpy(theirs.goal[3:]))
    env.engine.field("mocap_pos")[0, 0] = torch.from_numpy(theirs.goal[:3]) + GOAL_ASIDE_M * X
    for action in draws(task, 60, 1):
        for name in ("qpos", "qvel", "qacc_warmstart"):
            values = env.engine.field(name)[0]
            values[:] = torch.from_numpy(getattr(theirs.data, name)[: len(values)])
        env.engine.forward(one)
        seen, reward, _, _, info = theirs.step(action[0].numpy())
        step = env.step(action)
        shown = torch.from_numpy(seen["observation"])
        teacher = torch.cat([shown[:61], torch.from_numpy(seen["desired_goal"])])
        torch.testing.assert_close(step.obs[PRIVILEGED][0].double(), teacher, atol=1e-5, rtol=0)
        torch.testing.assert_close(step.obs["state"][0, touch].double(), shown[61:], atol=1e-4, rtol=1e-5)
        theirs_rad = min(-reward, 2 * math.pi + reward)  # it does not know that q and -q are one rotation
        near = info["is_success"]
        assert step.reward.item() == pytest.approx(near - theirs_rad, abs=1e-5)


def test_actions_go_from_end_to_end_of_the_actuators_range(small):
    env = SimVecEnv(PenByTouch(assets=small), 3, one_thread)
    env.task.apply(env.engine, torch.tensor([[-1.0, 1.0], [0.0, 0.5], [3.0, -9.0]]))
    wanted = torch.tensor([[-0.5, 1.0], [0.25, 0.7], [1.0, -0.2]], dtype=torch.float64)
    torch.testing.assert_close(env.engine.field("ctrl"), wanted)  # of -0.5 .. 1 and -0.2 .. 1
    env.close()


@pytest.mark.parametrize(
    ("pen", "goal", "angle"),
    [
        (turn(X, 0.3), turn(X, 0.3), 0.0),
        (turn(X, 0.3), turn(X, -0.4), 0.7),
        (turn(X, 3.0), turn(X, -3.0), 2 * math.pi - 6.0),
        (turn(Y, 0.3), turn(Y, 1.0), 0.7),
        (turn(Z, 0.3), turn(Z, 2.9), 0.0),  # about the pen's own axis
        (turn(X, 0.3), -turn(X, 0.1), 0.2),  # q and -q are one rotation
        (turn(X, 0.0), turn(X, math.pi), math.pi),
    ],
)
def test_angle_of_turns_about_one_axis(pen, goal, angle):
    assert pen_angle(pen, goal).item() == pytest.approx(angle, abs=1e-7)


def test_angle_is_that_between_the_turns_before_the_last():
    """Against rotation matrices: pens are turned about x, then y', then z''."""
    generator = torch.Generator().manual_seed(0)
    a, b = ((torch.rand(2, 200, generator=generator, dtype=torch.float64) - 0.5) * 2 for _ in range(2))
    x, y = a * math.pi, b * (math.pi / 2 - 0.01)
    tilt = quat_multiply(turn(X, x), turn(Y, y))
    spin = turn(Z, 6 * torch.rand(2, 200, generator=generator))
    pen, goal = quat_multiply(tilt, spin)
    wanted = rotation_angle(*quat_to_matrix(tilt))
    torch.testing.assert_close(pen_angle(pen, goal), wanted, atol=1e-6, rtol=0)
    between = torch.acos((quat_to_matrix(pen)[:, :, 2] * quat_to_matrix(goal)[:, :, 2]).sum(-1).clamp(-1, 1))
    assert (wanted >= between - 1e-6).all()


@pytest.mark.parametrize(
    ("off_rad", "reward", "success"), [(0.0, 1.0, True), (0.09, 0.91, True), (0.11, -0.11, False)]
)
def test_a_step_pays_for_how_near_it_is_and_success_does_not_end_it(task, env, off_rad, reward, success):
    env.reset(0)
    put_goal(env, quat_multiply(turn(X, off_rad).expand(3, -1), pens(env)))
    score = task.score(env.engine)
    torch.testing.assert_close(score.reward, torch.full((3,), reward), atol=1e-4, rtol=0)
    assert (score.success == success).all() and not score.ended.any() and not score.failure.any()


def test_only_the_last_step_decides_and_none_is_the_end_before_it(small):
    env = SimVecEnv(PenByTouch(max_steps=4, assets=small), 2, one_thread)
    env.reset(0)
    still, aside = torch.zeros(2, 2), turn(X, [0.0, 1.0])
    for index in range(4):
        last = index == 3
        put_goal(env, quat_multiply(aside.flip(0) if last else aside, pens(env)))
        step = env.step(still)
        assert step.info["success"].tolist() == ([False, True] if last else [True, False])
        assert step.truncated.tolist() == [last, last] and not step.terminated.any()
    assert step.info["stage"].tolist() == [1, 1]
    assert step.final_obs["state"][:, -1].tolist() == [1.0, 1.0] and (step.obs["state"][:, -1] == 0).all()
    env.close()


def test_goals_are_any_rotation_at_the_place_where_the_pen_lies(small):
    env = SimVecEnv(PenByTouch(assets=small), 400, one_thread)
    obs = env.reset(0)
    goal = obs[PRIVILEGED][:, columns(env.task, PRIVILEGED, "goal_")]
    place = obs[PRIVILEGED][:, columns(env.task, PRIVILEGED, "pen_pos")]
    torch.testing.assert_close(goal[:, :3], place)
    assert torch.equal(goal, obs["state"][:, columns(env.task, "state", "goal_")])
    torch.testing.assert_close(goal[:, 3:].norm(dim=-1), torch.ones(400))
    angle = 2 * torch.acos(goal[:, 3])  # evenly in 0 .. pi; three deviations of the mean are 0.14
    assert angle.max() <= math.pi + 1e-5 and abs(angle.mean() - math.pi / 2) < 0.14
    assert (goal[:, 4:].mean(0).abs() < 0.1).all()
    env.close()


def test_what_the_skin_tells_can_be_chosen(small):
    told = {}
    for touch in ("force", "log", "contact"):
        env = SimVecEnv(PenByTouch(touch=touch, assets=small), 3, one_thread)
        env.reset(0)
        for action in draws(env.task, 9, 3):
            state = env.step(action).obs["state"]
        told[touch] = state[:, columns(env.task, "state", "touch_")]
        env.close()
    assert told["force"].max() > 1
    torch.testing.assert_close(told["log"], torch.log1p(told["force"]))
    assert torch.equal(told["contact"], (told["force"] > 0).float())


def test_warp_sees_feels_and_scores_what_mujoco_does(small):
    """Every control step of wandering episodes, begun in MuJoCo's state."""
    task = PenByTouch(max_steps=25, assets=small)
    found = SimVecEnv(task, 3, lambda model, count: make_engine("warp", model, count), autoreset=False)
    reference = SimVecEnv(task, 3, one_thread, autoreset=False)
    found.reset(3), reference.reset(3)
    touch = columns(task, "state", "touch_")
    rest = [index for index in range(task.spec.obs["state"].shape[0]) if index not in touch]
    for action in draws(task, 25, 3):
        found.engine.restore(ALL, reference.engine.snapshot())
        ours = task.observe(found.engine)
        torch.testing.assert_close(
            ours["state"], task.observe(reference.engine)["state"], atol=1e-4, rtol=1e-4
        )
        theirs, ours = reference.step(action), found.step(action)
        torch.testing.assert_close(
            ours.obs["state"][:, rest], theirs.obs["state"][:, rest], atol=2e-2, rtol=0
        )
        torch.testing.assert_close(
            ours.obs["state"][:, touch], theirs.obs["state"][:, touch], atol=0.1, rtol=0.05
        )
        torch.testing.assert_close(ours.reward, theirs.reward, atol=1e-3, rtol=0)
    found.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_steps": 0}, "max_steps=0: needs at least 1"),
        ({"touch": "hard"}, "touch must be one of force, log, contact, not 'hard'"),
        ({"success_rad": 0.0}, "success_rad=0.0: needs an angle above 0, at most pi"),
        ({"success_rad": float("nan")}, "success_rad=nan: needs an angle"),
        ({"assets": "/nowhere"}, f"assets=/nowhere: holds no {SCENE}"),
    ],
)
def test_bad_values_are_refused(small, change, message):
    with pytest.raises(UserError, match=message):
        PenByTouch(**{"assets": small, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:200], "cannot be read"),
        (lambda text: text.replace('name="object"', 'name="thing"'), "has no body 'object'"),
        (lambda text: text.replace('name="target:joint"', ""), "has no joint 'target:joint'"),
        (lambda text: text.replace("robot0:TS_", "robot0:"), "has no touch sensor"),
        (lambda text: text.replace("robot0:", "robot1:"), "has no joint of a hand"),
    ],
)
def test_another_scene_is_refused_in_one_line(small, tmp_path, change, message):
    folder = write_hand(tmp_path / "hand")
    (folder / SCENE).write_text(change((folder / SCENE).read_text()))
    with pytest.raises(UserError, match=message) as caught:
        load_scene(folder)
    assert "\n" not in str(caught.value)


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr("robofb.envs.robots.shadow_hand.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"not installed: pip install gymnasium-robotics==1\.4\.2, or"
    ) as caught:
        installed_assets()
    assert "\n" not in str(caught.value)
