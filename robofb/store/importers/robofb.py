"""Read our own datasets, so that they can be exported."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from robofb.errors import UserError
from robofb.store.episodes import EpisodeStore
from robofb.store.foreign import Source, Wishes
from robofb.store.index import INDEX_FILE
from robofb.store.layout import says_ours

SUMMARY = "a dataset of robofb, data/README.md"


def looks_like(path: Path) -> bool:
    """Return whether a folder holds the index of a dataset, or says that it is one."""
    return (path / INDEX_FILE).is_file() or says_ours(path)


def open_source(path: Path, wishes: Wishes, stack: ExitStack) -> Source:
    """Open a dataset for reading."""
    if wishes.action is not None:
        raise UserError(f"{path} has no action '{wishes.action}'; it has: action")
    store = stack.enter_context(EpisodeStore.open(path))
    if not len(store):
        raise UserError(f"{path} holds no episodes")
    spec = replace(store.spec, task=wishes.task or store.spec.task)
    if wishes.rate_hz is not None:
        spec = replace(spec, control_dt=1.0 / wishes.rate_hz)
    return Source(spec, store.meta, (), len(store), store.__getitem__)
