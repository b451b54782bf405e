"""Number and seed the episodes of a vector env whose simulator is not ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
        seed: () int64 that the numbers count from.
        started: whether `restart` was ever called.
    """

    def __init__(self, num_envs: int, device: torch.device | str = "cpu") -> None:
        zeros = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self.episode, self.episode_seed, self.length = zeros, zeros.clone(), zeros.clone()
        self.started = False
        self.seed, self._next = torch.tensor(0), 0

    def restart(self, seed: int) -> None:
        """Begin episodes 0..B-1 of `seed`."""
        self.seed, self._next, self.started = torch.tensor(seed, dtype=torch.int64), 0, True
        self.begin(torch.ones_like(self.episode, dtype=torch.bool))

    def begin(self, mask: Tensor) -> Tensor:
        """Begin the next episodes in the envs of `mask` (B,) bool, in their order; return these envs (n,)."""
        ids = mask.nonzero().squeeze(-1)
        order = torch.arange(self._next, self._next + len(ids), device=ids.device)
        seeds = derive_seeds(self.seed.to(ids.device), order)
        self.episode = self.episode.index_copy(0, ids, order)
        self.episode_seed = self.episode_seed.index_copy(0, ids, seeds)
        self.length = self.length.index_fill(0, ids, 0)
        self._next += len(ids)
        return ids

    def advance(self) -> None:
        """Count one control step of every env.

        Raises:
            RuntimeError: nothing was begun yet.
        """
        if not self.started:
            raise RuntimeError("call reset before step")
        self.length = self.length + 1

    def state_dict(self) -> dict[str, Any]:
        """Return the running episodes' numbers, seeds and lengths, for a checkpoint."""
        names = ("episode", "episode_seed", "length", "started", "seed", "_next")
        return {name.lstrip("_"): getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        device = self.episode.device
        self.episode, self.episode_seed = state["episode"].to(device), state["episode_seed"].to(device)
        self.length, self.started = state["length"].to(device), state["started"]
        self.seed, self._next = state["seed"].cpu(), state["next"]


class NumberedEpisodes:
    """What every env without MuJoCo's engines tells of its episodes.

    Args:
        num_envs: B.
        device: where the tensors live.
    """

    def __init__(self, num_envs: int, device: torch.device | str = "cpu") -> None:
        self.num_envs = num_envs
        self._numbers = EpisodeNumbers(num_envs, device)
        self._total = torch.zeros(num_envs, device=device)  # reward of each running episode
        self._succeeded = torch.zeros(num_envs, dtype=torch.bool, device=device)

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
