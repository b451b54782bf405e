"""One writer at a time."""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path

from robofb.errors import UserError

LOCK_FILE = ".writer.lock"


class WriterLock:
    """Hold the right to write a folder until `release` or the death of this process.

    The lock is the kernel's (flock): a killed writer's lock is free at once. The file's content
    only names the holder.

    Raises:
        UserError: another writer holds it; names its process id.
    """

    def __init__(self, folder: Path) -> None:
        handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            error = _held_by(folder, handle)
            os.close(handle)
            raise error from None
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        self._handle: int | None = handle
        _HELD.add(self)

    @property
    def held(self) -> bool:
        """Whether this object still holds the lock."""
        return self._handle is not None

    def release(self) -> None:
        """Let the next writer in; safe twice."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def check_unlocked(folder: Path) -> None:
    """Raise UserError where another process writes a folder; touches nothing."""
    try:
        handle = os.open(folder / LOCK_FILE, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _held_by(folder, handle) from None
    finally:
        os.close(handle)


def _held_by(folder: Path, handle: int) -> UserError:
    holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
    return UserError(f"{folder} is being written by process {holder}: wait or stop it")


_HELD: weakref.WeakSet[WriterLock] = weakref.WeakSet()


def _release_in_child() -> None:
    # A forked child shares the parent's lock and would keep it beyond the parent's death.
    for lock in list(_HELD):
        lock.release()


os.register_at_fork(after_in_child=_release_in_child)
