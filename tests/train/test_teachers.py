"""Teachers by name: a task's own, trained ones, and those that cannot teach."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import HIDDEN_OFFSET, POINT_SPEC, AimingPolicy, NoisyPolicy, PointEnv
from learning import save_base
from taught_rollouts import one_thread

from robofb.envs.furniture.one_leg_insert import OneLegInsert
from robofb.errors import UserError
from robofb.policies.student import StudentPolicy
from robofb.run import Run
from robofb.sim.vec_env import SimVecEnv
from robofb.train.teachers import load_teacher, teacher_of_run
from robofb.train.tgrl import TgrlConfig
from robofb.types import ArraySpec, EnvSpec

CHOICE_SPEC = EnvSpec(
    "point", POINT_SPEC.obs, ArraySpec((1,), "int64", low=(0,), high=(2,)), control_dt=0.1, max_steps=16
)

NOBODY = {"_target_": "train.test_teachers.Nobody"}


class Nobody:
    """A task without anybody who knows it."""


class Deaf:
    """A task whose expert only acts."""

    def expert(self, num_envs: int, noise: float) -> object:
        return object()


@dataclass
class Named:
    """As much of a config as names a teacher."""

    teacher: str
    task: Any = None
    teacher_checkpoint: str = "best"
    teacher_errors: float = 0.0
    resume: str | None = None


def save_student(path: Path, spec: EnvSpec = POINT_SPEC, **settings: Any) -> StudentPolicy:
    """Save a run with an untrained student."""
    policy = StudentPolicy(spec, ["state"], generator=torch.Generator().manual_seed(0), **settings)
    target = "robofb.policies.student.StudentPolicy"
    node = {"_target_": target, "_partial_": True, "obs_keys": ["state"], **settings}
    with Run.create(path, {"greedy": True}, "tgrl") as run:
        content = {"spec": policy.spec.to_dict(), "policy": policy.state_dict(), "policy_node": node}
        run.save_checkpoint(content, step=1, best=True)
    return policy


def test_a_tasks_own_teacher_answers() -> None:
    env = PointEnv(3)
    teacher = load_teacher(Named("task", {"_target_": "fakes.PointTask"}), env)
    obs = env.reset(0)
    torch.testing.assert_close(teacher.answer(obs), obs["state"][:, 2:] + HIDDEN_OFFSET)


def test_a_task_without_a_teacher_asks_for_a_run() -> None:
    with pytest.raises(UserError, match="brings no teacher: name a run, teacher=<run folder>"):
        load_teacher(Named("task", NOBODY), PointEnv(1))


@pytest.mark.parametrize("teacher", ["scripted", "task"])
def test_a_tasks_scripted_expert_teaches_where_nobody_else_does(teacher: str) -> None:
    """Its first command is at most a step of 30 mm from where the hand is."""
    env = SimVecEnv(OneLegInsert(), 2, one_thread)
    obs = env.reset(0)
    found = load_teacher(Named(teacher, {"_target_": f"{OneLegInsert.__module__}.OneLegInsert"}), env)
    found.begin(torch.ones(2, dtype=torch.bool), env.episode_seed)
    answer = found.answer(obs)
    env.close()
    assert answer.shape == (2, 10) and (answer[:, 9] == -1).all()
    assert ((answer - obs["state"][:, :10])[:, :3].norm(dim=1) - 0.03).abs().max() < 1e-5


def test_who_has_no_script_or_cannot_be_asked_is_refused() -> None:
    with pytest.raises(UserError, match="teacher=scripted: task point has no scripted expert"):
        load_teacher(Named("scripted", {"_target_": "fakes.PointTask"}), PointEnv(1))
    with pytest.raises(UserError, match="the expert of point cannot be asked while others act"):
        load_teacher(Named("scripted", {"_target_": "train.test_teachers.Deaf"}), PointEnv(1))


def test_random_and_erring_teachers_answer_by_the_episodes_seed() -> None:
    env = PointEnv(3)
    obs, everywhere = env.reset(0), torch.ones(3, dtype=torch.bool)
    own, wrong, never = (
        load_teacher(Named(name, {"_target_": "fakes.PointTask"}, teacher_errors=share), env)
        for name, share in (("task", 0.0), ("task", 1.0), ("random", 0.0))
    )
    for teacher in (wrong, never):
        teacher.begin(everywhere, env.episode_seed)
    assert torch.equal(wrong.answer(obs), never.answer(obs))
    assert not torch.equal(own.answer(obs), never.answer(obs))


def test_errors_of_a_teacher_who_knows_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="teacher_errors=0.2: teacher=random knows nothing as it is"):
        load_teacher(Named("random", teacher_errors=0.2), PointEnv(1))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_of_errors_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(UserError, match=r"teacher_errors=.*: must lie in 0\.\.1"):
        TgrlConfig(teacher_errors=share)


def test_a_regression_teaches_by_the_first_action_of_its_chunk(tmp_path: Path) -> None:
    policy = AimingPolicy()
    save_base(tmp_path / "mlp", policy, "AimingPolicyOfSpec")
    obs = PointEnv(4).reset(0)
    expected = policy.act({"state": obs["state"][:, None]}, None)[:, 0]
    answer = load_teacher(Named(str(tmp_path / "mlp")), PointEnv(4)).answer(obs)
    torch.testing.assert_close(answer, expected)


def test_a_trained_student_teaches_what_it_would_do(tmp_path: Path) -> None:
    policy = save_student(tmp_path / "run", hidden=[8])
    obs = PointEnv(4).reset(0)
    mode = policy.distribution(policy.inputs(obs)[None]).mode[0]
    answer = load_teacher(Named(str(tmp_path / "run")), PointEnv(4)).answer(obs)
    torch.testing.assert_close(answer, mode)  # the bounds are -1 and 1


def test_a_student_of_choices_teaches_their_chances(tmp_path: Path) -> None:
    save_student(tmp_path / "run", CHOICE_SPEC, hidden=[8])
    env = PointEnv(4)
    env.spec = CHOICE_SPEC
    answer = load_teacher(Named(str(tmp_path / "run")), env).answer(env.reset(0))
    torch.testing.assert_close(answer.exp().sum(-1), torch.ones(4))
    assert answer.shape == (4, 3)


def test_what_remembers_draws_or_decides_by_chunks_cannot_teach(tmp_path: Path) -> None:
    save_student(tmp_path / "remembers", hidden=[8], memory=4)
    save_base(tmp_path / "draws", NoisyPolicy(), "NoisyPolicyOfSpec")
    with Run.create(tmp_path / "residual", {}, "residual"):
        pass
    for name in ("remembers", "draws", "residual"):
        with pytest.raises(UserError, match="cannot answer at states that others went to"):
            load_teacher(Named(str(tmp_path / name)), PointEnv(1))


def test_a_teacher_of_another_task_is_refused(tmp_path: Path) -> None:
    save_student(tmp_path / "box", hidden=[8])
    save_student(tmp_path / "choices", CHOICE_SPEC, hidden=[8])
    env = PointEnv(1)
    with pytest.raises(UserError, match="its actions are others than those of point"):
        load_teacher(Named(str(tmp_path / "choices")), env)
    env.spec = replace(POINT_SPEC, obs={"touch": ArraySpec((4,))})
    with pytest.raises(UserError, match="it sees 'state', which point does not show"):
        load_teacher(Named(str(tmp_path / "box")), env)
    env.spec = replace(POINT_SPEC, obs={"state": ArraySpec((5,))})
    with pytest.raises(UserError, match="'state' has shape \\[4\\] there, another in point"):
        load_teacher(Named(str(tmp_path / "box")), env)


def test_a_training_that_goes_on_keeps_its_teacher_whatever_becomes_of_that_run(tmp_path: Path) -> None:
    save_student(tmp_path / "teacher", hidden=[8])
    named = Named(str(tmp_path / "teacher"))
    kept = teacher_of_run(named)
    obs = PointEnv(4).reset(0)
    before = load_teacher(named, PointEnv(4), kept).answer(obs)
    with Run.create(tmp_path / "own", {}, "tgrl") as run:
        run.save_checkpoint({"teacher": kept}, step=1)
    shutil.rmtree(tmp_path / "teacher")
    resumed = replace(named, resume=str(tmp_path / "own"))
    assert torch.equal(load_teacher(resumed, PointEnv(4)).answer(obs), before)
    with pytest.raises(UserError, match="no run at .*teacher"):
        load_teacher(named, PointEnv(4))
