"""Training windows over datasets: observation histories and action chunks, gathered by index."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.normalize import element_stats, is_image
from robofb.rng import derive_seeds
from robofb.store.checks import check_same_spec
from robofb.store.episodes import EpisodeStore
from robofb.store.frame_cache import CachedFrames
from robofb.store.frame_pool import FramePool
from robofb.store.frames import StoredFrames
from robofb.store.gaps import find_holds
from robofb.store.gather import gather_rows
from robofb.store.image_reading import ImageReading
from robofb.store.mix import Draws, Mix
from robofb.types import SOURCE_NAMES, Batch


class Windows:
    """Hold episodes as flat tensors and gather batches by index arithmetic.

    There is one window per step t of every episode. Its history is the observations
    t - To + 1 .. t, where steps before the episode's first repeat the first; its chunk is the
    actions t .. t + H - 1, where rows past the episode's last repeat the last and have mask False.
    An episode ends, and another begins, where its arm was held (see `gaps`).
    With To = 2, H = 4 and 5 steps, step 3 has history (2, 3), chunk (3, 4, 4, 4) and mask
    (True, True, False, False).

    Everything but images is in memory; `images` says where those are. Several datasets count as one, the
    windows of the first before those of the second.

    Args:
        store: the dataset, or several of the same spec, of which the first has no observation that another
            lacks, or none that is loaded; not needed afterwards.
        obs_history: To, observations per window.
        horizon: H, actions per window.
        episodes: episode numbers to use, in any order, or None for all; of several datasets one such
            value each.
        obs_keys: observations to load, or None for all.
        device: where the tensors live.
        mix: the chances of the windows in `sample`.
        images: where images are read from.

    Raises:
        UserError: no episodes, an unknown or repeated episode number, a size below 1, NaN in the data,
            datasets that differ, or a mix that fits none of them.
    """

    def __init__(
        self,
        store: EpisodeStore | Sequence[EpisodeStore],
        *,
        obs_history: int,
        horizon: int,
        episodes: Sequence[Any] | None = None,
        obs_keys: Sequence[str] | None = None,
        device: torch.device | str = "cpu",
        mix: Mix | None = None,
        images: ImageReading | None = None,
    ) -> None:
        if obs_history < 1 or horizon < 1:
            raise UserError(f"obs_history ({obs_history}) and horizon ({horizon}) must be at least 1")
        stores, wanted = _as_several(store, episodes)
        chosen = [_check_episodes(one, numbers) for one, numbers in zip(stores, wanted, strict=True)]
        self.obs_history, self.horizon = obs_history, horizon
        self.device = torch.device(device)
        self.spec = stores[0].spec
        keys = tuple(obs_keys or self.spec.obs)
        for one in stores[1:]:
            check_same_spec(one.spec.only(keys), self.spec.only(keys), str(one.path))
        seen = [key for key in keys if is_image(self.spec.obs[key])]
        reading = (images or ImageReading()).chosen(stores, seen)
        self.image_mode = reading.mode  # never "auto"
        apart = [] if reading.mode == "memory" else seen
        load = partial(_load, stores, chosen, self.device)
        self._obs = {key: load(key) for key in keys if key not in apart}
        self._action, source = load("action"), load("source")
        lengths = [one.episode_lengths[numbers] for one, numbers in zip(stores, chosen, strict=True)]
        pieces = [_pieces(one, numbers) for one, numbers in zip(stores, chosen, strict=True)]
        self._index_steps(torch.cat(pieces))
        sizes = torch.tensor([int(part.sum()) for part in lengths])
        self.windows_by_dataset: list[int] = sizes.tolist()
        self._group = source.long() + len(SOURCE_NAMES) * torch.arange(len(sizes)).repeat_interleave(
            sizes
        ).to(self.device)  # (N,), one number for each dataset and source
        chances = (mix or Mix()).chances(
            self._group // len(SOURCE_NAMES), source, [str(one.path) for one in stores]
        )
        self._draws = Draws(len(self), chances)
        self._drawn = torch.zeros(len(sizes) * len(SOURCE_NAMES), dtype=torch.int64, device=self.device)
        self._frames: StoredFrames | CachedFrames | None = None
        self._pool: FramePool | None = None
        if apart:
            self._frame_row = _stored_rows(stores, chosen)  # (N,) through all episodes of all datasets
            self._open_frames(stores, apart, reading)

    def __len__(self) -> int:
        return len(self._first)

    def batch(self, index: Tensor) -> Batch:
        """Return the windows of steps `index` (B,) int64, counted through all chosen episodes."""
        return self._batch(index)

    def sample(self, batch_size: int, generator: torch.Generator) -> Batch:
        """Return windows drawn with replacement, uniformly or as the mix says, and count them."""
        if self._pool is None:
            index = self._draws.draw(batch_size, generator)
            batch = self.batch(index)
        else:
            index, slot = self._pool.sample(batch_size, generator)
            batch = self._batch(index, partial(self._pool.gather, slot=slot))
            self._pool.renew(batch_size, generator)
        self._drawn += self._group[index.to(self.device)].bincount(minlength=len(self._drawn))
        return batch

    @property
    def drawn(self) -> Tensor:
        """(D, S) int64, windows that `sample` drew so far, by dataset and source flag."""
        return self._drawn.unflatten(0, (-1, len(SOURCE_NAMES)))

    def stats(self) -> dict[str, dict[str, np.ndarray]]:
        """Return what `EpisodeStore.stats` does, over the steps of all windows; each counts once."""
        low_dim = {key: rows for key, rows in self._obs.items() if not is_image(self.spec.obs[key])}
        return {
            key: element_stats(rows.cpu().numpy())
            for key, rows in {**low_dim, "action": self._action}.items()
        }

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the actions and sources of all windows: the same data in the same order."""
        digest = hashlib.sha256(self._action.cpu().numpy().tobytes())
        digest.update(self._group.cpu().numpy().tobytes())
        return digest.hexdigest()

    def state_dict(self) -> dict[str, Any]:
        """Return what the next draws depend on beside the generator, and the counts."""
        pool = {} if self._pool is None else {"pool": self._pool.state_dict()}
        return {"drawn": self._drawn.cpu().clone(), **pool}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            UserError: the images were read in another way, which draws other windows.
        """
        if ("pool" in state) != (self._pool is not None):
            was, now = ("stream", "another way") if "pool" in state else ("memory or images=cache", "stream")
            raise UserError(f"the run reads with images={was}, now with {now}: its draws would differ")
        self._drawn.copy_(state["drawn"])
        if self._pool is not None:
            self._pool.load_state_dict(state["pool"])

    def _index_steps(self, lengths: Tensor) -> None:
        """Note first and last step of each window's piece, for pieces of `lengths`."""
        ends = lengths.cumsum(0)
        self._first = (ends - lengths).repeat_interleave(lengths).to(self.device)  # (N,) per step
        self._last = (ends - 1).repeat_interleave(lengths).to(self.device)
        self._past = torch.arange(1 - self.obs_history, 1, device=self.device)  # (To,)
        self._future = torch.arange(self.horizon, device=self.device)  # (H,)

    def _open_frames(self, stores: Sequence[EpisodeStore], keys: list[str], reading: ImageReading) -> None:
        if reading.mode == "cache":
            self._frames = CachedFrames(reading.cache_folder, stores, keys, reading.threads)
            return
        self._frames = StoredFrames(stores, keys, reading.threads)
        self._pool = FramePool(
            self._frames, self._frame_row, self.obs_history, self._draws, reading.memory_bytes
        )

    def _batch(self, index: Tensor, read_frames: Callable[[str, Tensor], Tensor] | None = None) -> Batch:
        step = index.to(self.device).unsqueeze(-1)  # (B, 1)
        first, last = self._first[step], self._last[step]
        past = torch.maximum(step + self._past, first)  # (B, To)
        future = step + self._future  # (B, H)
        obs = {key: gather_rows(rows, past) for key, rows in self._obs.items()}
        if self._frames is not None:
            rows = self._frame_row[past.cpu()]
            read = read_frames or self._frames.gather
            obs |= {key: read(key, rows).to(self.device) for key in self._frames.keys}
        return Batch(
            obs=obs,
            action=gather_rows(self._action, torch.minimum(future, last)),
            mask=future <= last,
            weight=torch.ones(len(index), device=self.device),
        )


