"""Read rows of the arrays in an npz file one after another, without holding a whole array."""

from __future__ import annotations

import math
import zipfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

BLOCK_BYTES = 2**20  # read at a time where rows are passed over
KNOWN_VERSIONS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class _Member:
    """One array: its header, and a stream that stands at row `row`."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        version = np.lib.format.read_magic(stream)
        if version not in KNOWN_VERSIONS:
            known = ", ".join(f"{major}.{minor}" for major, minor in KNOWN_VERSIONS)
            raise ValueError(f"'{name}' is in npy version {version[0]}.{version[1]}; known: {known}")
        self.shape, fortran, self.dtype = KNOWN_VERSIONS[version](stream)
        if self.dtype.hasobject:
            raise ValueError(f"'{name}' holds Python objects, which are not read")
        if fortran and len(self.shape) > 1:
            raise ValueError(f"'{name}' is stored in Fortran order, which is not read")
        self.stream, self.row, self.name = stream, 0, name

    def read(self, rows: int) -> np.ndarray:
        """Return the next rows."""
        size = self._bytes(rows)
        data = self.stream.read(size)
        if len(data) != size:
            raise ValueError(f"'{self.name}' is cut off")
        self.row += rows
        return np.frombuffer(data, self.dtype).reshape(rows, *self.shape[1:])

    def skip(self, rows: int) -> None:
        """Pass over the next rows, holding little of them in memory."""
        left = self._bytes(rows)
        while left and (data := self.stream.read(min(left, BLOCK_BYTES))):
            left -= len(data)
        self.row += rows

    def _bytes(self, rows: int) -> int:
        return rows * math.prod(self.shape[1:]) * self.dtype.itemsize


class NpzStream:
    """Read rows of arrays in ascending order; going back starts an array again.

    Args:
        path: the npz file.
    """

    def __init__(self, path: Path) -> None:
        self._stack = ExitStack()
        self._zip = self._stack.enter_context(zipfile.ZipFile(path))
        self.names = [name.removesuffix(".npy") for name in self._zip.namelist() if name.endswith(".npy")]
        self._open: dict[str, _Member] = {}

    def __enter__(self) -> NpzStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array."""
        return tuple(self._member(name).shape)

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """Return rows start..stop of an array.

        Raises:
            ValueError: cut off, of objects, or in an unknown version of npy.
        """
        member = self._member(name)
        if member.row > start:
            self._open.pop(name).stream.close()
            member = self._member(name)
        member.skip(start - member.row)
        return member.read(stop - start)

    def _member(self, name: str) -> Any:
        if name not in self._open:
            stream = self._stack.enter_context(self._zip.open(f"{name}.npy"))
            self._open[name] = _Member(stream, name)
        return self._open[name]
