"""Training windows over a dataset: observation histories and action chunks, gathered in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.rng import derive_seeds
from robofb.store.episodes import EpisodeStore
from robofb.types import Batch


class Windows:
    """Hold episodes in memory as flat tensors and gather batches by index arithmetic.

    There is one window per step t of every episode. Its history is the observations
    t - To + 1 .. t, where steps before the episode's first repeat the first; its chunk is the
    actions t .. t + H - 1, where rows past the episode's last repeat the last and have mask False.
    With To = 2, H = 4 and 5 steps, step 3 has history (2, 3), chunk (3, 4, 4, 4) and mask
    (True, True, False, False).

    Args:
        store: the dataset; not needed afterwards.
        obs_history: To, observations per window.
        horizon: H, actions per window.
        episodes: episode numbers to use, in any order, or None for all.
        obs_keys: observations to load, or None for all.
        device: where the tensors live.

    Raises:
        UserError: no episodes, an unknown or repeated episode number, or a size below 1, or
            NaN in the data.
    """

    def __init__(
        self,
        store: EpisodeStore,
        *,
        obs_history: int,
        horizon: int,
        episodes: Sequence[int] | None = None,
        obs_keys: Sequence[str] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if obs_history < 1 or horizon < 1:
            raise UserError(f"obs_history ({obs_history}) and horizon ({horizon}) must be at least 1")
        chosen = _check_episodes(store, episodes)
        self.obs_history, self.horizon = obs_history, horizon
        self.device = torch.device(device)
        self.spec = store.spec
        self._obs = {key: self._load(store, key, chosen) for key in obs_keys or store.spec.obs}
        self._action = self._load(store, "action", chosen)
        lengths = torch.as_tensor(store.episode_lengths[chosen])
        ends = lengths.cumsum(0)
        self._first = (ends - lengths).repeat_interleave(lengths).to(self.device)  # (N,) per step
        self._last = (ends - 1).repeat_interleave(lengths).to(self.device)
        self._past = torch.arange(1 - obs_history, 1, device=self.device)  # (To,)
        self._future = torch.arange(horizon, device=self.device)  # (H,)

    def __len__(self) -> int:
        return len(self._first)

    def batch(self, index: Tensor) -> Batch:
        """Return the windows of steps `index` (B,) int64, counted through all chosen episodes."""
        step = index.to(self.device).unsqueeze(-1)  # (B, 1)
        first, last = self._first[step], self._last[step]
        past = torch.maximum(step + self._past, first)  # (B, To)
        future = step + self._future  # (B, H)
        return Batch(
            obs={key: _gather(rows, past) for key, rows in self._obs.items()},
            action=_gather(self._action, torch.minimum(future, last)),
            mask=future <= last,
            weight=torch.ones(len(index), device=self.device),
        )

    def sample(self, batch_size: int, generator: torch.Generator) -> Batch:
        """Return windows drawn uniformly, with replacement."""
        return self.batch(
            torch.randint(len(self), (batch_size,), generator=generator, device=generator.device)
        )

    def _load(self, store: EpisodeStore, key: str, episodes: list[int]) -> Tensor:
        return torch.from_numpy(store.read_finite(key, episodes)).to(self.device)


def split_episodes(num_episodes: int, validation_fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Divide episodes into training and validation, both ascending.

    Each episode's rank is a hash of (seed, its number): growing the dataset moves few episodes
    across. A positive fraction takes at least one episode where there are two or more, and never
    the last one left for training.

    Args:
        num_episodes: episodes numbered 0 .. num_episodes - 1.
        validation_fraction: share to hold out, in [0, 1).
        seed: of the split.
    """
    if num_episodes < 1:
        raise UserError("there are no episodes to split")
    if not 0.0 <= validation_fraction < 1.0:
        raise UserError(f"validation_fraction is {validation_fraction}; valid: 0 <= value < 1")
    count = round(num_episodes * validation_fraction)
    if validation_fraction > 0.0:
        count = min(max(count, 1), num_episodes - 1)
    rank = rank_episodes(num_episodes, seed)
    return sorted(rank[count:]), sorted(rank[:count])


def rank_episodes(num_episodes: int, seed: int) -> list[int]:
    """Return the numbers of all episodes in an order that is random but the seed's own."""
    return derive_seeds(seed, torch.arange(num_episodes)).argsort().tolist()


def _gather(rows: Tensor, index: Tensor) -> Tensor:
    return rows.index_select(0, index.flatten()).unflatten(0, index.shape)


def _check_episodes(store: EpisodeStore, episodes: Sequence[int] | None) -> list[int]:
    chosen = list(range(len(store))) if episodes is None else sorted(int(number) for number in episodes)
    if not chosen:
        raise UserError(f"{store.path} has no episodes to train on")
    if chosen[0] < 0 or chosen[-1] >= len(store):
        wrong = chosen[0] if chosen[0] < 0 else chosen[-1]
        raise UserError(f"episode {wrong} is not in {store.path}; valid: 0..{len(store) - 1}")
    if np.any(np.diff(chosen) == 0):
        raise UserError(f"episode numbers of {store.path} are given twice")
    return chosen
