"""How an episode gets into the files of a dataset, and how one that was not committed gets out again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from robofb.store.atomic import Staging
from robofb.store.flat_array import FlatArray
from robofb.store.index import INDEX_FILE, EpisodeEntry, dump_index
from robofb.store.layout import ENDS
from robofb.types import Episode

_SYNC_THREADS = 8


def commit(
    root: Path,
    arrays: Mapping[str, FlatArray],
    number: int,
    episode: Episode,
    entry: EpisodeEntry,
    lines: Sequence[str],
) -> None:
    """Write an episode's rows, then the index, by which it counts, then the copy of the ends.

    Nothing is replaced before all of it is on disk.

    Args:
        root: folder of the dataset.
        arrays: all of its arrays, by name.
        number: of the episode.
        episode: fits the dataset.
        entry: what the index says of it.
        lines: of the index, its own the last.
    """
    start = entry.end - len(episode)
    steps = {**episode.obs, "timestamp": episode.timestamps}
    whole = {"action": episode.action, "reward": episode.reward, "source": episode.source}
    with ThreadPoolExecutor(_SYNC_THREADS) as pool:
        rows, index, ends = (Staging(root, pool) for _ in range(3))
        for key, values in steps.items():
            arrays[f"data/{key}"].stage(rows, start, values[:-1])
            arrays[f"final/{key}"].stage(rows, number, values[-1:])
        for key, values in whole.items():
            arrays[f"data/{key}"].stage(rows, start, values)
        index.add(root / INDEX_FILE, lambda: dump_index(list(lines)))
        arrays[ENDS].stage(ends, number, np.array([entry.end]))
        for staging in (rows, index, ends):
            staging.wait()
        rows.publish()
        index.publish()
        with suppress(OSError):  # a copy for other readers; the next append or open mends it
            ends.publish()


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
