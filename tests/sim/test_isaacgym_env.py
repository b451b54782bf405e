"""The Isaac Gym adapter: what a VecTask loses and what it does not, here and in another interpreter."""

from __future__ import annotations

import ast
import sys
from contextlib import closing
from pathlib import Path

import pytest
import torch
from stand_ins import PointVecTask, SameStepVecTask

from robofb.errors import UserError
from robofb.sim import isaacgym_worker
from robofb.sim.isaacgym_env import IsaacGymVecEnv, SameStepIsaacGymVecEnv
from robofb.sim.isaacgym_remote import PYTHON_VARIABLE
from robofb.sim.isaacgym_task import IsaacGymTask
from robofb.sim.isaacgym_worker import VecTaskHost
from robofb.sim.success import SuccessRule

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def interpreter(monkeypatch, tmp_path):
    """Name this interpreter, with stand-ins of both packages on its path."""
    (tmp_path / "isaacgym.py").write_text("import sys\nassert 'torch' not in sys.modules\n")
    (tmp_path / "isaacgymenvs.py").write_text("from stand_ins import make\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{TESTS}")
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)


def test_worker_keeps_to_python_3_7():
    source = Path(isaacgym_worker.__file__).read_text()
    ast.parse(source, feature_version=(3, 7))
    assert "import robofb" not in source and "from robofb" not in source


def test_the_end_is_told_with_the_reset_that_follows_it():
    """By hand: 5 cm from the goal after the first step, told in the second, whose action nobody sees."""
    task = PointVecTask(2)
    env = IsaacGymVecEnv(VecTaskHost(task), "point", success=SuccessRule())
    env.reset(0)
    task.position[0] = task.goal[0] + torch.tensor([0.24, 0.0])
    reached = env.step(torch.tensor([[-1.0, 0.0], [0.0, 0.0]]))
    assert reached.reward[0] == pytest.approx(-0.04, abs=1e-6)
    assert reached.info["success"].tolist() == [True, False] and not reached.done.any()
    told = env.step(torch.full((2, 2), 0.5))
    assert told.terminated.tolist() == [True, False] == told.info["success"].tolist()
    assert told.reward[0] == 0 and told.info["return"][0] == pytest.approx(-0.04, abs=1e-6)
    assert torch.equal(told.final_obs["state"][0], reached.obs["state"][0])
    assert (told.obs["state"][0, :2] - told.obs["state"][0, 2:] >= 1).all()  # a new start
    assert task.actions[-1].tolist() == [[0.0, 0.0], [0.5, 0.5]]
    assert told.info["episode"].tolist() == [0, 1] and env.episode.tolist() == [2, 1]
    assert env.step(torch.zeros(2, 2)).info["length"].tolist() == [1, 3]


def test_a_same_step_reset_says_what_it_lost():
    task = SameStepVecTask(2)
    env = SameStepIsaacGymVecEnv(VecTaskHost(task), "point", success=SuccessRule())
    env.reset(0)
    task.position[0] = task.goal[0] + torch.tensor([0.24, 0.0])
    before = env.step(torch.zeros(2, 2))
    step = env.step(torch.tensor([[-1.0, 0.0], [0.0, 0.0]]))
    assert step.terminated.tolist() == [True, False] == step.info["final_obs_lost"].tolist()
    assert torch.equal(step.final_obs["state"][0], before.obs["state"][0])
    assert torch.equal(step.final_obs["state"][1], step.obs["state"][1])
    assert step.reward[0] == pytest.approx(-0.04, abs=1e-6)


def test_actions_are_clipped_to_their_bounds():
    task = PointVecTask(1)
    env = IsaacGymVecEnv(VecTaskHost(task), "point", success=SuccessRule())
    env.reset(0)
    env.step(torch.tensor([[3.0, -0.5]]))
    assert task.actions[-1].tolist() == [[1.0, -0.5]]


def test_extras_without_time_outs_are_refused():
    class Old(PointVecTask):
        def step(self, actions):
            *rest, extras = super().step(actions)
            return *rest, {key: value for key, value in extras.items() if key != "time_outs"}

    env = IsaacGymVecEnv(VecTaskHost(Old(1)), "point", success=SuccessRule())
    with pytest.raises(UserError, match="no 'time_outs' in its extras"):
        env.reset(0)


def test_without_an_interpreter_it_says_what_to_install(monkeypatch):
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    with pytest.raises(UserError, match=f"Preview 4.* Python 3.7 or 3.8.*set {PYTHON_VARIABLE}="):
        IsaacGymTask("Ant").make_env(1)


def test_a_wrong_interpreter_and_a_missing_package_are_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "no_python"))
    with pytest.raises(UserError, match="no_python: No such file"):
        IsaacGymTask("Ant").make_env(1)
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(UserError, match="No module named 'isaacgym'. Isaac Gym .Preview 4"):
        IsaacGymTask("Ant").make_env(1)


def test_another_interpreter_gives_the_same_course(interpreter):
    """The stand-in here and in a process of its own, step by step, through two episodes."""
    here = IsaacGymVecEnv(VecTaskHost(PointVecTask(3)), "isaacgym_Point", success=SuccessRule())
    with closing(IsaacGymTask("Point", sim_device="cpu").make_env(3)) as there:
        assert there.spec == here.spec and there.spec.control_dt == 0.1 and there.spec.max_steps == 40
        generator = torch.Generator().manual_seed(0)
        actions = torch.rand(90, 3, 2, generator=generator) * 2 - 1
        courses = []
        for env in (here, there):
            env.reset(3)
            courses.append([env.step(action) for action in actions])
        for ours, theirs in zip(*courses, strict=True):
            torch.testing.assert_close(theirs, ours, rtol=0, atol=0)
        assert sum(step.done.sum() for step in courses[0]) >= 6
        there.close()
        with pytest.raises(UserError, match="is gone"):
            there.step(actions[0])


@pytest.mark.parametrize(
    ("id", "message"), [("Nut", "KeyError: 'Nut'"), ("Dies", r"is gone \(exit code 3\)")]
)
def test_a_task_that_does_not_start_is_one_line(interpreter, id, message):
    with pytest.raises(UserError, match=message):
        IsaacGymTask(id, sim_device="cpu").make_env(1)


@pytest.mark.parametrize(
    ("changes", "message"), [({"id": "a b"}, "no name"), ({"resets": "soon"}, "choose one of next_step")]
)
def test_bad_values_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        IsaacGymTask(**{"id": "Ant", **changes})
