"""Small worlds written in batched torch, as vector envs that reset themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.rng import RESET_STREAM, EpisodeRng, derive_seeds
from robofb.sim.episode_numbers import NumberedEpisodes
from robofb.sim.vec_env import check_action
from robofb.types import ArraySpec, EnvSpec, Obs, Step, num_choices

State = dict[str, Tensor]
"""Whatever the worlds of B envs consist of: tensors (B, ...) by name."""


_LEAST_BLOCK = 256


class Outcome(NamedTuple):
    """What a control step led to.

    Attributes:
        state: of every world after it.
        reward: (B,) float32.
        terminated: (B,) bool, the episode ends here, by success or failure.
        success: (B,) bool, the goal is reached now.
    """

    state: State
    reward: Tensor
    terminated: Tensor
    success: Tensor


class TorchTask(ABC):
    """A world by its rules alone; satisfies `interfaces.EnvMaker`. Holds no per-world state.

    `start` and `advance` draw from the episode's own stream (`rng`, one row an env), so an episode's course
    depends on its seed alone, however many envs there are. They never change tensors that they are given.

    Attributes:
        spec: what is seen and done; its `max_steps` truncate.
        device: where the tensors live.
    """

    spec: EnvSpec
    device: torch.device

    @property
    def name(self) -> str:
        """The task's name."""
        return self.spec.task

    @abstractmethod
    def start(self, rng: EpisodeRng) -> State:
        """Return the first states (n, ...) of n episodes, drawn from `rng` (n rows)."""

    @abstractmethod
    def advance(self, state: State, action: Tensor, rng: EpisodeRng) -> Outcome:
        """Return what actions (B, A) lead to; chance is drawn from `rng` (B rows)."""

    @abstractmethod
    def observe(self, state: State) -> Obs:
        """Return fresh observation tensors (never views of the state) of any number of worlds."""

    def picture(self, state: State) -> np.ndarray:
        """Return a small picture (H, W, 3) uint8 RGB of one world, its state without the batch axis.

        Raises:
            UserError: this world cannot be drawn.
        """
        raise UserError(f"{self.name} cannot be filmed: nobody has said how it looks")

    def make_env(self, num_envs: int) -> TorchVecEnv:
        """Make `num_envs` worlds."""
        return TorchVecEnv(self, num_envs)


class _Starts:
    """First states of the episodes of a seed, drawn many at once: a thousand cost little more than one.

    Args:
        task: draws them.
        seed: of the env.
        block: least number that is drawn at once.
    """

    def __init__(self, task: TorchTask, seed: int | Tensor, block: int) -> None:
        self._task, self._seed, self._block = task, seed, block
        self._first, self._end = 0, 0  # numbers of the episodes that are drawn
        self._rng, self._state = EpisodeRng(torch.zeros(0)), State()

    def take(self, number: int, count: int) -> tuple[State, EpisodeRng, slice]:
        """Return the states of `count` episodes from `number` on, and the rows that their streams have."""
        if not self._first <= number <= number + count <= self._end:
            self._first, self._end = number, number + max(count, self._block)
            numbers = torch.arange(self._first, self._end, device=self._task.device)
            seeds = derive_seeds(torch.as_tensor(self._seed).to(numbers.device), numbers)
            self._rng = EpisodeRng(derive_seeds(seeds, RESET_STREAM))
            self._state = self._task.start(self._rng)
        rows = slice(number - self._first, number - self._first + count)
        return {name: values[rows] for name, values in self._state.items()}, self._rng, rows


