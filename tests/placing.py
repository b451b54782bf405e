"""Put a task's parts where a test wants them, and play its expert."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from robofb.envs.furniture.assembly import AssemblyTask
from robofb.sim.mujoco_engine import MujocoEngine
from robofb.sim.vec_env import SimVecEnv


def placed(task: AssemblyTask, poses: Mapping[str, tuple[Tensor, Tensor]]) -> MujocoEngine:
    """Return one world whose parts are at positions (3,) [m] and orientations (4,) wxyz, the arm at zero."""
    engine = MujocoEngine(task.model, 1)
    qpos = engine.field("qpos")
    for part, place in zip(task.parts, task._part_q, strict=True):
        qpos[0, place] = torch.cat(poses[part.name]).double()
    engine.forward(torch.tensor([0]))
    return engine


def play(task: AssemblyTask, num_envs: int, noise: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Play the expert once; return success and length (B,) of the episodes 0..B-1 of `seed`."""
    env = SimVecEnv(task, num_envs, autoreset=False)
    expert, obs = task.expert(num_envs, noise), env.reset(seed)
    expert.reset(torch.ones(num_envs, dtype=torch.bool), env.episode_seed)
    done, success = torch.zeros(num_envs, dtype=torch.bool), torch.zeros(num_envs, dtype=torch.bool)
    length = torch.zeros(num_envs, dtype=torch.int64)
    while not done.all():
        step = env.step(expert.next(obs))
        obs, ended = step.obs, step.done & ~done
        success |= ended & step.info["success"]
        length[ended] = step.info["length"][ended]
        done |= ended
    env.close()
    return success, length
