"""Find the teacher that a config names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from robofb.build import build
from robofb.errors import UserError
from robofb.interfaces import AskedAgent, EpisodeTeacher, TaughtTask, Teacher, VecEnv
from robofb.loading import CHUNK_POLICY_KINDS, policy_of
from robofb.policies.student import Choices, StudentPolicy
from robofb.rng import EpisodeRng
from robofb.run import Run
from robofb.train.episode_teachers import ErringTeacher, ExpertAsTeacher, RandomTeacher, TeacherAtAnyState
from robofb.types import Obs

TASKS_OWN = "task"


class Taught(Protocol):
    """A config with a teacher."""

    task: Any
    teacher: str
    teacher_checkpoint: str
    teacher_errors: float
    resume: str | None


class StudentAsTeacher:
    """A trained student without memory as a teacher; implements `interfaces.Teacher`.

    Args:
        policy: its first policy answers.
    """

    def __init__(self, policy: StudentPolicy) -> None:
        self.policy = policy

    @torch.no_grad()
    def answer(self, obs: Obs) -> Tensor:
        """Return log-probabilities (B, n), or mean actions (B, A) in environment units."""
        seen = {key: obs[key] for key in self.policy.spec.obs}
        wanted = self.policy.distribution(self.policy.inputs(seen)[None])
        return wanted.log_probs[0] if isinstance(wanted, Choices) else self.policy.to_env(wanted.mode[0])


class RegressionAsTeacher:
    """A regression of chunks as a teacher: the first action of its chunk; implements `interfaces.Teacher`.

    Args:
        policy: sees one observation and draws nothing.
    """

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def answer(self, obs: Obs) -> Tensor:
        """Return actions (B, A) in environment units."""
        seen = {key: obs[key][:, None] for key in self.policy.spec.obs}
        unused = EpisodeRng(torch.zeros(0, dtype=torch.int64))
        action: Tensor = self.policy.act(seen, unused)[:, 0]
        return action


def teacher_of_run(cfg: Taught) -> dict[str, Any] | None:
    """Return what a teacher is built from where a run is named: to keep it in every checkpoint.

    A training that is continued goes on with the teacher that it has kept, whatever became of that run.
    """
    if cfg.teacher in (TASKS_OWN, "scripted", "random"):
        if cfg.teacher_checkpoint != "best":
            raise UserError(
                f"teacher_checkpoint={cfg.teacher_checkpoint}: teacher={cfg.teacher} is no run; leave it out"
            )
        return None
    if cfg.resume and (run := Run.open(cfg.resume)).has_checkpoint:
        kept: dict[str, Any] | None = run.load_checkpoint("latest").get("teacher")
        if kept is not None:
            return kept
    run = Run.open(cfg.teacher)
    if run.kind not in (*CHUNK_POLICY_KINDS, "tgrl"):
        raise _not_one_step(f"teacher={cfg.teacher}")
    content = run.load_checkpoint(cfg.teacher_checkpoint)
    node = content.get("policy_node") or content["config"]["policy"]
    return {"kind": run.kind, "policy_node": node, "spec": content["spec"], "policy": content["policy"]}


def load_teacher(cfg: Taught, env: VecEnv, kept: Mapping[str, Any] | None = None) -> EpisodeTeacher:
    """Return who answers at every state of the episodes of `env`, in error at a share of them.

    Args:
        cfg: names the teacher.
        env: where it teaches.
        kept: of `teacher_of_run`; found where None.

    Raises:
        UserError: the task has no such teacher, or the run holds none that answers at any state of this task.
    """
    if cfg.teacher == "random":
        if cfg.teacher_errors:
            raise UserError(f"teacher_errors={cfg.teacher_errors:g}: teacher=random knows nothing as it is")
        return RandomTeacher(env)
    kept = kept or teacher_of_run(cfg)
    if kept is not None:
        teacher = _of_run(kept, env, f"teacher={cfg.teacher}")
    else:
        teacher = {TASKS_OWN: _tasks_own, "scripted": _scripted}[cfg.teacher](cfg, env)
    return ErringTeacher(teacher, cfg.teacher_errors, env) if cfg.teacher_errors else teacher


def _tasks_own(cfg: Taught, env: VecEnv) -> EpisodeTeacher:
    task = build(cfg.task)
    if isinstance(task, TaughtTask):
        return TeacherAtAnyState(task.teacher())
    if hasattr(task, "expert"):
        return _scripted(cfg, env)
    raise UserError(f"task {env.spec.task} brings no teacher: name a run, teacher=<run folder>")


def _scripted(cfg: Taught, env: VecEnv) -> EpisodeTeacher:
    """Return the task's expert, who makes no errors of its own here."""
    task, name = build(cfg.task), env.spec.task
    if not hasattr(task, "expert"):
        raise UserError(f"teacher=scripted: task {name} has no scripted expert; try teacher=task or a run")
    expert = task.expert(env.num_envs, 0.0)
    if not isinstance(expert, AskedAgent):
        raise UserError(f"teacher=scripted: the expert of {name} cannot be asked while others act")
    return ExpertAsTeacher(expert, env.device)


def _of_run(kept: Mapping[str, Any], env: VecEnv, what: str) -> EpisodeTeacher:
    policy = policy_of(kept)
    teacher: Teacher | None = None
    if kept["kind"] == "tgrl" and not policy.memories.size:
        teacher = StudentAsTeacher(policy)
    elif kept["kind"] != "tgrl" and policy.obs_history == 1 and hasattr(policy, "predict"):
        teacher = RegressionAsTeacher(policy)
    if teacher is None:
        raise _not_one_step(what)
    policy.to(env.device)
    _check_fits(policy, env, what)
    return TeacherAtAnyState(teacher)


def _not_one_step(what: str) -> UserError:
    return UserError(
        f"{what}: it cannot answer at states that others went to; make one that can: "
        "robofb train dagger expert=<run> policy=mlp_chunk policy.horizon=1 policy.execute=1"
    )


def _check_fits(policy: Any, env: VecEnv, what: str) -> None:
    """Refuse a teacher that sees what is not shown, or does what is not taken."""
    task = env.spec.task
    for key, array in policy.spec.obs.items():
        if key not in env.spec.obs:
            raise UserError(f"{what}: it sees {key!r}, which {task} does not show")
        if array.shape != env.spec.obs[key].shape:
            raise UserError(f"{what}: {key!r} has shape {list(array.shape)} there, another in {task}")
    mine, theirs = policy.spec.action, env.spec.action
    if (mine.shape, mine.dtype, mine.low, mine.high) != (theirs.shape, theirs.dtype, theirs.low, theirs.high):
        raise UserError(f"{what}: its actions are others than those of {task}")
