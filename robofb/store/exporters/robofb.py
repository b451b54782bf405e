"""Write our own datasets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from robofb.store.episodes import EpisodeStore
from robofb.store.foreign import Source, Wishes
from robofb.types import Episode

SUMMARY = "a dataset of robofb, data/README.md"
TAKES_VIDEO = False


def write(source: Source, episodes: Iterator[Episode], out: Path, wishes: Wishes) -> None:
    """Append every episode to a new dataset."""
    with EpisodeStore.create(out, source.spec, source.meta) as store:
        for episode in episodes:
            store.append(episode)
