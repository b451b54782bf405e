"""Pictures of an episode on disk while it is recorded, so that memory does not grow with its length."""

from __future__ import annotations

import math
import mmap
import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from robofb.types import ArraySpec


class Spool:
    """Hold rows in a file that has no name: it is gone with its last user, even where that one is killed.

    Args:
        folder: on whose disk it is, from the first row on.
        array: what each row is.
    """

    def __init__(self, folder: Path, array: ArraySpec) -> None:
        self._folder, self._shape, self._dtype = folder, array.shape, np.dtype(array.dtype)
        self._row_bytes = math.prod(array.shape) * self._dtype.itemsize
        self._file: Any = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, row: np.ndarray) -> None:
        """Add a row.

        Raises:
            OSError: the disk is full, or there is no such folder.
        """
        if self._file is None:
            self._file = TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 (`close` does)
        left = np.ascontiguousarray(row, self._dtype).data.cast("B")
        at = self._count * self._row_bytes
        while left:
            written = os.pwrite(self._file.fileno(), left, at)
            left, at = left[written:], at + written
        self._count += 1

    def drop_last(self) -> None:
        """Take back the last row."""
        self._count -= 1

    def rows(self, count: int) -> np.ndarray:
        """Return the first rows (count, ...), read-only; they stay when this is closed."""
        mapped = mmap.mmap(self._file.fileno(), count * self._row_bytes, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, self._dtype).reshape(count, *self._shape)

    def close(self) -> None:
        """Let all rows go that nobody has; safe twice. It may be begun anew."""
        self._count = 0
        if self._file is not None:
            self._file.close()
            self._file = None
