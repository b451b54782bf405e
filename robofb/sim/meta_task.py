"""Families of tasks in batched torch: alike but for parameters that nobody who acts is told."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Self

import torch
from torch import Tensor

from robofb.rng import EpisodeRng
from robofb.sim.torch_env import State, TorchTask, TorchVecEnv
from robofb.types import ArraySpec

PARAMS = "params"
"""Key of a world's state under which its task's parameters (B, P) stand."""


class MetaTorchTask(TorchTask):
    """A family of worlds by their rules; satisfies `meta_interfaces.MetaTask`.

    Attributes:
        params: of which parameters there are.
        start_distribution, moves_alike: see `meta_interfaces.MetaTask`.
        own_params: (B, P) of B envs, each of which keeps its own; None: every episode draws others.
    """

    params: ArraySpec
    start_distribution: str
    moves_alike: bool
    own_params: Tensor | None = None

    @abstractmethod
    def draw_params(self, rng: EpisodeRng) -> Tensor:
        """Return parameters (n, P) float32 drawn from `rng` (n rows)."""

    @abstractmethod
    def begin(self, rng: EpisodeRng) -> State:
        """Return the first states of n episodes but for `PARAMS`, on which they do not depend."""

    @abstractmethod
    def relabel(self, params: Tensor, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return what tasks `params` (..., P) pay for a step, (...); see `meta_interfaces.MetaTask`."""

    def start(self, rng: EpisodeRng) -> State:
        """Draw a task for each episode, and where it begins."""
        params = self.draw_params(rng)
        return {**self.begin(rng), PARAMS: params}

    def fixed(self, params: Tensor) -> Self:
        """Return this family with env i held to the task of row i of `params` (B, P)."""
        one = copy.copy(self)
        one.own_params = params.to(self.device, torch.float32)
        return one

    def make_env(self, num_envs: int) -> TorchVecEnv:
        """Make `num_envs` worlds.

        Raises:
            ValueError: they are held to tasks of another number.
        """
        if self.own_params is None:
            return super().make_env(num_envs)
        if len(self.own_params) != num_envs:
            raise ValueError(f"{num_envs} envs cannot be held to {len(self.own_params)} tasks")
        return _HeldTorchVecEnv(self, num_envs, self.own_params)


class _HeldTorchVecEnv(TorchVecEnv):
    """Each env keeps its task. What else an episode draws is what it would draw anywhere.

    Args:
        task, num_envs: see `TorchVecEnv`.
        params: (B, P).
    """

    def __init__(self, task: TorchTask, num_envs: int, params: Tensor) -> None:
        super().__init__(task, num_envs)
        self._params = params

    def _fresh(self, ids: Tensor) -> State:
        return {**super()._fresh(ids), PARAMS: self._params[ids]}
