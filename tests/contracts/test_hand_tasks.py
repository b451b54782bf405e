"""Hold every robot task with a teacher, which moves the hand by steps, to what students rely on.

A new config is tested without editing this file.
"""

import importlib
from pathlib import Path

import pytest
import torch
import yaml
from engine_scene import make_engine
from taught_rollouts import one_thread, rate

from robofb.envs import engine_task_names, make_task
from robofb.envs.teacher.hand import HandTask
from robofb.errors import UserError
from robofb.interfaces import TaughtTask, Teacher
from robofb.sim.vec_env import SimVecEnv
from robofb.types import PRIVILEGED

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "task"


def config(name):
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())


def class_of(name):
    module, _, class_name = config(name)["_target_"].rpartition(".")
    return getattr(importlib.import_module(module), class_name)


NAMES = [name for name in engine_task_names() if issubclass(class_of(name), HandTask)]


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def task(name):
    return make_task(name)


def draws(steps, num_envs, seed=0):
    """Return (steps, B, 3) actions that wander."""
    return 2 * torch.rand(steps, num_envs, 3, generator=torch.Generator().manual_seed(seed)) - 1


def both(obs):
    return torch.cat([obs["state"], obs[PRIVILEGED]], -1)


def test_config_sets_every_argument_of_the_class(name, task):
    values = config(name)
    values.pop("_target_")
    assert type(task)(**values).spec == task.spec
    with pytest.raises(UserError, match="max_steps=0: needs at least 1"):
        type(task)(**{**values, "max_steps": 0})


def test_every_element_has_a_name_of_its_own(task):
    for key in ("state", PRIVILEGED):
        spec = task.spec.obs[key]
        assert len(set(spec.names)) == spec.shape[0]
    assert task.spec.action.low == (-1.0,) * 3 and task.spec.action.high == (1.0,) * 3


def test_an_episodes_start_depends_on_its_seed_alone(task):
    many, few = SimVecEnv(task, 5, one_thread), SimVecEnv(task, 2, one_thread)
    whole = both(many.reset(3))
    assert torch.equal(both(few.reset(3)), whole[:2])
    assert torch.equal(both(few.repeat(many.episode_seed[[4, 1]])), whole[[4, 1]])
    assert not torch.equal(both(many.reset(4)), whole) and (whole[0] != whole[1]).any()


def test_start_is_no_success_and_pays_nothing(task):
    env = SimVecEnv(task, 4, one_thread)
    env.reset(0)
    score = task.score(env.engine)
    assert not score.success.any() and not score.failure.any()
    assert (score.achieved == 0).all() and (score.stage == 0).all()
    step = env.step(torch.zeros(4, 3))
    assert (step.reward == 0).all() and not step.terminated.any()


def test_the_simulator_holds_all_that_an_observation_and_a_course_depend_on(task):
    """Also what was observed of forces: a restored state looks as it did, bit for bit."""
    env, other = (SimVecEnv(task, 3, one_thread, autoreset=False) for _ in range(2))
    env.reset(1), other.reset(8)
    actions = draws(20, 3)
    actions[:, :, 2] -= 0.5
    for action in actions[:12]:
        seen = env.step(action).obs
    assert torch.equal(both(other.restore(env.engine.snapshot())), both(seen))
    for action in actions[12:]:
        assert torch.equal(both(other.step(action).obs), both(env.step(action).obs))


def test_the_command_stays_in_its_room_and_near_the_hand(task):
    env = SimVecEnv(task, 16, one_thread)
    obs = env.reset(2)
    low, high = torch.tensor(task.room.low_m), torch.tensor(task.room.high_m)
    for action in 4 * draws(6, 16).sign().repeat_interleave(5, 0):  # beyond the bounds, and for long
        before = obs["state"][:, :3]
        task.apply(env.engine, action)
        env.engine.step(task.num_substeps)
        obs = task.observe(env.engine)
        command = obs["state"][:, :3] + obs["state"][:, 6:9]
        slack = 0.02 * (high - low).max()  # of the inverse kinematics
        assert (command >= low - slack).all() and (command <= high + slack).all()
        assert ((command - before).abs() <= task.room.lead_m + slack).all()


def test_the_teacher_solves_it_from_what_it_is_shown_alone(task):
    assert isinstance(task, TaughtTask) and isinstance(task.teacher(), Teacher)
    assert rate(task, task.teacher().answer, 256, seed=5) > 0.95
    env = SimVecEnv(task, 4, one_thread)
    obs = env.reset(0)
    answer = task.teacher().answer(obs)
    again = task.teacher().answer({key: obs[key][2:3].clone() for key in ("state", PRIVILEGED)})
    assert answer.shape == (4, 3) and answer.dtype == torch.float32 and torch.equal(again[0], answer[2])


def test_larger_actions_count_as_the_bounds(task):
    env, other = SimVecEnv(task, 2, one_thread), SimVecEnv(task, 2, one_thread)
    env.reset(0), other.reset(0)
    action = torch.tensor([[2.0, -3.0, 0.5], [-9.0, 0.0, -1.5]])
    assert torch.equal(both(env.step(action).obs), both(other.step(action.clamp(-1, 1)).obs))


def test_warp_sees_and_scores_what_mujoco_does(task):
    """Every control step of the teacher's episodes, begun in MuJoCo's state."""
    found = SimVecEnv(task, 2, lambda model, count: make_engine("warp", model, count))
    reference = SimVecEnv(task, 2, one_thread, autoreset=False)
    found.reset(3)
    obs, ended = reference.reset(3), False
    for _ in range(task.spec.max_steps):
        found.engine.restore(torch.arange(2), reference.engine.snapshot())
        assert torch.equal(found.task.observe(found.engine)[PRIVILEGED], obs[PRIVILEGED])
        action = task.teacher().answer(obs)
        theirs, ours = reference.step(action), found.step(action)
        torch.testing.assert_close(ours.final_obs["state"], theirs.obs["state"], atol=2e-3, rtol=0)
        assert torch.equal(ours.info["success"], theirs.info["success"])
        obs, ended = theirs.obs, bool(theirs.done.any())
        if ended:
            break
    assert ended and theirs.info["success"].any()
    found.close()
