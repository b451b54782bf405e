"""Datasets that a command makes, or goes on with where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from robofb.errors import UserError
from robofb.store.episodes import EpisodeStore
from robofb.store.index import INDEX_FILE
from robofb.store.layout import vacate
from robofb.types import EnvSpec

Check = Callable[[Mapping[str, Any]], None]
"""Looks at the meta of a dataset; may raise."""


def open_or_create(
    path: Path,
    spec: EnvSpec,
    meta: Mapping[str, Any],
    check: Check | None = None,
) -> EpisodeStore:
    """Open a dataset to append to it, or create it where there is none.

    One that holds no episode yet counts as none: who began it left before the first was finished.

    Args:
        path: its folder.
        spec: what it holds; one that is there already must agree.
        meta: of a new one.
        check: of one that is there already.

    Raises:
        UserError: see `EpisodeStore.open` and `EpisodeStore.create`.
    """
    if not (path / INDEX_FILE).is_file():
        return EpisodeStore.create(path, spec, meta)
    with EpisodeStore.open(path) as there:
        if not len(there) and vacate(path):
            return EpisodeStore.create(path, spec, meta)
    store = EpisodeStore.open(path, "a", spec=spec)
    try:
        if check is not None:
            check(store.meta)
    except UserError:
        store.close()
        raise
    return store


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
