"""Draw the tasks of a family that are trained on, and others to be judged on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robofb.build import build
from robofb.errors import UserError
from robofb.meta_interfaces import FiniteFamily, MetaTask
from robofb.rng import HELD_OUT_TASKS_STREAM, TASKS_STREAM, EpisodeRng, derive_seeds


def build_family(node: Any) -> MetaTask:
    """Build a task that must be a `MetaTask`.

    Raises:
        UserError: it is one task, no family of them.
    """
    task = build(node)
    if not isinstance(task, MetaTask):
        name = getattr(task, "spec", task).task
        raise UserError(f"task {name} is one task, no family of them: choose grid_navi, for example")
    return task


def draw_tasks(family: MetaTask, num_tasks: int | None, seed: int, held_out: bool = False) -> Tensor:
    """Return the parameters (N, P) of N tasks, no two of which are the same.

    Args:
        family: one of finitely many tasks lists them.
        num_tasks: N; None: all of a finite family.
        seed: of the draw.
        held_out: draw from another stream than those that are trained on. A finite family holds out none:
            its tasks are all of them, or the same N.

    Raises:
        UserError: the family has fewer tasks, or no number of them and none is given.
    """
    if not isinstance(family, FiniteFamily):
        if num_tasks is None:
            raise UserError(f"num_tasks=null: {family.spec.task} has any number of tasks; say how many")
        stream = HELD_OUT_TASKS_STREAM if held_out else TASKS_STREAM
        seeds = derive_seeds(derive_seeds(seed, stream), torch.arange(num_tasks))
        return family.draw_params(EpisodeRng(seeds))
    every = family.all_params()
    if num_tasks is None:
        return every
    if num_tasks > len(every):
        raise UserError(f"num_tasks={num_tasks}: {family.spec.task} has {len(every)} tasks")
    order = EpisodeRng(derive_seeds(seed, TASKS_STREAM)[None]).uniform(len(every))[0].argsort()
    return every[order[:num_tasks]]
