"""Datasets that a command makes, or goes on with where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from robofb.errors import UserError
from robofb.store.episodes import EpisodeStore
from robofb.store.index import INDEX_FILE
from robofb.types import EnvSpec


def open_or_create(
    path: Path,
    spec: EnvSpec,
    meta: Mapping[str, Any],
    check: Callable[[Mapping[str, Any]], None] | None = None,
) -> EpisodeStore:
    """Open a dataset to append to it, or create it where there is none.

    Args:
        path: its folder.
        spec: what it holds; one that is there already must agree.
        meta: of a new one.
        check: looks at the meta of one that is there already; may raise.

    Raises:
        UserError: see `EpisodeStore.open` and `EpisodeStore.create`.
    """
    if not (path / INDEX_FILE).is_file():
        return EpisodeStore.create(path, spec, meta)
    store = EpisodeStore.open(path, "a", spec=spec)
    try:
        if check is not None:
            check(store.meta)
    except UserError:
        store.close()
        raise
    return store


def check_same_settings(path: Path, verb: str, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to go on with a dataset one of whose settings is not as wanted.

    Args:
        path: its folder.
        verb: between its name and the setting, such as "was made with".
        held: its settings; more than those wanted may be anything.
        wanted: those that must be the same.
    """
    for key, value in wanted.items():
        if held.get(key) != value:
            raise UserError(f"{path} {verb} {key} {held.get(key)}, not {value}: choose another --out")
