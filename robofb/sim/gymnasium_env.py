"""A vector env of Gymnasium 1.x as a `VecEnv`."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from robofb.errors import UserError
from robofb.rng import RESET_STREAM, derive_seeds
from robofb.sim.episode_numbers import NumberedEpisodes
from robofb.sim.gymnasium_spaces import ActionLayout, ObsLayout
from robofb.sim.success import STAGES, SuccessRule
from robofb.sim.vec_env import check_action
from robofb.types import EnvSpec, Obs, Step

LOG = logging.getLogger(__name__)
_FINAL_OBS = ("final_obs", "final_observation")  # Gymnasium's name, and its former one


class GymnasiumVecEnv(NumberedEpisodes):
    """Step a Gymnasium vector env; satisfies `interfaces.TaskEnv`. Its tensors live on the CPU.

    Ended episodes are reset by `reset(options={"reset_mask": ...})` in the very step that ends them, whether
    the env leaves resets to its caller (DISABLED) or would do them in the next step (NEXT_STEP): so no step
    is lost to a reset. One that resets in the same step (SAME_STEP) is taken as it is.

    Args:
        vec: the vector env; closed with this one.
        name: of the task, for the spec.
        control_dt_s: time of one control step.
        max_steps: the time limit that `vec` keeps, in control steps.
        success: what counts as a success.
        end_on_success: a success ends its episode.
        seeds_each: `vec.reset` takes one seed for each env, as Gymnasium's own vector envs do. Only then, and
            only without SAME_STEP, does an episode depend on its own seed alone, whatever the number of envs.
        task: what made it, for its facts.

    Attributes:
        moves: counts up whenever an env has moved.

    Raises:
        UserError: spaces that cannot be trained on, or an option that its way of resetting rules out.
    """

    def __init__(
        self,
        vec: Any,
        name: str,
        *,
        control_dt_s: float,
        max_steps: int,
        success: SuccessRule,
        end_on_success: bool = False,
        seeds_each: bool = True,
        task: Any = None,
    ) -> None:
        super().__init__(int(vec.num_envs))
        self.vec, self.task, self.name = vec, task, name
        self.device = torch.device("cpu")
        self._obs = ObsLayout(vec.single_observation_space, name)
        self._action = ActionLayout(vec.single_action_space, name)
        self.spec = EnvSpec(name, self._obs.specs, self._action.spec, control_dt_s, max_steps, STAGES)
        self._success, self._end_on_success, self._seeds_each = success, end_on_success, seeds_each
        if "autoreset_mode" not in vec.metadata:
            raise UserError(f"{name} does not say how it resets: metadata['autoreset_mode'] is missing")
        mode = AutoresetMode(vec.metadata["autoreset_mode"])
        self._finish = _WAYS_TO_RESET[mode]
        if mode is AutoresetMode.SAME_STEP and end_on_success:
            raise UserError(f"{name} resets itself: end_on_success needs vectorization=sync or async")
        if mode is AutoresetMode.SAME_STEP or not seeds_each:
            LOG.warning("%s draws its own starts: episodes depend on the number of envs", name)
        self.moves = 0

    def reset(self, seed: int) -> Obs:
        """Start episodes 0..B-1 of `seed` in every env."""
        self._numbers.restart(seed)
        self._forget(torch.ones(self.num_envs, dtype=torch.bool))
        obs, _ = self.vec.reset(seed=self._reset_seeds(np.ones(self.num_envs, bool)))
        return self._obs.tensors(obs)

    def step(self, action: Tensor) -> Step:
        """Apply actions (B, A), clipped to the action's bounds; finished envs come back reset.

        Raises:
            ValueError: an action has another shape or is not finite.
            RuntimeError: `reset` was never called.
            UserError: the env does not say whether an ended episode succeeded, or cannot be reset singly.
        """
        check_action(action, (self.num_envs, *self.spec.action.shape))
        self._numbers.advance()
        self.moves += 1
        raw, reward, terminated, truncated, infos = self.vec.step(self._action.array(action))
        reward, terminated, truncated = (
            _tensor(reward, torch.float32),
            _tensor(terminated, torch.bool),
            _tensor(truncated, torch.bool),
        )
        self._total = self._total + reward
        success, known = self._judge(infos, reward, terminated | truncated)
        if self._end_on_success:
            terminated = terminated | success
        truncated = truncated & ~terminated
        done = terminated | truncated
        self._success.require_known(known, done, self.name)
        info = self._info(success)
        final_obs = obs = self._obs.tensors(raw)
        if done.any():
            self._numbers.begin(done)
            self._forget(done)
            final_obs, obs = self._finish(self, obs, infos, done)
        return Step(obs, reward, terminated, truncated, final_obs, info)

    def _judge(self, infos: Mapping[str, Any], reward: Tensor, ended: Tensor) -> tuple[Tensor, Tensor]:
        """Judge by this step's info; where a same-step reset has kept the one before it, by that."""
        success, known = self._success.judge(infos, reward, self._total)
        if "final_info" not in infos:
            return success, known
        final_success, final_known = self._success.judge(infos["final_info"], reward, self._total)
        return torch.where(final_known, final_success, success), final_known | (known & ~ended)

    def _reset_by_mask(self, obs: Obs, infos: Mapping[str, Any], done: Tensor) -> tuple[Obs, Obs]:
        mask = done.numpy()
        raw, _ = self.vec.reset(seed=self._reset_seeds(mask), options={"reset_mask": mask})
        fresh = self._obs.tensors(raw)
        going_on = ~done
        if any(not _same(fresh[key][going_on], obs[key][going_on]) for key in obs):
            raise UserError(
                f"{self.name} resets in the next step and cannot reset single envs, so first observations "
                "would be lost: use vectorization=sync or async"
            )
        return obs, fresh

    def _reset_itself(self, obs: Obs, infos: Mapping[str, Any], done: Tensor) -> tuple[Obs, Obs]:
        key = next((key for key in _FINAL_OBS if key in infos), None)
        if key is None:
            raise UserError(f"{self.name} keeps no 'final_obs' in its info: its last observations are lost")
        last = infos[key]
        if isinstance(last, np.ndarray) and last.dtype.kind == "O":
            return self._obs.put_rows(obs, last), obs
        batched = self._obs.tensors(last)
        rows = {key: done.reshape(-1, *[1] * (value.dim() - 1)) for key, value in obs.items()}
        return {key: torch.where(rows[key], batched[key], value) for key, value in obs.items()}, obs

    def _reset_seeds(self, mask: np.ndarray) -> Any:
        """Return the seeds of the episodes that begin in the envs of `mask`, as `vec.reset` takes them."""
        seeds = (derive_seeds(self.episode_seed, RESET_STREAM) & 0x7FFF_FFFF).tolist()
        if self._seeds_each:
            return [seed if wanted else None for seed, wanted in zip(seeds, mask.tolist(), strict=True)]
        return seeds[int(mask.argmax())]

    def _forget(self, mask: Tensor) -> None:
        super()._forget(mask)
        self.moves += 1

    def renderer(self, height: int, width: int) -> GymnasiumRenderer:
        """Return what takes pictures of the envs, of at most this size [px] but for a rest of a division."""
        return GymnasiumRenderer(self, height, width)

    def close(self) -> None:
        """Close the vector env; safe twice."""
        self.vec.close()


