"""Find and remove what a killed writer left in a dataset."""

from __future__ import annotations

from pathlib import Path

from robofb.store.atomic import STAGING, temporary_files
from robofb.store.episodes import EpisodeStore
from robofb.store.flat_array import FlatArray
from robofb.store.info import folder_bytes, format_bytes
from robofb.store.layout import ENDS, array_specs, is_begun
from robofb.store.lock import check_unlocked


def find_remains(path: Path) -> list[str]:
    """Return one line for each thing that a killed writer left in a dataset; changes nothing.

    Raises:
        UserError: no dataset there, one that is damaged so that committed steps are missing, or one that
            another process is writing now.
    """
    with EpisodeStore.open(path) as store:
        check_unlocked(path)
        ends = store.episode_ends.tolist()
        spec = store.spec
    committed = {"data": ends[-1] if ends else 0, "final": len(ends)}
    lines = []
    for name, array_spec in array_specs(spec).items():
        array = FlatArray(path / name, array_spec)
        if name == ENDS:
            if len(array) != len(ends) or array.read(0, len(array)).tolist() != ends:
                lines.append(f"{name}, the copy of the episode ends, is not up to date")
            continue
        rows = committed[name.partition("/")[0]]
        if len(array) > rows:
            lines.append(f"{name}: {len(array) - rows} rows after the last committed episode")
        behind = array.chunks_behind(rows)
        if behind:
            lines.append(f"{name}: {len(behind)} chunk files behind the last committed episode")
    return lines + _stale_files(path)


def _stale_files(path: Path) -> list[str]:
    lines = []
    if (path / STAGING).is_dir():
        count = len(list((path / STAGING).iterdir()))
        lines.append(f"{STAGING}: {count} stale files, {format_bytes(folder_bytes(path / STAGING))}")
    for file in temporary_files(path):
        lines.append(f"{file.name}: stale file, {format_bytes(file.stat().st_size)}")
    if is_begun(path):
        lines.append("a mark that the dataset is still being created")
    return lines


def repair(path: Path) -> list[str]:
    """Remove what a killed writer left in a dataset, and return what that was, a line each.

    Committed episodes stay as they are. Opening a dataset for append does the same.

    Raises:
        UserError: see `find_remains`; or the folder cannot be written.
    """
    lines = find_remains(path)
    if lines:
        EpisodeStore.open(path, "a").close()
    return lines
