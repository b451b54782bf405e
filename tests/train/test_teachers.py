"""Teachers by name: a task's own, trained ones, and those that cannot teach."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import HIDDEN_OFFSET, POINT_SPEC, AimingPolicy, NoisyPolicy, PointEnv
from learning import save_base

from robofb.errors import UserError
from robofb.policies.student import StudentPolicy
from robofb.run import Run
from robofb.train.teachers import load_teacher
from robofb.types import ArraySpec, EnvSpec

CHOICE_SPEC = EnvSpec(
    "point", POINT_SPEC.obs, ArraySpec((1,), "int64", low=(0,), high=(2,)), control_dt=0.1, max_steps=16
)


@dataclass
class Named:
    """As much of a config as names a teacher."""

    teacher: str
    task: Any = None
    teacher_checkpoint: str = "best"


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
        load_teacher(Named("task", {"_target_": "robofb.envs.furniture.peg_hole.PegHole"}), PointEnv(1))


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
