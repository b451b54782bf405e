"""One zarr (format 2) array that grows along its first axis, one atomic chunk file at a time.

zarr creates the array and can read it at any time; robofb writes and reads the chunk files
itself, because the order in which files reach the disk is what makes an append safe, and because
it is several times faster for one short episode.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np

from robofb.errors import UserError
from robofb.store.atomic import Staging

IMAGE_CHUNK_ROWS = 16
CHUNK_ROWS = 1024
ZSTD_LEVEL = 3


def create_array(group: Any, name: str, shape: tuple[int, ...], dtype: str, chunk_rows: int) -> None:
    """Create an empty (0, *shape) array `name` in a zarr group.

    A lost chunk of floats reads as NaN in zarr, so that nobody takes it for data.
    """
    group.create_array(
        name,
        shape=(0, *shape),
        chunks=(chunk_rows, *shape),
        dtype=dtype,
        compressors=numcodecs.Zstd(level=ZSTD_LEVEL),
        fill_value=np.nan if np.dtype(dtype).kind == "f" else np.zeros((), dtype).item(),
    )


class FlatArray:
    """Read and extend one array.

    Args:
        folder: the array's folder, made by `create_array`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._header = json.loads((folder / ".zarray").read_text())
            self._codec = numcodecs.get_codec(self._header["compressor"])
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"dataset is damaged: cannot read {folder / '.zarray'} ({error})") from None
        self.dtype = np.dtype(self._header["dtype"])
        self.row_shape = tuple(self._header["shape"][1:])
        self.chunk_rows = int(self._header["chunks"][0])
        self._cache: tuple[int, np.ndarray] | None = None  # the chunk used last

    def __len__(self) -> int:
        return int(self._header["shape"][0])

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows start..stop, (stop - start, *row_shape), a copy."""
        rows = np.empty((stop - start, *self.row_shape), self.dtype)
        for index, first, last in self.spans(start, stop):
            offset = index * self.chunk_rows
            rows[first - start : last - start] = self._chunk(index)[first - offset : last - offset]
        return rows

    def stage(self, staging: Staging, start: int, rows: np.ndarray) -> None:
        """Stage files in which `rows` stand at `start` and the array ends with them.

        Rows before `start` keep their values: a shared chunk is written anew as a whole. If the
        files are never published, staging other rows at the same `start` puts all right again.
        """
        stop = start + len(rows)
        for index, first, last in self.spans(start, stop):
            offset = index * self.chunk_rows
            chunk = np.zeros((self.chunk_rows, *self.row_shape), self.dtype)
            if first > offset:
                chunk[: first - offset] = self._chunk(index)[: first - offset]
            chunk[first - offset : last - offset] = rows[first - start : last - start]
            self._cache = (index, chunk)
            staging.add(self._chunk_path(index), lambda chunk=chunk: self._codec.encode(chunk))  # type: ignore[misc]
        header = {**self._header, "shape": [stop, *self.row_shape]}
        staging.add(self._folder / ".zarray", json.dumps(header, indent=2).encode)
        self._header = header

    def truncate(self, staging: Staging, stop: int) -> None:
        """Stage a header that ends the array at row `stop` and remove the chunks behind it."""
        if len(self) != stop:
            self.stage(staging, stop, np.empty((0, *self.row_shape), self.dtype))
        self._cache = None
        for path in self.chunks_behind(stop):
            path.unlink()

    def chunks_behind(self, stop: int) -> list[Path]:
        """Return the chunk files that hold no row before `stop`."""
        numbers = {path: path.name.partition(".")[0] for path in self._folder.iterdir()}
        return [path for path, n in numbers.items() if n.isdigit() and int(n) * self.chunk_rows >= stop]

    def spans(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """Return (chunk, first row, row after the last) for each chunk that start..stop touches."""
        size = self.chunk_rows
        chunks = range(start // size, -(-stop // size)) if stop > start else range(0)
        return [(c, max(start, c * size), min(stop, (c + 1) * size)) for c in chunks]

    def _chunk_path(self, index: int) -> Path:
        return self._folder / ".".join([str(index)] + ["0"] * len(self.row_shape))

    def decode_chunk(self, index: int) -> np.ndarray:
        """Return chunk `index`, (chunk_rows, *row_shape), read-only; many threads may do so at once.

        Raises:
            UserError: the chunk's file is missing or cut off.
        """
        path = self._chunk_path(index)
        try:
            flat = np.frombuffer(self._codec.decode(path.read_bytes()), self.dtype)
            return flat.reshape(self.chunk_rows, *self.row_shape)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"dataset is damaged: cannot read {path} ({error})") from None

    def _chunk(self, index: int) -> np.ndarray:
        if self._cache is None or self._cache[0] != index:
            self._cache = (index, self.decode_chunk(index))
        return self._cache[1]
