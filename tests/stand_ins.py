"""A point that must reach a goal, twice: as a Gymnasium environment, and with the interface of a VecTask."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

REACH_M = 0.05
SPEED_M = 0.2  # per control step


class PointGym(gymnasium.Env):
    """Move a point; `is_success` ends the episode. Shows two vectors and a picture."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode: str | None = None, terminate: bool = True) -> None:
        self.render_mode, self._terminate = render_mode, terminate
        vector = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        camera = spaces.Box(0, 255, (6, 8, 3), np.uint8)
        self.observation_space = spaces.Dict({"camera": camera, "goal": vector, "position": vector})
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.actions: list[np.ndarray] = []

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        super().reset(seed=seed)
        self.goal = self.np_random.uniform(-0.5, 0.5, 2)
        self.position = self.goal + 1.0 + self.np_random.uniform(0, 0.3, 2)
        return self._obs(), {"is_success": False}

    def step(self, action: np.ndarray) -> tuple[dict, float, bool, bool, dict]:
        assert self.action_space.contains(action), action
        self.actions.append(action)
        self.position = self.position + SPEED_M * action
        distance = float(np.linalg.norm(self.position - self.goal))
        success = distance < REACH_M
        return self._obs(), -distance, success and self._terminate, False, {"is_success": success}

    def render(self) -> np.ndarray:
        return np.kron(self._obs()["camera"], np.ones((40, 40, 1), np.uint8))

    def _obs(self) -> dict[str, np.ndarray]:
        camera = np.zeros((6, 8, 3), np.uint8)
        camera[2, 3, 1] = 40 + int(100 * (self.position[0] - self.goal[0]))
        return {"camera": camera, "goal": self.goal.copy(), "position": self.position.copy()}


class PointVecTask:
    """The same point in many envs at once, by the rules of IsaacGymEnvs' VecTask.

    `step` writes into buffers that it returns again and again. An env whose `reset_buf` is set begins anew in
    the next step: after the physics (as most tasks do), or before (`reset_first`, as Factory's do), or in the
    very step (`same_step`).
    """

    num_obs, num_actions = 4, 2
    dt, control_freq_inv, rl_device = 0.05, 2, "cpu"
    reset_first = same_step = False

    def __init__(self, num_envs: int, max_episode_length: int = 40) -> None:
        self.num_envs, self.max_episode_length = num_envs, max_episode_length
        self.act_space = SimpleNamespace(low=-np.ones(2), high=np.ones(2))
        self.obs_space = SimpleNamespace(shape=(4,))
        self.obs_buf = torch.zeros(num_envs, 4)
        self.rew_buf = torch.zeros(num_envs)
        self.reset_buf = torch.ones(num_envs, dtype=torch.long)
        self.progress_buf = torch.zeros(num_envs, dtype=torch.long)
        self.position, self.goal = torch.zeros(num_envs, 2), torch.zeros(num_envs, 2)
        self.extras: dict[str, Any] = {}
        self.actions: list[torch.Tensor] = []

    def reset(self) -> dict[str, torch.Tensor]:
        return {"obs": self.obs_buf}

    def reset_idx(self, ids: torch.Tensor) -> None:
        self.goal[ids] = torch.rand(len(ids), 2) - 0.5
        self.position[ids] = self.goal[ids] + 1.0 + 0.3 * torch.rand(len(ids), 2)
        self.reset_buf[ids] = 0
        self.progress_buf[ids] = 0

    def step(self, actions: torch.Tensor):
        self.actions.append(actions)
        if self.reset_first:
            self._reset_marked()
        self.position += SPEED_M * actions
        self.progress_buf += 1
        if not self.reset_first:
            self._reset_marked()
        distance = (self.position - self.goal).norm(dim=1)
        success = distance < REACH_M
        self.rew_buf[:] = -distance
        late = self.progress_buf >= self.max_episode_length - 1
        self.reset_buf[:] = (success | late).long()
        self.extras = {"time_outs": late & ~success, "success": success.float(), "mean": distance.mean()}
        reset_buf = self.reset_buf.clone()
        if self.same_step:
            self._reset_marked()
        self.obs_buf[:] = torch.cat([self.position, self.goal], 1)
        return {"obs": self.obs_buf}, self.rew_buf, reset_buf, self.extras

    def _reset_marked(self) -> None:
        ids = self.reset_buf.nonzero()[:, 0]
        if len(ids):
            self.reset_idx(ids)


class ResetFirstVecTask(PointVecTask):
    reset_first = True


class SameStepVecTask(PointVecTask):
    same_step = True


def make(seed: int, task: str, num_envs: int, sim_device: str, rl_device: str, headless: bool):
    """Stand in for `isaacgymenvs.make`."""
    tasks = {"Point": PointVecTask, "ResetFirst": ResetFirstVecTask, "SameStep": SameStepVecTask}
    if task == "Dies":
        raise SystemExit(3)
    return tasks[task](num_envs)
