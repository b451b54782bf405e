"""Families of tasks in batched torch: alike but for parameters that nobody who acts is told."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

from torch import Tensor

from robofb.rng import EpisodeRng
from robofb.sim.family import Family
from robofb.sim.torch_env import State, TorchTask, TorchVecEnv

PARAMS = "params"
"""Key of a world's state under which its task's parameters (B, P) stand."""


class MetaTorchTask(Family, TorchTask):
    """A family of worlds by their rules; satisfies `meta_interfaces.MetaTask`."""

    @abstractmethod
    def begin(self, rng: EpisodeRng) -> State:
        """Return the first states of n episodes but for `PARAMS`, on which they do not depend."""

    def start(self, rng: EpisodeRng) -> State:
        """Draw a task for each episode, and where it begins."""
        params = self.draw_params(rng)
        return {**self.begin(rng), PARAMS: params}

    def fixed(self, params: Tensor) -> Self:
        """Return this family with env i held to the task of row i of `params` (B, P), on its device."""
        return super().fixed(params.to(self.device))

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
