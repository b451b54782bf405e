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


class NumberedEpisodes:
    """What every env whose simulator is not ours tells of its episodes, on the CPU.

    Args:
        num_envs: B.
    """

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self._numbers = EpisodeNumbers(num_envs)
        self._total = torch.zeros(num_envs)  # reward of each running episode
        self._succeeded = torch.zeros(num_envs, dtype=torch.bool)

    @property
    def episode(self) -> Tensor:
        """(B,) int64 number of the episode each env is in."""
        return self._numbers.episode

    @property
    def episode_seed(self) -> Tensor:
        """(B,) int64; what it seeds beside the policy's noise is the env's to say."""
        return self._numbers.episode_seed

    def _info(self, success: Tensor) -> dict[str, Tensor]:
        """Return the `info` of a step in which episodes succeed (B,) bool; for before `_forget`."""
        self._succeeded = self._succeeded | success
        return {
            "success": success,
            "stage": self._succeeded.to(torch.int64),
            "episode": self.episode,
            "length": self._numbers.length,
            "return": self._total,
        }

    def _forget(self, mask: Tensor) -> None:
        """Forget reward and success of the episodes that were in the envs of `mask` (B,) bool."""
        self._total = self._total.masked_fill(mask, 0.0)
        self._succeeded = self._succeeded & ~mask
