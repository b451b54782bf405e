"""Simulated tasks as Gymnasium environments, single and vectorised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from robofb.errors import UserError
from robofb.interfaces import EnvMaker, Renderer, Task, TaskEnv
from robofb.sim.mujoco_engine import MujocoEngine
from robofb.sim.vec_env import SimVecEnv
from robofb.types import ArraySpec, EnvSpec, Obs, num_choices

NumpyObs = dict[str, np.ndarray]
_RENDERED_PX = (240, 320)  # height, width


def box(spec: ArraySpec) -> spaces.Box:
    """Return the Gymnasium box of an array; unbounded where the spec has no limits."""
    dtype = np.dtype(spec.dtype)
    edges = (0, 255) if dtype == np.uint8 else (-np.inf, np.inf)
    low = np.full(spec.shape, edges[0], dtype) if spec.low is None else np.reshape(spec.low, spec.shape)
    high = np.full(spec.shape, edges[1], dtype) if spec.high is None else np.reshape(spec.high, spec.shape)
    return spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype.type)


def observation_space(spec: EnvSpec) -> spaces.Dict:
    """Return the Gymnasium space of a task's observations."""
    return spaces.Dict({key: box(array) for key, array in spec.obs.items()})


def action_space(spec: EnvSpec) -> spaces.Space:
    """Return the Gymnasium space of a task's actions."""
    choices = num_choices(spec.action)
    return box(spec.action) if choices is None else spaces.Discrete(choices)


def _make_env(
    task: Task | EnvMaker, num_envs: int, cameras: Sequence[str], image_size: tuple[int, int], **options: Any
) -> TaskEnv:
    """Make the vector env of a task, with `options` of `SimVecEnv` where it runs on an engine."""
    make = getattr(task, "make_env", None)
    if make is None:
        return SimVecEnv(task, num_envs, cameras=dict.fromkeys(cameras, image_size), **options)  # type: ignore[arg-type]
    if cameras:
        raise UserError(f"cameras={list(cameras)}: {task.spec.task} has no cameras; leave them out")
    env: Any = make(num_envs)
    env.autoreset = options.get("autoreset", True)
    return env


def _tensor(action: np.ndarray, spec: EnvSpec) -> Tensor:
    """Return actions as our envs take them: a choice, to Gymnasium a number, is a row of one."""
    tensor = torch.as_tensor(action, dtype=getattr(torch, spec.action.dtype))
    return tensor if num_choices(spec.action) is None else tensor.unsqueeze(-1)


def _numpy(obs: Obs) -> NumpyObs:
    return {key: value.cpu().numpy() for key, value in obs.items()}


def _info_key(key: str) -> str:
    """Rename what Gymnasium's own wrappers claim: they put their statistics under "episode"."""
    return "episode_number" if key == "episode" else key


def _random_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


class RobofbEnv(gymnasium.Env[NumpyObs, np.ndarray]):
    """One copy of a task. `info` holds what `Step.info` does, for this env.

    Args:
        task: makes the task.
        render_mode: "rgb_array" or None.
        camera: what `render` looks through.
        cameras: those whose images are observed, by the key `image_<camera>`.
        image_size: height and width of these images [px].
        task_kwargs: handed to `task`, such as randomness="med".
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        task: Callable[..., Task | EnvMaker],
        render_mode: str | None = None,
        camera: str = "front",
        cameras: Sequence[str] = (),
        image_size: tuple[int, int] = (240, 320),
        **task_kwargs: Any,
    ) -> None:
        self._env = _make_env(task(**task_kwargs), 1, cameras, image_size, autoreset=False)
        self.observation_space = observation_space(self._env.spec)
        self.action_space = action_space(self._env.spec)
        self.render_mode, self._camera = render_mode, camera
        self._renderer: Renderer | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NumpyObs, dict[str, Any]]:
        """Start an episode: of `seed` where given, else the next of the seed's sequence."""
        super().reset(seed=seed)
        return self._row(self._env.reset(_random_seed(self.np_random))), {}

    def step(self, action: np.ndarray) -> tuple[NumpyObs, float, bool, bool, dict[str, Any]]:
        """Apply one action, (A,) or a choice; the observation is the episode's own even at its end."""
        result = self._env.step(_tensor(action, self._env.spec)[None])
        info = {_info_key(key): value[0].item() for key, value in result.info.items()}
        return (
            self._row(result.final_obs),
            float(result.reward),
            bool(result.terminated),
            bool(result.truncated),
            info,
        )

    def render(self) -> np.ndarray | None:
        """Return an (H, W, 3) uint8 picture in mode "rgb_array"."""
        if self.render_mode != "rgb_array":
            return None
        if self._renderer is None:
            self._renderer = self._env.renderer(*_RENDERED_PX)
        return self._renderer.frame(0, self._camera)

    def close(self) -> None:
        """Release simulator and renderer; safe twice."""
        if self._renderer is not None:
            self._renderer.__exit__(None, None, None)
            self._renderer = None
        self._env.close()

    def _row(self, obs: Obs) -> NumpyObs:
        return {key: value[0].copy() for key, value in _numpy(obs).items()}


