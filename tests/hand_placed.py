"""Scenes of assembly tasks whose parts stand where a test wants them."""

import mujoco
import numpy as np
import torch

from robofb.envs.furniture.assembly import AssemblyTask
from robofb.geometry import quat_from_axis_angle
from robofb.sim.engine import free_joint_slices
from robofb.sim.mujoco_engine import MujocoEngine


def placed(task: AssemblyTask, **poses: tuple) -> MujocoEngine:
    """Return one world of a task, its parts at (x, y, z) or (x, y, z, rotation vector)."""
    engine = MujocoEngine(task.build(), 1)
    for name, pose in poses.items():
        vector = torch.tensor([pose[3:] or (0.0, 0.0, 0.0)], dtype=torch.float64)
        angle = vector.norm(dim=-1)
        quat = quat_from_axis_angle(vector / angle.clamp_min(1e-12).unsqueeze(-1), angle)
        place = torch.cat([torch.tensor([pose[:3]], dtype=torch.float64), quat], -1)
        engine.field("qpos")[0, free_joint_slices(task.model, name)[0]] = place[0]
    engine.forward(torch.tensor([0]))
    return engine


def extent_m(model: mujoco.MjModel, body: str) -> np.ndarray:
    """Return the size (3,) of the box around a body's visible shapes, in its frame."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    start, count = model.body(body).geomadr[0], model.body(body).geomnum[0]
    for geom in range(start, start + count):
        if model.geom_group[geom] == 3:
            continue
        turn = np.empty(9)
        mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
        turn = turn.reshape(3, 3)
        centre = model.geom_pos[geom] + turn @ model.geom_aabb[geom, :3]
        half = np.abs(turn) @ model.geom_aabb[geom, 3:]
        low, high = np.minimum(low, centre - half), np.maximum(high, centre + half)
    return high - low
