"""Datasets that a command makes, or goes on with where it stopped."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from robofb.errors import UserError
from robofb.store.atomic import explain
from robofb.store.episodes import EpisodeStore
from robofb.store.index import INDEX_FILE
from robofb.store.layout import UNFINISHED, load_attributes, mark_finished, vacate
from robofb.types import EnvSpec

Check = Callable[[Mapping[str, Any]], None]
"""Looks at the meta of a dataset; may raise."""


def open_or_create(
    path: Path,
    spec: EnvSpec,
    meta: Mapping[str, Any],
    check: Check | None = None,
    unfinished: Mapping[str, Any] | None = None,
) -> EpisodeStore:
    """Open a dataset to append to it, or create it where there is none.

    One that holds no episode yet counts as none: who began it left before the first was finished.

    Args:
        path: its folder.
        spec: what it holds; one that is there already must agree.
        meta: of a new one.
        check: of one that is there already.
        unfinished: see `EpisodeStore.create`; where given, one that is there already may be unfinished too.

    Raises:
        UserError: see `EpisodeStore.open` and `EpisodeStore.create`.
    """
    if not (path / INDEX_FILE).is_file():
        return EpisodeStore.create(path, spec, meta, unfinished)
    with EpisodeStore.open(path, unfinished=unfinished is not None) as there:
        if not len(there) and vacate(path):
            return EpisodeStore.create(path, spec, meta, unfinished)
    store = EpisodeStore.open(path, "a", spec, unfinished is not None)
    try:
        if check is not None:
            check(store.meta)
    except UserError:
        store.close()
        raise
    return store


def remove_empty(path: Path) -> None:
    """Remove the folder of a dataset, where it holds no episode and nothing else.

    Raises:
        UserError: another process writes it.
    """
    if vacate(path):
        shutil.rmtree(path)


def finish(store: EpisodeStore) -> None:
    """Take the mark of an unfinished dataset away from one that is open for append.

    Raises:
        UserError: the disk is full.
    """
    try:
        mark_finished(store.path)
    except OSError as error:
        raise UserError(explain(error, f"{store.path}: cannot be marked as finished")) from error


def is_finished(folder: Path) -> bool:
    """Return whether a folder holds a dataset that no edit has left unfinished."""
    return (folder / INDEX_FILE).is_file() and UNFINISHED not in load_attributes(folder)


def same_settings(path: Path, verb: str, wanted: Mapping[str, Any], part: str | None = None) -> Check:
    """Return a check for `open_or_create` that refuses a dataset one of whose settings is not as wanted.

    Args:
        path: its folder.
        verb: between its name and the setting, such as "was made with".
        wanted: the settings that must be the same; the dataset's may be more.
        part: key of the meta that holds them; the meta itself where None.
    """

    def check(meta: Mapping[str, Any]) -> None:
        held = meta if part is None else meta.get(part, {})
        for key, value in wanted.items():
            if held.get(key) != value:
                raise UserError(f"{path} {verb} {key} {held.get(key)}, not {value}: choose another folder")

    return check