class RobofbVectorEnv(VectorEnv[NumpyObs, np.ndarray, np.ndarray]):
    """Many copies of a task, stepped together by C threads; finished ones reset in the same step.

    Args:
        task: makes the task.
        num_envs: B.
        num_threads: C threads; 0 takes every CPU.
        cameras: those whose images are observed, by the key `image_<camera>`.
        image_size: height and width of these images [px].
        task_kwargs: handed to `task`.
    """

    metadata = {"render_modes": [], "render_fps": 10, "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        task: Callable[..., Task | EnvMaker],
        num_envs: int = 1,
        num_threads: int = 0,
        cameras: Sequence[str] = (),
        image_size: tuple[int, int] = (240, 320),
        **task_kwargs: Any,
    ) -> None:
        self._env = _make_env(
            task(**task_kwargs),
            num_envs,
            cameras,
            image_size,
            engine=lambda model, count: MujocoEngine(model, count, num_threads),
        )
        self.num_envs = num_envs
        self.single_observation_space = observation_space(self._env.spec)
        self.single_action_space = action_space(self._env.spec)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.render_mode = None

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NumpyObs, dict[str, Any]]:
        """Start an episode in every env; `seed` is one number for all (a list gives its first).

        Raises:
            ValueError: options ask for something.
        """
        if options:
            raise ValueError(f"options are not used here: {sorted(options)}")
        first = seed[0] if isinstance(seed, list) else seed
        super().reset(seed=first)
        return _numpy(self._env.reset(_random_seed(self.np_random))), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[NumpyObs, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Apply actions (B, A), or choices (B,); `infos["final_obs"]`: what ended episodes showed last."""
        result = self._env.step(_tensor(actions, self._env.spec))
        infos: dict[str, Any] = {}
        for key, value in result.info.items():
            self._put(infos, _info_key(key), value)
        if result.done.any():
            done = result.done.numpy()
            infos["final_obs"], infos["_final_obs"] = _rows(result.final_obs, done), done
        return (
            _numpy(result.obs),
            result.reward.numpy(),
            result.terminated.numpy(),
            result.truncated.numpy(),
            infos,
        )

    def _put(self, infos: dict[str, Any], key: str, value: Tensor) -> None:
        infos[key], infos[f"_{key}"] = value.numpy(), np.ones(self.num_envs, bool)

    def close_extras(self, **kwargs: Any) -> None:
        """Release the simulator."""
        self._env.close()


def _rows(obs: Obs, done: np.ndarray) -> np.ndarray:
    """Return (B,) objects: each ended env's observations, None elsewhere, as Gymnasium's wrappers expect."""
    arrays, rows = _numpy(obs), np.empty(len(done), dtype=object)
    for index in np.flatnonzero(done):
        rows[index] = {key: value[index] for key, value in arrays.items()}
    return rows
