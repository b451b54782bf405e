"""Open the datasets of behaviour cloning and cut them into training and held-out windows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from robofb.errors import UserError
from robofb.normalize import is_image
from robofb.policies.chunk_policy import ChunkPolicy
from robofb.store.checks import check_same_spec
from robofb.store.episodes import EpisodeStore
from robofb.store.windows import Windows, split_episodes
from robofb.train.bc_config import data_folders, make_mix, make_reading
from robofb.types import SOURCE_NAMES, EnvSpec


def open_stores(folders: Sequence[str], spec: EnvSpec | None, stack: ExitStack) -> list[EpisodeStore]:
    """Open datasets of one spec for as long as `stack` lives.

    Each may hold observations that another lacks, such as what a deployment planned: `Windows` refuses those
    that lack what a policy sees.

    Raises:
        UserError: one cannot be read, or differs from `spec` or the first one in what both hold; names the
            first difference.
    """
    stores: list[EpisodeStore] = []
    for folder in folders:
        store = stack.enter_context(EpisodeStore.open(folder, spec=spec))
        if stores:
            first = stores[0].spec
            both = store.spec.obs.keys() & first.obs.keys()
            check_same_spec(store.spec.only(both), first.only(both), str(store.path))
        stores.append(store)
    return stores


def make_windows(
    cfg: Any, stores: Sequence[EpisodeStore], policy: ChunkPolicy, device: torch.device
) -> tuple[Windows, Windows | None]:
    """Load what `policy` sees and predicts: training windows, and those held out, if any are.

    Each dataset is split by itself, so that each has its share of the held-out episodes. Weights count in
    training only.

    Raises:
        UserError: weights or settings of images that fit nothing, or images that fit nowhere.
    """
    make_mix(cfg).check_fits(len(stores))
    splits = [split_episodes(len(store), cfg.validation_fraction, cfg.seed) for store in stores]
    reading = make_reading(cfg)
    check_image_settings(cfg, policy.spec)
    common: dict[str, Any] = {
        "obs_history": policy.obs_history,
        "horizon": policy.horizon,
        "obs_keys": tuple(policy.spec.obs),
        "device": device,
    }
    training = [part for part, _ in splits]
    windows = Windows(list(stores), episodes=training, mix=make_mix(cfg), images=reading, **common)
    held_out = [(store, part) for store, (_, part) in zip(stores, splits, strict=True) if part]
    if not held_out:
        return windows, None
    reading = replace(reading, mode=windows.image_mode)
    parts = [part for _, part in held_out]
    return windows, Windows([store for store, _ in held_out], episodes=parts, images=reading, **common)


def check_image_settings(cfg: Any, spec: EnvSpec) -> None:
    """Refuse settings of images that a policy of `spec` would ignore, since it sees none."""
    if any(is_image(array) for array in spec.obs.values()):
        return
    for key in ("images", "memory_gb", "cache_dir", "image_augment"):
        value = getattr(cfg, key)
        if value not in (None, "auto", {}):
            raise UserError(
                f"{key}={value}: the policy sees no images, only {', '.join(spec.obs)}; leave {key} out, or "
                "choose a policy that does, such as policy=small_image_diffusion"
            )


def drawn_by_name(cfg: Any, windows: Windows) -> dict[str, dict[str, int]]:
    """Return how many windows were drawn, by dataset and by the source of the first action."""
    folders = data_folders(cfg.data)
    names = [Path(folder).name for folder in folders]
    names = names if len(set(names)) == len(names) else folders
    drawn = windows.drawn.cpu()
    by_source = {name: int(count) for name, count in zip(SOURCE_NAMES, drawn.sum(0), strict=True) if count}
    by_dataset = {name: int(count) for name, count in zip(names, drawn.sum(1), strict=True)}
    return {"by_dataset": by_dataset, "by_source": by_source}
