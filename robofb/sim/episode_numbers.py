"""Number and seed the episodes of a vector env whose simulator is not ours."""

from __future__ import annotations

import torch
from torch import Tensor

from robofb.rng import derive_seeds


class EpisodeNumbers:
    """Count episodes 0, 1, 2, ... in the order they start, as `interfaces.VecEnv` promises.

    Args:
        num_envs: B.
        device: where the tensors live.

    Attributes:
        episode: (B,) int64 number of the episode each env is in.
        episode_seed: (B,) int64, a hash of (seed, number).
        length: (B,) int64 control steps of it so far.
        started: whether `restart` was ever called.
    """

    def __init__(self, num_envs: int, device: torch.device | str = "cpu") -> None:
        zeros = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self.episode, self.episode_seed, self.length = zeros, zeros.clone(), zeros.clone()
        self.started = False
        self._seed, self._next = torch.tensor(0), 0

    def restart(self, seed: int) -> None:
        """Begin episodes 0..B-1 of `seed`."""
        self._seed, self._next, self.started = torch.tensor(seed, dtype=torch.int64), 0, True
        self.begin(torch.ones_like(self.episode, dtype=torch.bool))

    def begin(self, mask: Tensor) -> None:
        """Begin the next episodes in the envs of `mask` (B,) bool, in their order."""
        order = self._next + mask.cumsum(0) - 1
        self.episode = torch.where(mask, order, self.episode)
        seeds = derive_seeds(self._seed.to(order.device), order)
        self.episode_seed = torch.where(mask, seeds, self.episode_seed)
        self.length = self.length.masked_fill(mask, 0)
        self._next += int(mask.sum())

    def advance(self) -> None:
        """Count one control step of every env.

        Raises:
            RuntimeError: nothing was begun yet.
        """
        if not self.started:
            raise RuntimeError("call reset before step")
        self.length = self.length + 1
