"""Make what configs and runs name: environments, policies, and the agents that act with them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from typing import Any

import torch
import yaml
from omegaconf import OmegaConf
from torch import Tensor

from robofb.build import build
from robofb.errors import UserError
from robofb.families import build_family
from robofb.interfaces import Policy, TaskEnv
from robofb.policies.executor import ChunkExecutor
from robofb.policies.residual import ResidualPolicy
from robofb.policies.residual_agent import ResidualAgent
from robofb.policies.student import StudentPolicy
from robofb.policies.student_agent import StudentAgent
from robofb.policies.tuned_executor import TunedExecutor
from robofb.run import Run, is_run, plain
from robofb.sim.render import cameras_of
from robofb.sim.reset_bank import BankDraw
from robofb.sim.vec_env import SimVecEnv
from robofb.types import EnvSpec

CHUNK_POLICY_KINDS = ("bc", "ppo", "dsrl", "idql", "dagger")
"""Kinds of run whose checkpoints hold a whole chunk policy, which a `ChunkExecutor` acts with."""


def make_env(
    task: Any,
    engine: Any,
    num_envs: int,
    cameras: Mapping[str, tuple[int, int]] | None = None,
    *,
    sim_state: bool | None = False,
    bank: BankDraw | None = None,
    visuals: Any = None,
) -> TaskEnv:
    """Build a vector env from config nodes: `task` (a `_target_`) and `engine` (a partial `_target_`).

    Args:
        cameras: height and width [px] of image observations by the camera's name.
        sim_state: see `SimVecEnv`; None: where the simulator has one.
        bank: see `SimVecEnv`.
        visuals: config node of a `VisualRandomization`, or nothing.

    Raises:
        UserError: the task brings its own simulator, which cannot serve what is asked for.
    """
    _check_num_envs(num_envs)
    if visuals and not cameras:
        raise UserError("visuals change what cameras see, and there are none here: leave visuals out")
    made = build(task)
    if getattr(made, "make_env", None) is None:
        states = sim_state is not False
        looks = build(visuals) if visuals else None
        return SimVecEnv(
            made, num_envs, partial(build, engine), cameras, sim_state=states, bank=bank, visuals=looks
        )
    name = f"task {made.name}"
    _check_needs_no_engine(engine, name)
    if sim_state:
        raise UserError(f"sim_state=true: {name} has no state that we could restore; leave sim_state out")
    if bank is not None:
        raise UserError(f"bank: {name} has no state that we could restore; leave bank out")
    if visuals:
        raise UserError(f"visuals: the looks of {name} are not ours to change; leave visuals out")
    env: TaskEnv = made.make_env(num_envs)
    shown = cameras_of(env.spec)
    if lacking := [camera for camera, size in (cameras or {}).items() if shown.get(camera) != tuple(size)]:
        env.close()
        wanted = ", ".join(f"{camera} of {list((cameras or {})[camera])}" for camera in lacking)
        has = ", ".join(f"{camera} of {list(size)}" for camera, size in shown.items()) or "none"
        raise UserError(f"{name} does not show the images asked for, {wanted}; those it shows: {has}")
    return env


def make_tasks_env(task: Any, engine: Any, params: Tensor) -> TaskEnv:
    """Build a vector env of which each env keeps a task of its own for good.

    Args:
        task, engine: config nodes, the former of a `MetaTask`.
        params: (B, P) of the tasks.

    Raises:
        UserError: the task is no family of tasks.
    """
    made = build_family(task)
    held: Any = made.fixed(params)
    if getattr(held, "make_env", None) is None:
        return SimVecEnv(held, len(params), partial(build, engine))
    _check_needs_no_engine(engine, f"task {made.spec.task}")
    env: TaskEnv = held.make_env(len(params))
    return env


def make_sim_env(
    task: Any,
    engine: Any,
    num_envs: int,
    cameras: Mapping[str, tuple[int, int]] | None = None,
    *,
    sim_state: bool = False,
    autoreset: bool = True,
) -> SimVecEnv:
    """Build a vector env as `make_env` does, for what only our own simulation can do.

    Args:
        sim_state, autoreset: see `SimVecEnv`.

    Raises:
        UserError: the task brings its own simulator.
    """
    _check_num_envs(num_envs)
    made = build(task)
    if getattr(made, "make_env", None) is not None:
        raise UserError(
            f"task {made.name} brings its own simulator: driving by hand and augmentation need a task of ours"
        )
    return SimVecEnv(
        made, num_envs, partial(build, engine), cameras, autoreset=autoreset, sim_state=sim_state
    )


def _check_num_envs(num_envs: int) -> None:
    if num_envs < 1:
        raise UserError(f"num_envs={num_envs}: needs at least 1")


def _check_needs_no_engine(engine: Any, name: str) -> None:
    if engine and plain(engine) != _default_engine():
        raise UserError(f"engine={engine.get('_target_')}: {name} brings its own simulator; leave engine out")


def _default_engine() -> Any:
    """Return the engine of a user who says nothing."""
    return yaml.safe_load(files("robofb.configs").joinpath("engine/mujoco.yaml").read_text())


def task_node(name: str) -> Any:
    """Return the config of a task by its name.

    Raises:
        UserError: there is no such task.
    """
    folder = files("robofb.configs") / "task"
    names = sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    if name not in names:
        raise UserError(f"task {name!r} is not known; valid: {', '.join(names)}")
    return OmegaConf.create((folder / f"{name}.yaml").read_text())


def load_policy(run: Run, which: str = "best") -> Policy:
    """Return the frozen chunk policy of a run of one of `CHUNK_POLICY_KINDS`.

    Raises:
        UserError: the run holds something else, or its checkpoint is damaged.
    """
    if run.kind not in CHUNK_POLICY_KINDS:
        raise UserError(
            f"{run.path} is {run.sort}; chunk policies are in {', '.join(CHUNK_POLICY_KINDS)} runs"
        )
    return policy_of(run.load_checkpoint(which))


def load_bc_checkpoint(run: Run, which: str = "best") -> dict[str, Any]:
    """Return a checkpoint of a BC run.

    Raises:
        UserError: the run holds something else, or its checkpoint is damaged.
    """
    if run.kind != "bc":
        raise UserError(f"{run.path} is {run.sort}; a base policy comes from a bc run")
    return run.load_checkpoint(which)


def policy_of(checkpoint: Mapping[str, Any]) -> Any:
    """Return the frozen chunk policy of a checkpoint: built from its `policy_node`, in BC the config's."""
    node = checkpoint.get("policy_node") or checkpoint["config"]["policy"]
    policy = build_policy(node, checkpoint["spec"])
    return _filled(policy, checkpoint["policy"])


