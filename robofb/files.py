"""Write files so that a crash, a full disk or a read-only folder damages nothing that was saved."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from robofb.errors import UserError
from robofb.store.atomic import replace_file


@contextlib.contextmanager
def file_errors(doing: str) -> Iterator[None]:
    """Turn an OSError inside the block into one line for the user.

    Args:
        doing: start of the line, such as "cannot write runs/a/config.yaml".
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"{doing}: {error.strerror or error}") from error


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a whole file or nothing.

    Raises:
        UserError: where it cannot be written; the old content is intact then.
    """
    with file_errors(f"cannot write {path}"):
        replace_file(path, content.encode() if isinstance(content, str) else content)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def append_line(path: Path, line: str) -> None:
    """Append one line, on a line of its own even where a kill left half a line behind.

    Raises:
        UserError: where it cannot be written.
    """
    with file_errors(f"cannot write {path}"), path.open("ab+") as file:
        if file.seek(0, os.SEEK_END) > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode() + b"\n")
