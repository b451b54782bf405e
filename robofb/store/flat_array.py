"""One zarr (format 2) array that grows along its first axis, one atomic chunk file at a time.

zarr creates the array and can read it at any time; robofb writes and reads the chunk files
itself, because the order in which files reach the disk is what makes an append safe, and because
it is several times faster for one short episode.
"""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np

from robofb.errors import DamagedError
from robofb.store.atomic import Staging
from robofb.store.index import MAX_ROWS
from robofb.types import ArraySpec

IMAGE_CHUNK_ROWS = 16
CHUNK_ROWS = 1024
ZSTD_LEVEL = 3
MAX_CHUNK_ROWS = 2**20  # a damaged header shall ask for no absurd memory


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
        spec: what each row is.

    Raises:
        DamagedError: its header is missing, or is none that `create_array` writes for such rows.
    """

    def __init__(self, folder: Path, spec: ArraySpec) -> None:
        self._folder = folder
        self._header = _load_header(folder / ".zarray", spec)
        self._codec = numcodecs.Zstd(level=ZSTD_LEVEL)
        self.dtype = np.dtype(self._header["dtype"])
        self.row_shape = tuple(self._header["shape"][1:])
        self.chunk_rows = int(self._header["chunks"][0])
        self._cache: tuple[int, np.ndarray] | None = None  # the chunk used last

    def __len__(self) -> int:
        return int(self._header["shape"][0])

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows start..stop, (stop - start, *row_shape), a copy."""
        if stop > start and not self._chunk_path((stop - 1) // self.chunk_rows).exists():
            self._chunk((stop - 1) // self.chunk_rows)  # refuse before asking for memory
        rows = np.empty((stop - start, *self.row_shape), self.dtype)
        for index, first, last in self.spans(start, stop):
            offset = index * self.chunk_rows
            rows[first - start : last - start] = self._chunk(index)[first - offset : last - offset]
        return rows

    def stage(self, staging: Staging, start: int, rows: np.ndarray) -> None:
        """Stage files in which `rows` stand at `start` and the array ends with them.

        Rows before `start` keep their values: a shared chunk is written anew as a whole. If the
        files are never published, staging other rows at the same `start` puts all right again.
        `rows` are read until the staging was waited for.
        """
        stop = start + len(rows)
        spans, shared = self.spans(start, stop), start % self.chunk_rows
        before = self._chunk(spans[0][0])[:shared] if spans and shared else rows[:0]

        def chunk(index: int, first: int, last: int) -> np.ndarray:
            offset = index * self.chunk_rows
            made = np.zeros((self.chunk_rows, *self.row_shape), self.dtype)
            made[: first - offset] = before[: first - offset]
            made[first - offset : last - offset] = rows[first - start : last - start]
            return made

        for span in spans[:-1]:  # each is made when it is its turn: long episodes of images fill no memory
            staging.add(self._chunk_path(span[0]), lambda span=span: self._codec.encode(chunk(*span)))  # type: ignore[misc]
        for span in spans[-1:]:
            self._cache = (span[0], chunk(*span))
            staging.add(self._chunk_path(span[0]), partial(self._codec.encode, self._cache[1]))
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
        return [path for path, n in self._chunk_numbers().items() if n * self.chunk_rows >= stop]

    def rows_on_disk(self) -> int:
        """Return the row up to which there are chunk files, whatever the header says."""
        return (max(self._chunk_numbers().values(), default=-1) + 1) * self.chunk_rows

    def _chunk_numbers(self) -> dict[Path, int]:
        numbers = {path: path.name.partition(".")[0] for path in self._folder.iterdir()}
        return {path: int(n) for path, n in numbers.items() if n.isascii() and n.isdigit()}

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
            DamagedError: the chunk's file is missing or cut off.
        """
        path = self._chunk_path(index)
        try:
            content = self._codec.decode(path.read_bytes())
        except OSError as error:
            raise DamagedError(f"cannot read {path} ({error.strerror or error})") from None
        except (ValueError, RuntimeError) as error:
            raise DamagedError(f"cannot read {path} ({error})") from None
        shape = (self.chunk_rows, *self.row_shape)
        expected = math.prod(shape) * self.dtype.itemsize
        if len(content) != expected:
            raise DamagedError(f"cannot read {path} (it holds {len(content)} bytes, not {expected})")
        return np.frombuffer(content, self.dtype).reshape(shape)

    def _chunk(self, index: int) -> np.ndarray:
        if self._cache is None or self._cache[0] != index:
            self._cache = (index, self.decode_chunk(index))
        return self._cache[1]


def _load_header(path: Path, spec: ArraySpec) -> dict[str, Any]:
    try:
        header = json.loads(path.read_text())
    except OSError as error:
        raise DamagedError(f"cannot read {path} ({error.strerror or error})") from None
    except ValueError as error:
        raise DamagedError(f"cannot read {path} ({error})") from None
    problem = _problem(header, spec)
    if problem:
        raise DamagedError(f"{path} describes no array of this dataset ({problem})")
    return dict(header)


def _problem(header: Any, spec: ArraySpec) -> str:
    """Return what in the header of an array does not fit its rows, or ""."""
    if not isinstance(header, dict):
        return "it holds no object"
    row = list(spec.shape)
    for key, least, most in (("shape", 0, MAX_ROWS), ("chunks", 1, MAX_CHUNK_ROWS)):
        sizes = header.get(key)
        if not isinstance(sizes, list) or not all(type(size) is int for size in sizes):
            return f"'{key}' is {sizes!r}"
        if not sizes or sizes[1:] != row or not least <= sizes[0] <= most:
            return f"'{key}' is {sizes}, the spec has rows of {row}"
    dtype = header.get("dtype")
    if dtype != np.dtype(spec.dtype).str:
        return f"'dtype' is {dtype!r}, the spec has {spec.dtype}"
    compressor = header.get("compressor")
    if not isinstance(compressor, dict) or compressor.get("id") != "zstd":
        return "'compressor' is not zstd"
    wanted: dict[str, tuple[Any, ...]] = {
        "zarr_format": (2,),
        "filters": (None, []),
        "order": ("C",),
        "dimension_separator": (".", None),
    }
    for key, valid in wanted.items():
        if header.get(key) not in valid:
            return f"'{key}' is {str(header.get(key))[:60]}"
    return ""
