"""Make what configs and runs name: environments, policies, and the agents that act with them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from typing import Any

from omegaconf import OmegaConf

from robofb.build import build
from robofb.errors import UserError
from robofb.interfaces import Policy
from robofb.policies.executor import ChunkExecutor
from robofb.policies.residual import ResidualPolicy
from robofb.policies.residual_agent import ResidualAgent
from robofb.run import Run, is_run
from robofb.sim.vec_env import SimVecEnv
from robofb.types import EnvSpec


def make_env(
    task: Any,
    engine: Any,
    num_envs: int,
    cameras: Mapping[str, tuple[int, int]] | None = None,
    *,
    sim_state: bool = False,
    autoreset: bool = True,
) -> SimVecEnv:
    """Build a vector env from config nodes: `task` (a `_target_`) and `engine` (a partial `_target_`).

    Args:
        cameras: height and width [px] of image observations by the camera's name.
        sim_state, autoreset: see `SimVecEnv`.
    """
    if num_envs < 1:
        raise UserError(f"num_envs={num_envs}: needs at least 1")
    return SimVecEnv(
        build(task), num_envs, partial(build, engine), cameras, autoreset=autoreset, sim_state=sim_state
    )


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
    """Return the frozen chunk policy of a BC run.

    Raises:
        UserError: the run holds something else, or its checkpoint is damaged.
    """
    return policy_of(load_bc_checkpoint(run, which))


def load_bc_checkpoint(run: Run, which: str = "best") -> dict[str, Any]:
    """Return a checkpoint of a BC run.

    Raises:
        UserError: the run holds something else, or its checkpoint is damaged.
    """
    if run.kind != "bc":
        raise UserError(f"{run.path} is a {run.kind} run; a base policy comes from a bc run")
    return run.load_checkpoint(which)


def policy_of(checkpoint: Mapping[str, Any]) -> Any:
    """Return the frozen chunk policy of a BC checkpoint."""
    policy = build_policy(checkpoint["config"]["policy"], checkpoint["spec"])
    policy.load_state_dict(checkpoint["policy"])
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
        raise UserError(f"{run.path} is a {run.kind} run, not a residual run")
    checkpoint = run.load_checkpoint(which)
    policy = ResidualPolicy(
        build_policy(checkpoint["base_policy"], checkpoint["spec"]), **checkpoint["residual"]
    )
    policy.load_state_dict(checkpoint["policy"])
    return policy.eval().requires_grad_(False)


def load_agent(
    run: Run, num_envs: int, which: str = "best", execute: int | None = None
) -> ChunkExecutor | ResidualAgent:
    """Return the agent that a run trained, ready for `num_envs` envs.

    Raises:
        UserError: the run holds no policy, or `execute` does not fit it.
    """
    if run.kind == "bc":
        return ChunkExecutor(load_policy(run, which), num_envs, execute=execute)
    if run.kind == "residual":
        return ResidualAgent(load_residual(run, which), num_envs, execute=execute)
    parts = [str(run.path / kind) for kind in ("bc", "residual") if is_run(run.path / kind)]
    hint = f": try {' or '.join(parts)}" if parts else ""
    raise UserError(f"{run.path} is a {run.kind} run; only bc and residual runs can be evaluated{hint}")
