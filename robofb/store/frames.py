"""Images that do not fit into memory, decoded from the dataset's chunks by several threads."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from robofb.store.episodes import EpisodeStore
from robofb.store.flat_array import FlatArray


class StoredFrames:
    """Read image rows of several datasets, numbered through all of them, from their compressed chunks.

    Args:
        stores: the datasets; not needed afterwards. All hold the same `keys`.
        keys: the image observations.
        threads: that decode side by side (the decoder lets other threads run).
    """

    def __init__(self, stores: Sequence[EpisodeStore], keys: Sequence[str], threads: int) -> None:
        self.keys = tuple(keys)
        self.first_row = np.cumsum([0, *(int(store.episode_lengths.sum()) for store in stores)])  # (D + 1,)
        self._arrays = {
            key: [FlatArray(store.path / "data" / key, store.spec.obs[key]) for store in stores]
            for key in self.keys
        }
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix="frames")

    def row_shape(self, key: str) -> tuple[int, ...]:
        """Return (C, H, W) of an observation."""
        return self._arrays[key][0].row_shape

    def gather(self, key: str, rows: Tensor) -> Tensor:
        """Return the images (B, To, C, H, W) of `rows` (B, To) int64; decodes each chunk once."""
        wanted, place = np.unique(rows.cpu().numpy(), return_inverse=True)
        found = np.empty((len(wanted), *self.row_shape(key)), np.uint8)
        dataset = np.searchsorted(self.first_row, wanted, side="right") - 1
        inside = wanted - self.first_row[dataset]
        chunk_rows = np.array([array.chunk_rows for array in self._arrays[key]])[dataset]
        chunks = np.stack([dataset, inside // chunk_rows])
        starts = np.flatnonzero(np.diff(chunks, prepend=-1).any(axis=0))
        jobs = [
            self.threads.submit(self._pick, key, found, first, stop, inside, int(dataset[first]))
            for first, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(wanted)], strict=True)
        ]
        wait_all(jobs)
        return torch.from_numpy(found)[torch.from_numpy(place.reshape(rows.shape))]

    def start_reading(self, key: str, start: int, out: np.ndarray) -> list[Future[None]]:
        """Decode the rows from `start` on, all of one dataset, into `out` (n, C, H, W); return the jobs."""
        dataset = int(np.searchsorted(self.first_row, start, side="right")) - 1
        array, offset = self._arrays[key][dataset], int(self.first_row[dataset])
        stop = start + len(out)

        def read(chunk: int, first: int, last: int) -> None:
            base = chunk * array.chunk_rows
            images = array.decode_chunk(chunk)[first - base : last - base]
            out[first + offset - start : last + offset - start] = images

        return [self.threads.submit(read, *span) for span in array.spans(start - offset, stop - offset)]

    def _pick(
        self, key: str, found: np.ndarray, first: int, stop: int, inside: np.ndarray, dataset: int
    ) -> None:
        array = self._arrays[key][dataset]
        chunk, _ = divmod(int(inside[first]), array.chunk_rows)
        found[first:stop] = array.decode_chunk(chunk)[inside[first:stop] - chunk * array.chunk_rows]


def wait_all(jobs: Sequence[Future[None]]) -> None:
    """Wait until all jobs are done; raise what the first of them raised."""
    for job in jobs:
        job.exception()
    for job in jobs:
        job.result()
