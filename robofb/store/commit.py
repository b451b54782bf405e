"""How episodes get into the files of a dataset, and how those that were not committed get out again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from robofb.errors import UserError
from robofb.store.atomic import Staging
from robofb.store.checks import check_episode
from robofb.store.flat_array import FlatArray
from robofb.store.index import INDEX_FILE, EpisodeEntry, dump_index
from robofb.store.layout import ENDS
from robofb.types import EnvSpec, Episode

_SYNC_THREADS = 8


def entries_of(
    episodes: Sequence[Episode], spec: EnvSpec, number: int, end: int, name: str
) -> list[EpisodeEntry]:
    """Return what the index will say of episodes that are appended.

    Args:
        episodes: to append.
        spec: of the dataset.
        number: of the first one.
        end: row after the last step that is committed.
        name: of the dataset, for errors.

    Raises:
        UserError: one of them does not fit.
    """
    entries: list[EpisodeEntry] = []
    for index, episode in enumerate(episodes, number):
        try:
            check_episode(episode, spec)
            end += len(episode)
            entry = EpisodeEntry(end, bool(episode.success), bool(episode.terminated), dict(episode.meta))
            entry.to_json()
        except UserError as error:
            raise UserError(f"{name}: episode {index} refused: {error}") from None
        entries.append(entry)
    return entries


def commit(
    root: Path,
    arrays: Mapping[str, FlatArray],
    episodes: Sequence[Episode],
    entries: Sequence[EpisodeEntry],
    lines: Sequence[str],
) -> None:
    """Write episodes' rows, then the index, by which they count, then the copy of the ends.

    Nothing is replaced before all of it is on disk.

    Args:
        root: folder of the dataset.
        arrays: all of its arrays, by name.
        episodes: at least one; they fit the dataset.
        entries: what the index says of them.
        lines: of the index, theirs the last.
    """
    start, number = entries[0].end - len(episodes[0]), len(lines) - len(episodes)
    steps = {key: [each.obs[key] for each in episodes] for key in episodes[0].obs}
    steps["timestamp"] = [each.timestamps for each in episodes]
    whole = {key: [getattr(each, key) for each in episodes] for key in ("action", "reward", "source")}
    with ThreadPoolExecutor(_SYNC_THREADS) as pool:
        rows, index, ends = (Staging(root, pool) for _ in range(3))
        for key, values in steps.items():
            arrays[f"data/{key}"].stage(rows, start, _joined([each[:-1] for each in values]))
            arrays[f"final/{key}"].stage(rows, number, np.stack([each[-1] for each in values]))
        for key, values in whole.items():
            arrays[f"data/{key}"].stage(rows, start, _joined(values))
        content = dump_index(
            list(lines)
        )  # not in the pool, where every thread's heap would keep room for one
        index.add(root / INDEX_FILE, lambda: content)
        arrays[ENDS].stage(ends, number, np.array([entry.end for entry in entries]))
        for staging in (rows, index, ends):
            staging.wait()
        rows.publish()
        index.publish()
        with suppress(OSError):  # a copy for other readers; the next append or open mends it
            ends.publish()


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return arrays one after another; a single one is no copy."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def truncate(
    root: Path, arrays: Mapping[str, FlatArray], rows: Mapping[str, int], episode_ends: np.ndarray
) -> None:
    """Cut every array down to its committed rows; write the copy of the ends anew.

    Args:
        root: folder of the dataset.
        arrays: all of its arrays, by name.
        rows: how many of each are committed.
        episode_ends: (N,) int64, row after the last step of each committed episode.
    """
    with ThreadPoolExecutor(_SYNC_THREADS) as pool:
        staging = Staging(root, pool)
        for name, array in arrays.items():
            if name != ENDS:
                array.truncate(staging, rows[name])
        staging.publish()
        ends = Staging(root, pool)
        arrays[ENDS].stage(ends, 0, episode_ends)
        ends.publish()
