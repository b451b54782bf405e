"""Where training reads images from: memory, raw files on disk, or the dataset's own chunks."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from robofb.errors import UserError
from robofb.store.episodes import EpisodeStore
from robofb.store.frame_cache import free_bytes, held_bytes, image_bytes

LOG = logging.getLogger(__name__)
MODES = ("memory", "cache", "stream")
MEMORY_SHARE = 0.5  # of the machine's memory, where nothing is said
DISK_SHARE = 0.5  # of the free disk that is taken without asking


def default_cache_folder() -> Path:
    """Return the folder of decoded images of this user."""
    return Path.home() / ".cache" / "robofb" / "images"


def machine_memory_bytes() -> int:
    """Return the physical memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class ImageReading:
    """Say how `Windows` gets at images.

    Attributes:
        mode: "memory" holds them all; "cache" decodes them once into raw files; "stream" decodes chunks
            again and again into a pool of `memory_bytes`; "auto" takes the first of these that fits.
        memory_bytes: most that images in memory may take.
        cache_folder: of the raw files.
        threads: that decode or read side by side.
    """

    mode: str = "memory"
    memory_bytes: int = 2**62
    cache_folder: Path = Path(".")
    threads: int = 2

    def __post_init__(self) -> None:
        if self.mode not in ("auto", *MODES):
            raise UserError(f"images={self.mode}: choose one of auto, {', '.join(MODES)}")

    def chosen(self, stores: Sequence[EpisodeStore], keys: Sequence[str]) -> ImageReading:
        """Return the same with "auto" decided for the images `keys` of some datasets.

        Raises:
            UserError: mode "memory", and they are larger than `memory_bytes`.
        """
        needed = image_bytes(stores, keys)
        if self.mode == "memory" and needed > self.memory_bytes:
            raise UserError(
                f"images=memory: they take {needed / 1e9:.3g} GB decoded, memory_gb allows "
                f"{self.memory_bytes / 1e9:.3g}; valid: a larger memory_gb, images=cache, images=stream"
            )
        if self.mode != "auto":
            return self
        if needed <= self.memory_bytes:
            return replace(self, mode="memory")
        free = free_bytes(self.cache_folder) + held_bytes(self.cache_folder, stores, keys)
        mode = "cache" if needed <= DISK_SHARE * free else "stream"
        LOG.info(
            "images: %.3g GB decoded, %.3g GB of memory allowed, %.3g GB of disk free in %s: images=%s",
            needed / 1e9, self.memory_bytes / 1e9, free / 1e9, self.cache_folder, mode,
        )  # fmt: skip
        return replace(self, mode=mode)
