"""A file for HDF5, which cannot bear a disk that fills up: it leaks, or crashes the process, on closing."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path


class PatientFile(io.RawIOBase):
    """A new file that never refuses a write; `check` tells what the disk refused.

    What is written after the disk's first refusal stays in memory, so call `check` often.

    Args:
        path: of the file, which must not exist.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "x+b", buffering=0)  # noqa: SIM115 (closed by close)
        self._place = self._size = 0
        self._kept: list[tuple[int, bytes]] = []
        self._refusal: OSError | None = None

    def check(self) -> None:
        """Raise what the disk raised first, if it did."""
        if self._refusal is not None:
            raise self._refusal

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place and return it."""
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def write(self, data: object) -> int:
        """Write at the place, on disk or, once that is full, in memory."""
        content = bytes(memoryview(data))  # type: ignore[arg-type]
        written = 0
        try:
            while self._refusal is None and written < len(content):
                self._file.seek(self._place + written)
                written += self._file.write(content[written:])
        except OSError as error:
            self._refusal = error
        if written < len(content):
            self._kept.append((self._place + written, content[written:]))
        self._place += len(content)
        self._size = max(self._size, self._place)
        return len(content)

    def readinto(self, buffer: object) -> int:
        """Read from the place what was written there, wherever it is; zeros where nothing was."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        start, count = self._place, max(0, min(len(view), self._size - self._place))
        self._file.seek(start)
        found = self._file.read(count)
        content = bytearray(found + bytes(count - len(found)))
        for offset, data in self._kept:
            first, last = max(offset, start), min(offset + len(data), start + count)
            if first < last:
                content[first - start : last - start] = data[first - offset : last - offset]
        view[:count] = content
        self._place += count
        return count

    def truncate(self, size: int | None = None) -> int:
        """Give the file a size."""
        self._size = self._place if size is None else size
        try:
            self._file.truncate(self._size)
        except OSError as error:
            self._refusal = self._refusal or error
        return self._size

    def close(self) -> None:
        """Close the file; safe twice."""
        self._file.close()
        super().close()


@contextlib.contextmanager
def open_disk(path: Path) -> Iterator[PatientFile]:
    """Make a new file for HDF5; leaving it well raises what the disk refused.

    Raises:
        OSError: the disk is full, say.
    """
    with contextlib.closing(PatientFile(path)) as file:
        yield file
        file.check()
