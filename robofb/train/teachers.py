"""Find the teacher that a config names."""

from __future__ import annotations

from typing import Protocol

import torch

from robofb.build import build
from robofb.errors import UserError
from robofb.interfaces import TaughtTask, Teacher, VecEnv
from robofb.loading import load_student
from robofb.policies.student import Choices, StudentPolicy
from robofb.run import Run
from robofb.types import Obs


class Taught(Protocol):
    """A config with a teacher."""

    task: object
    teacher: str
    teacher_checkpoint: str


class StudentAsTeacher:
    """A trained one-step policy as a teacher; implements `interfaces.Teacher`.

    Args:
        policy: has no memory; its first policy answers.
    """

    def __init__(self, policy: StudentPolicy) -> None:
        self.policy = policy

    @torch.no_grad()
    def answer(self, obs: Obs) -> torch.Tensor:
        """Return log-probabilities (B, n), or mean actions (B, A) in environment units."""
        seen = {key: obs[key] for key in self.policy.spec.obs}
        wanted = self.policy.distribution(self.policy.inputs(seen)[None])
        if isinstance(wanted, Choices):
            return wanted.log_probs[0]
        return self.policy.to_env(wanted.mode[0])


def load_teacher(cfg: Taught, env: VecEnv) -> Teacher:
    """Return the task's own teacher, or the policy of a run as one.

    Raises:
        UserError: the task has no teacher, or the run holds none that answers at any state of this task.
    """
    if cfg.teacher == "task":
        task = build(cfg.task)
        if not isinstance(task, TaughtTask):
            raise UserError(f"task {env.spec.task} brings no teacher: name a run, teacher=<run folder>")
        return task.teacher()
    policy = load_student(Run.open(cfg.teacher), cfg.teacher_checkpoint)
    what = f"teacher={cfg.teacher}"
    if policy.memories.size:
        raise UserError(f"{what}: it remembers, so it cannot answer at states that others went to")
    if missing := [key for key in policy.spec.obs if key not in env.spec.obs]:
        raise UserError(f"{what}: it sees {missing[0]!r}, which {env.spec.task} does not show")
    if policy.spec.action != env.spec.action:
        raise UserError(f"{what}: its actions are others than those of {env.spec.task}")
    return StudentAsTeacher(policy.to(env.device))