class GymnasiumRenderer:
    """Take the pictures that a Gymnasium env renders; it has one camera, whatever it is called.

    Raises:
        UserError: the env cannot be rendered into arrays.
    """

    def __init__(self, env: GymnasiumVecEnv, height: int, width: int) -> None:
        if env.vec.render_mode != "rgb_array":
            raise UserError(f"{env.name} cannot be filmed: its render_mode is {env.vec.render_mode}")
        self._env, self._size = env, (height, width)
        self._taken_at = -1
        self._frames: Any = ()

    def frame(self, world: int, camera: str = "front") -> np.ndarray:
        """Return the picture of one env, (H, W, 3) uint8 RGB."""
        if self._taken_at != self._env.moves:
            try:
                self._frames = self._env.vec.render()
            except Exception as error:  # each env's renderer raises its own kind
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise UserError(f"cannot render {self._env.name}: {reason}") from error
            self._taken_at = self._env.moves
        frame: np.ndarray = np.asarray(self._frames[world])
        every = max(1, *(math.ceil(have / want) for have, want in zip(frame.shape, self._size, strict=False)))
        return frame[::every, ::every]

    def __enter__(self) -> GymnasiumRenderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep the env, which renders, open."""


_WAYS_TO_RESET = {
    AutoresetMode.DISABLED: GymnasiumVecEnv._reset_by_mask,
    AutoresetMode.NEXT_STEP: GymnasiumVecEnv._reset_by_mask,
    AutoresetMode.SAME_STEP: GymnasiumVecEnv._reset_itself,
}


def _tensor(values: Any, dtype: torch.dtype) -> Tensor:
    return torch.as_tensor(values).to("cpu", dtype, copy=True)


def _same(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors are equal, NaN where NaN is."""
    return bool(((a == b) | ((a != a) & (b != b))).all())
