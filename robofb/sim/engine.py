"""What the engines share: naming worlds, and addressing a model's objects by name."""

from __future__ import annotations

import copy
from typing import TypeVar

import mujoco
import numpy as np
import torch
from torch import Tensor

_Task = TypeVar("_Task")


def with_tensors_on(task: _Task, device: torch.device) -> _Task:
    """Return a copy of a task all of whose tensors are on another device; itself where that is the CPU."""
    if device.type == "cpu":
        return task
    moved = copy.copy(task)
    for name, value in vars(task).items():
        if hasattr(value, "to"):
            setattr(moved, name, value.to(device))
    return moved


def world_ids(ids: Tensor | None, num_worlds: int, device: torch.device) -> Tensor:
    """Return world indices (n,) int64; None means all, a (B,) bool mask its true entries.

    Raises:
        ValueError: an index is outside 0..num_worlds-1. Not on a GPU, which would have to wait.
    """
    if ids is None:
        return torch.arange(num_worlds, device=device)
    if ids.dtype == torch.bool:
        return ids.nonzero().squeeze(-1)
    if ids.device.type == "cpu" and len(ids) and not (0 <= int(ids.min()) and int(ids.max()) < num_worlds):
        raise ValueError(f"world ids must lie in 0..{num_worlds - 1}, not {ids.tolist()}")
    return ids


def free_joint_slices(model: mujoco.MjModel, body: str) -> tuple[slice, slice]:
    """Return where a free body's pose (7: xyz, wxyz) and velocity (6) stand in qpos and qvel."""
    joint = model.body(body).jntadr[0]
    if joint < 0 or model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_FREE:
        raise ValueError(f"body {body!r} has no free joint")
    q, v = int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint])
    return slice(q, q + 7), slice(v, v + 6)


def sensor_columns(model: mujoco.MjModel, *names: str) -> Tensor:
    """Return where the values of sensors stand in sensordata, one sensor after the other, int64."""
    sensors = [model.sensor(name) for name in names]
    return torch.cat([torch.arange(int(s.adr[0]), int(s.adr[0] + s.dim[0])) for s in sensors])


def joint_indices(model: mujoco.MjModel, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the qpos and qvel indices of one-dimensional joints."""
    joints = [model.joint(name).id for name in names]
    return model.jnt_qposadr[joints].copy(), model.jnt_dofadr[joints].copy()