def check_validation_fraction(share: float) -> None:
    """Raise UserError unless a share of the episodes can be held out."""
    if not 0.0 <= share < 1.0:
        raise UserError(f"validation_fraction={share}: valid: 0 <= value < 1")


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
    check_validation_fraction(validation_fraction)
    count = round(num_episodes * validation_fraction)
    if validation_fraction > 0.0:
        count = min(max(count, 1), num_episodes - 1)
    rank = rank_episodes(num_episodes, seed)
    return sorted(rank[count:]), sorted(rank[:count])


def rank_episodes(num_episodes: int, seed: int) -> list[int]:
    """Return the numbers of all episodes in an order that is random but the seed's own."""
    return derive_seeds(seed, torch.arange(num_episodes)).argsort().tolist()


def _as_several(
    store: EpisodeStore | Sequence[EpisodeStore], episodes: Sequence[Any] | None
) -> tuple[list[EpisodeStore], list[Sequence[int] | None]]:
    """Return the datasets and the episodes wanted of each."""
    if isinstance(store, EpisodeStore):
        return [store], [episodes]
    return list(store), [None] * len(store) if episodes is None else list(episodes)


def _load(
    stores: Sequence[EpisodeStore], chosen: Sequence[list[int]], device: torch.device, key: str
) -> Tensor:
    parts = [one.read_finite(key, numbers) for one, numbers in zip(stores, chosen, strict=True)]
    return torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts)).to(device)


def _pieces(store: EpisodeStore, episodes: Sequence[int]) -> Tensor:
    """Return the steps (P,) int64 of each piece of the episodes in which their arm was not held."""
    times, pieces = store.read("timestamp"), []
    ends, lengths = store.episode_ends, store.episode_lengths
    for number in episodes:
        own = times[ends[number] - lengths[number] : ends[number]]
        holds = find_holds(own, store.spec.control_dt, store.entries[number].meta)
        pieces.append(np.diff(holds, prepend=0, append=len(own)))
    return torch.from_numpy(np.concatenate(pieces))


def _stored_rows(stores: Sequence[EpisodeStore], chosen: Sequence[list[int]]) -> Tensor:
    """Return the row of each chosen step (N,) int64, counted through all episodes of all datasets."""
    rows, offset = [], 0
    for one, numbers in zip(stores, chosen, strict=True):
        ends, lengths = one.episode_ends + offset, one.episode_lengths
        rows += [np.arange(ends[n] - lengths[n], ends[n]) for n in numbers]
        offset += int(one.episode_ends[-1])
    return torch.from_numpy(np.concatenate(rows))


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
