"""Files of a wheel, an unpacked tree or a checkout, by their names inside it; nothing is unpacked."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from robofb.errors import UserError
from robofb.files import file_errors

MOST_BYTES = 64 * 2**20  # of one file


class MeshSource:
    """Read files of a zip archive or a folder.

    Args:
        path: of the archive or folder.

    Raises:
        UserError: there is none, it is no archive, or the archive has names that lead out of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive: zipfile.ZipFile | None = None
        if path.is_dir():
            return
        if not path.is_file():
            raise UserError(f"no file or folder {path}")
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
            raise UserError(f"{path} is neither a folder nor a wheel: {error}") from None
        for name in self._archive.namelist():
            inside = PurePosixPath(name.replace("\\", "/"))
            if inside.is_absolute() or ".." in inside.parts:
                raise UserError(f"{path} holds {name!r}, which leads out of it: nothing is taken from it")

    def names(self, pattern: str) -> list[str]:
        """Return the names inside that match a glob pattern such as "*.dist-info/LICENSE"."""
        if self._archive is None:
            return sorted(found.relative_to(self.path).as_posix() for found in self.path.glob(pattern))
        depth = pattern.count("/")
        names = (name for name in self._archive.namelist() if name.count("/") == depth)
        return sorted(name for name in names if PurePosixPath(name).match(pattern))

    def has(self, name: str) -> bool:
        """Return whether a file is inside."""
        if self._archive is None:
            return (self.path / name).is_file()
        return name in self._archive.namelist()

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            UserError: it is missing, larger than 64 MiB, or cannot be read.
        """
        if not self.has(name):
            raise UserError(f"{self.path} lacks {name}")
        try:
            with file_errors(f"cannot read {name} of {self.path}"), self._open(name) as file:
                content: bytes = file.read(MOST_BYTES + 1)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
            raise UserError(f"cannot read {name} of {self.path}: {error}") from None
        if len(content) > MOST_BYTES:
            raise UserError(f"{name} of {self.path} is larger than {MOST_BYTES // 2**20} MiB")
        return content

    def _open(self, name: str) -> IO[bytes]:
        return (self.path / name).open("rb") if self._archive is None else self._archive.open(name)

    def close(self) -> None:
        """Close the archive; safe twice."""
        if self._archive is not None:
            self._archive.close()

    def __enter__(self) -> MeshSource:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()