class TorchVecEnv(NumberedEpisodes):
    """Run B copies of a `TorchTask`; satisfies `interfaces.TaskEnv`.

    Args:
        task: the rules; one task may serve several envs.
        num_envs: number of copies, B.
        autoreset: start the next episode in the step that ends one; else the caller resets.
    """

    def __init__(self, task: TorchTask, num_envs: int, autoreset: bool = True) -> None:
        super().__init__(num_envs, task.device)
        self.task, self.spec, self.autoreset, self.device = task, task.spec, autoreset, task.device
        self.state: State = {}
        self._rng = EpisodeRng(self._numbers.episode_seed)
        self._starts = _Starts(task, 0, 0)

    def reset(self, seed: int) -> Obs:
        """Start episodes 0..B-1 of `seed` in every env."""
        self._numbers.restart(seed)
        self._starts = _Starts(self.task, seed, max(self.num_envs, _LEAST_BLOCK))
        fresh = self._fresh(torch.arange(self.num_envs, device=self.device))
        self.state = {name: values.clone() for name, values in fresh.items()}
        self._forget(torch.ones_like(self._succeeded))
        return self.task.observe(self.state)

    def step(self, action: Tensor) -> Step:
        """Apply actions (B, A) for one control step; finished envs come back reset.

        Raises:
            ValueError: an action has another shape, is not finite, or is none of the choices.
            RuntimeError: `reset` was never called.
        """
        check_action(action, (self.num_envs, *self.spec.action.shape))
        _check_choice(action, self.spec.action)
        self._numbers.advance()
        outcome = self.task.advance(self.state, action, self._rng)
        before, self.state, terminated = self.state, outcome.state, outcome.terminated
        self._total = self._total + outcome.reward
        truncated = (self._numbers.length >= self.spec.max_steps) & ~terminated
        info = self._info(outcome.success)
        final_obs = obs = self.task.observe(self.state)
        done = terminated | truncated
        if self.autoreset and done.any():
            obs = self._begin(done, before, final_obs)
        return Step(obs, outcome.reward, terminated, truncated, final_obs, info)

    def _fresh(self, ids: Tensor) -> State:
        """Return the first states (n, ...) of the episodes that the envs `ids` (n,) have come to."""
        fresh, rng, rows = self._starts.take(int(self.episode[ids[0]]), len(ids))
        self._rng.take_over(ids, rng, rows)
        return fresh

    def _begin(self, done: Tensor, before: State, obs: Obs) -> Obs:
        """Begin the next episodes in the envs of `done`; return `obs` with theirs put in.

        Tensors that a step has left as they were `before` belong to this env alone and are written in place.
        """
        ids = self._numbers.begin(done)
        fresh = self._fresh(ids)
        self._forget(done)
        self.state = {
            name: (values.index_copy_ if values is before[name] else values.index_copy)(0, ids, fresh[name])
            for name, values in self.state.items()
        }
        shown = self.task.observe(fresh)
        return {key: values.index_copy(0, ids, shown[key]) for key, values in obs.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to continue the running episodes exactly."""
        return {
            "numbers": self._numbers.state_dict(),
            "rng": self._rng.state_dict(),
            "state": {name: values.clone() for name, values in self.state.items()},
            "total": self._total,
            "succeeded": self._succeeded,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> Obs:
        """Continue from `state_dict`; return the observations at that moment."""
        self._numbers.load_state_dict(state["numbers"])
        self._starts = _Starts(self.task, self._numbers.seed, max(self.num_envs, _LEAST_BLOCK))
        self._rng.load_state_dict(state["rng"])
        self.state = {name: values.to(self.device, copy=True) for name, values in state["state"].items()}
        self._total = state["total"].to(self.device)
        self._succeeded = state["succeeded"].to(self.device)
        return self.task.observe(self.state)

    def renderer(self, height: int, width: int) -> TorchRenderer:
        """Return what takes pictures of the worlds, of at most this size [px]."""
        return TorchRenderer(self, height, width)

    def close(self) -> None:
        """Hold nothing that needs releasing; safe twice."""


class TorchRenderer:
    """Take pictures of worlds by their task's `picture`, enlarged by a whole factor; one camera."""

    def __init__(self, env: TorchVecEnv, height: int, width: int) -> None:
        self._env, self._size = env, (height, width)

    def frame(self, world: int, camera: str = "front") -> np.ndarray:
        """Return the picture of one env, (H, W, 3) uint8 RGB."""
        state = {name: values[world].cpu() for name, values in self._env.state.items()}
        picture = self._env.task.picture(state)
        factor = max(1, min(want // have for want, have in zip(self._size, picture.shape, strict=False)))
        return picture.repeat(factor, 0).repeat(factor, 1)

    def __enter__(self) -> TorchRenderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep the env open."""


def _check_choice(action: Tensor, spec: ArraySpec) -> None:
    """Raise ValueError where actions should be choices and are not."""
    choices = num_choices(spec)
    if choices is None:
        return
    if action.dtype != torch.int64:
        raise ValueError(f"action must be int64, one of {choices} choices, not {action.dtype}")
    low, high = action.aminmax()
    if low < 0 or high >= choices:
        bad = ((action < 0) | (action >= choices)).any(-1).nonzero().flatten().tolist()
        raise ValueError(f"action is none of the choices 0 to {choices - 1} in envs {bad}")
