"""Write our own datasets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from robofb.store.continuation import open_or_create
from robofb.store.foreign import Source, Wishes
from robofb.types import Episode

SUMMARY = "a dataset of robofb, data/README.md"
TAKES_VIDEO = False
GOES_ON = True


def write(source: Source, episodes: Iterator[Episode], out: Path, wishes: Wishes) -> None:
    """Append every episode to a dataset, which is made where there is none."""
    with open_or_create(out, source.spec, source.meta) as store:
        for episode in episodes:
            store.append(episode)
