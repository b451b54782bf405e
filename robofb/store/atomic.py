"""Files that are either whole or absent, whatever kills the process or the machine."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

STAGING = ".staging"


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Wait until the disk has a file's content, or the renames made in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(root: Path) -> None:
    """Wait until the disk has every file and folder below one."""
    for folder, _, files in os.walk(root):
        for name in files:
            sync(Path(folder, name))
        sync(Path(folder))


def replace_file(path: Path, data: bytes) -> None:
    """Replace one file atomically and durably."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        write_synced(temporary, data)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


class Staging:
    """Write new versions of several files aside, durably, before the first takes its place.

    A disk that fills up is noticed in `wait`, when nothing has been replaced yet.

    Args:
        root: dataset folder; files are staged below it, on the same file system.
        pool: threads that compress and sync side by side.
    """

    def __init__(self, root: Path, pool: ThreadPoolExecutor) -> None:
        self._folder = root / STAGING
        self._folder.mkdir(exist_ok=True)
        self._pool = pool
        self._moves: list[tuple[Path, Path, Future[None]]] = []

    def add(self, target: Path, produce: Callable[[], bytes]) -> None:
        """Start writing what `produce` returns, meant for `target`."""
        temporary = self._folder / "-".join(target.parts[-3:])
        job = self._pool.submit(lambda: write_synced(temporary, produce()))
        self._moves.append((temporary, target, job))

    def wait(self) -> None:
        """Wait until every file is on disk; raises what any write raised."""
        for _, _, job in self._moves:
            job.result()

    def publish(self) -> None:
        """Move every file into place, each atomically, and make the moves durable."""
        self.wait()
        for temporary, target, _ in self._moves:
            os.replace(temporary, target)
        for folder in {target.parent for _, target, _ in self._moves}:
            sync(folder)


def clear_staging(root: Path) -> None:
    """Remove what an interrupted writer left aside."""
    shutil.rmtree(root / STAGING, ignore_errors=True)
    for file in temporary_files(root):
        file.unlink(missing_ok=True)


def temporary_files(root: Path) -> list[Path]:
    """Return what `replace_file` left in a folder where it was killed."""
    return [file for file in root.glob("*.tmp") if file.with_suffix("").exists()]


_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "the folder or its files are closed to this user",
    errno.EPERM: "the folder or its files are closed to this user",
}


def is_full(error: object) -> bool:
    """Return whether an error says that the disk has no more room, for all or for this user."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def explain(error: OSError, what: str) -> str:
    """Return one line: what failed, and why in plain words."""
    reason = _REASONS.get(error.errno or 0) or error.strerror or str(error)
    return f"{what}: {reason}"