def _filled(policy: Any, weights: Mapping[str, Tensor]) -> Any:
    """Give a policy its weights, and freeze it.

    Raises:
        UserError: they are of another network.
    """
    try:
        policy.load_state_dict(weights)
    except RuntimeError as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(f"the checkpoint is damaged: its weights are of another network ({why})") from error
    return policy.eval().requires_grad_(False)


def build_policy(node: Any, spec: Mapping[str, Any]) -> Any:
    """Build a policy from its config node, a partial `_target_` that lacks the spec alone."""
    return build(node, EnvSpec.from_dict(spec))


def load_residual(run: Run, which: str = "best") -> ResidualPolicy:
    """Return the policy of a residual run: its base and its correction, both from its own checkpoint.

    Raises:
        UserError: the run holds something else, or its checkpoint is damaged.
    """
    if run.kind != "residual":
        raise UserError(f"{run.path} is {run.sort}, not a residual run")
    checkpoint = run.load_checkpoint(which)
    policy = ResidualPolicy(
        build_policy(checkpoint["base_policy"], checkpoint["spec"]), **checkpoint["residual"]
    )
    return _filled(policy, checkpoint["policy"])


def load_student(run: Run, which: str = "best") -> StudentPolicy:
    """Return the frozen policies of a run that learnt from a teacher; the first is the student.

    Raises:
        UserError: the run holds something else, or its checkpoint is damaged.
    """
    if run.kind != "tgrl":
        raise UserError(f"{run.path} is {run.sort}, not a tgrl run")
    policy: StudentPolicy = policy_of(run.load_checkpoint(which))
    return policy


def load_agent(
    run: Run,
    num_envs: int,
    which: str = "best",
    execute: int | None = None,
    device: torch.device | str = "cpu",
) -> ChunkExecutor | ResidualAgent | StudentAgent:
    """Return the agent that a run trained, ready for `num_envs` envs.

    Raises:
        UserError: the run holds no policy, or `execute` does not fit it.
    """
    if run.kind in CHUNK_POLICY_KINDS:
        policy: Any = load_policy(run, which).to(device)  # type: ignore[attr-defined]
        if run.kind == "ppo" and (execute is None or execute <= policy.execute):
            learner = run.load_checkpoint(which)["learner"]
            states = learner["log_std"], learner["reference"]
            return TunedExecutor(policy, *states, num_envs, execute=execute, device=device)
        return ChunkExecutor(policy, num_envs, execute=execute, device=device)
    if run.kind == "residual":
        residual = load_residual(run, which).to(device)
        return ResidualAgent(residual, num_envs, execute=execute, device=device)
    if run.kind == "tgrl":
        if execute not in (None, 1):
            raise UserError(f"execute={execute}: a student decides at every step; leave execute out")
        student = load_student(run, which).to(device)
        return StudentAgent(student, num_envs, greedy=run.config["greedy"], device=device)
    parts = [str(run.path / kind) for kind in ("bc", "residual") if is_run(run.path / kind)]
    hint = f": try {' or '.join(parts)}" if parts else ""
    kinds = ", ".join((*CHUNK_POLICY_KINDS, "residual", "tgrl", "borel"))
    raise UserError(f"{run.path} is {run.sort}; those that can be evaluated are {kinds}{hint}")
