"""Make the simulated worlds that datasets and runs name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from robofb.build import build
from robofb.config import compose
from robofb.errors import UserError
from robofb.interfaces import TaskEnv
from robofb.loading import make_env, make_sim_env
from robofb.run import Run
from robofb.sim.recorded import RecordedScene
from robofb.sim.render import cameras_of
from robofb.sim.vec_env import SimVecEnv
from robofb.store.episodes import EpisodeStore
from robofb.types import SIM_STATE, EnvSpec

_NO_FACTS: Mapping[str, Any] = {}


def make_task(name: str) -> Any:
    """Build the task of a name that a dataset keeps, with the values of its config.

    Raises:
        UserError: there is no such task.
    """
    return build(_compose(name).task)


def _compose(name: str, meta: Mapping[str, Any] = _NO_FACTS) -> Any:
    """Compose task and engine of a dataset from its task's name and its meta."""
    if not re.fullmatch(r"\w+", name):
        raise UserError(f"task {name!r} is no task's name")
    words = [f"task={name}"]
    for key in ("randomness", "looks"):
        if key not in meta:
            continue
        if not re.fullmatch(r"\w+", str(meta[key])):
            raise UserError(f"{key} {meta[key]!r} of a dataset of task {name} is no name")
        words.append(f"task.{key}={meta[key]}")
    return compose("collect", words)


def env_of_dataset(store: EpisodeStore, num_envs: int) -> SimVecEnv:
    """Make the env of a dataset's task, looks and cameras, with `sim_state` and without `autoreset`.

    Raises:
        UserError: there is no such task.
    """
    cfg = _compose(store.spec.task, store.meta)
    cameras = cameras_of(store.spec)
    return make_sim_env(cfg.task, cfg.engine, num_envs, cameras, sim_state=True, autoreset=False)


def env_of_task(name: str, num_envs: int, meta: Mapping[str, Any] = _NO_FACTS) -> SimVecEnv:
    """Make the env of a task's name without cameras, with `sim_state` and without `autoreset`.

    Args:
        meta: of a dataset, whose randomness and looks count.

    Raises:
        UserError: there is no such task, or it brings its own simulator.
    """
    cfg = _compose(name, meta)
    return make_sim_env(cfg.task, cfg.engine, num_envs, sim_state=True, autoreset=False)


def env_of_run(
    run: Run,
    num_envs: int,
    spec: EnvSpec,
    cameras: Mapping[str, tuple[int, int]] = _NO_FACTS,
    visuals: Any = None,
) -> TaskEnv:
    """Make the env that a run was trained for, by the default engine, with `sim_state` where there is one.

    Args:
        spec: of the run's policy, whose cameras the env has.
        cameras: further ones: height and width [px] by the camera's name.
        visuals: config node of a `VisualRandomization`, or nothing.

    Raises:
        UserError: the run knows no task, or its policy sees one of the cameras at another size.
    """
    task = run.config.get("task")
    if not task:
        raise UserError(f"{run.path} was trained on data alone, without a task to roll it out in")
    seen = cameras_of(spec)
    for name, size in cameras.items():
        if seen.get(name, size) != size:
            raise UserError(
                f"camera {name} of {size} pixels: the policy in {run.path} sees it at {seen[name]}"
            )
    engine = compose("collect").engine
    return make_env(task, engine, num_envs, {**seen, **cameras}, sim_state=None, visuals=visuals)


def visuals_of(text: str) -> Any:
    """Return the config node that a text such as "varied" or "varied,texture=0" describes, None for "".

    Raises:
        UserError: there is no such config, or it has no such key.
    """
    name, *changes = text.split(",")
    if not name:
        return None
    cfg = compose("collect", [f"visuals={name}", *(f"visuals.{change}" for change in changes)])
    return cfg.visuals


def scene_of_dataset(store: EpisodeStore) -> tuple[RecordedScene | None, str]:
    """Return the scene of a dataset's task; where it cannot be shown None, and the reason."""
    if SIM_STATE not in store.spec.obs:
        return None, f"no '{SIM_STATE}' is recorded"
    try:
        scene = RecordedScene(make_task(store.spec.task).build())
    except UserError as error:
        return None, str(error)
    recorded = store.spec.obs[SIM_STATE].shape
    if recorded != (scene.state_size,):
        return (
            None,
            f"'{SIM_STATE}' has shape {recorded}, states of task {store.spec.task} ({scene.state_size},)",
        )
    return scene, ""
