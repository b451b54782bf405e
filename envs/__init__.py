"""Robots and tasks. Importing this registers every task of `configs/task` with Gymnasium.

`import robofb.envs; gymnasium.make_vec("robofb/OneLegInsert-v0", num_envs=64, randomness="med")`
"""

from __future__ import annotations

import importlib
from functools import partial
from importlib.resources import files
from typing import Any

import gymnasium
import yaml

from robofb.errors import UserError


def task_names() -> list[str]:
    """Return the names of all our tasks, those of their configs; not of those that wrap other simulators."""
    configs = [entry for entry in _configs().iterdir() if entry.name.endswith(".yaml")]
    return sorted(entry.name[:-5] for entry in configs if "_target_: robofb.envs." in entry.read_text())


def engine_task_names() -> list[str]:
    """Return the names of the tasks that run on an engine; others bring their own worlds (`make_env`)."""
    return [name for name in task_names() if not hasattr(_class_and_values(name)[0], "make_env")]


def scripted_task_names() -> list[str]:
    """Return the names of the tasks that run on an engine and bring an expert."""
    return [name for name in engine_task_names() if hasattr(_class_and_values(name)[0], "expert")]


def make_task(name: str, **changes: Any) -> Any:
    """Build a task from its config, with some values changed.

    Returns:
        An `interfaces.Task`, or an `interfaces.EnvMaker` where the task brings its own worlds.

    Raises:
        UserError: there is no such task, or it has no such setting.
    """
    if name not in task_names():
        raise UserError(f"task must be one of {', '.join(task_names())}, not {name!r}")
    made_by, values = _class_and_values(name)
    for key in changes:
        if key not in values:
            raise UserError(f"task {name} has no setting {key!r}; it has {', '.join(values)}")
    return made_by(**{**values, **changes})


def _class_and_values(name: str) -> tuple[type, dict[str, Any]]:
    """Return the class of a task and what its config sets."""
    values = yaml.safe_load(_configs().joinpath(f"{name}.yaml").read_text())
    module, _, class_name = values.pop("_target_").rpartition(".")
    return getattr(importlib.import_module(module), class_name), values


def _configs() -> Any:
    return files("robofb.configs").joinpath("task")


def gymnasium_id(name: str) -> str:
    """Return the Gymnasium id of a task: one_leg_insert is robofb/OneLegInsert-v0."""
    return f"robofb/{''.join(word.capitalize() for word in name.split('_'))}-v0"


def _register() -> None:
    for name in task_names():
        if gymnasium_id(name) not in gymnasium.registry:
            gymnasium.register(
                id=gymnasium_id(name),
                entry_point="robofb.sim.gym:RobofbEnv",
                vector_entry_point="robofb.sim.gym:RobofbVectorEnv",
                kwargs={"task": partial(make_task, name)},
            )


_register()
