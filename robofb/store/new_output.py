"""Outputs that appear whole or not at all: files, folders, copies of datasets."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from robofb.errors import UserError
from robofb.store.atomic import STAGING, explain, is_full, replace_file, sync, sync_tree
from robofb.store.index import INDEX_FILE
from robofb.store.lock import LOCK_FILE, WriterLock


def check_new(path: Path, out: Path) -> None:
    """Raise UserError unless `out` is free, or an empty folder, and lies outside the source `path`."""
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(path)):  # a loop of links has no place
        raise UserError(f"{out} lies in {path}: choose a place outside the source")
    if out.is_dir() and not out.is_symlink() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise UserError(f"{out} exists: choose another place")


class NewOutput:
    """A place beside `out` to write to, which becomes `out` by one rename or goes away.

    Killed, it leaves at most a folder `.<out>.partial`. The next one to `out` goes on with what is there
    if both were given the same settings, else it clears that away. Ctrl-C and a full disk count as a kill
    where settings are given; other errors leave nothing.

    Args:
        out: file or folder that does not exist or is an empty folder.
        failed: what an OSError inside means, such as "nothing is copied".
        settings: JSON-ready, everything that decides the result; None where nothing can be gone on with.

    Attributes:
        folder: what a kill leaves.
        target: where to write; does not exist at first, unless `begun`.
        begun: whether `target` is what a killed one with the same settings left.
        cleared: what was cleared away: its settings, {} where it had none; None where there was nothing.
    """

    def __init__(self, out: Path, failed: str, settings: Mapping[str, Any] | None = None) -> None:
        self._out, self._failed = Path(os.path.abspath(out)), failed  # so that "." has a name
        self._settings = None if settings is None else json.dumps(settings, default=str).encode()
        self.folder = self._out.parent / f".{self._out.name}.partial"
        self.target = self.folder / self._out.name
        self._settings_file = self.folder / f"{self._out.name}.settings"
        self.begun = False
        self.cleared: dict[str, Any] | None = None
        self._lock: WriterLock | None = None

    def __enter__(self) -> NewOutput:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = WriterLock(self.folder)
            self._take_over()
        except OSError as error:
            self._leave()
            raise UserError(explain(error, f"{self._out}: cannot write there")) from None
        return self

    def _take_over(self) -> None:
        """Keep what a killed one left where it had the same settings, else clear it away."""
        held = self._settings_file.read_bytes() if self._settings_file.is_file() else b"{}"
        self.begun = self.target.exists() and held == self._settings
        if self.begun:
            return
        if self.target.exists():
            self.cleared = {}
            with suppress(ValueError, TypeError):
                self.cleared = dict(json.loads(held))
        self._settings_file.unlink(missing_ok=True)  # first: they vouch for the target
        sync(self.folder)
        if self.target.is_dir():
            shutil.rmtree(self.target)
        self.target.unlink(missing_ok=True)
        if self._settings is not None:
            replace_file(self._settings_file, self._settings)

    def __exit__(self, *failure: object) -> None:
        error = failure[1]
        if isinstance(error, UserError) and is_full(error.__cause__):
            error = error.__cause__  # it tells of a dataset that is not where the user looks
        can_go_on = self._settings is not None and self.target.exists()
        if can_go_on and (isinstance(error, KeyboardInterrupt) or is_full(error)):
            self._release()
        else:
            self._leave()
        if isinstance(error, OSError):
            if not (is_full(error) and can_go_on):
                raise UserError(explain(error, f"{self._out}: {self._failed}")) from error
            line = explain(error, f"{self._out}: {self._failed} yet")
            raise UserError(f"{line}; the same command goes on with what is in {self.folder}") from error

    def _leave(self) -> None:
        if self._lock is not None and self._lock.held:
            with suppress(OSError):
                self._settings_file.unlink(missing_ok=True)  # first: a kill may leave half a target
            shutil.rmtree(self.folder, ignore_errors=True)
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def publish(self) -> None:
        """Make what was written durable, then let it appear at `out`."""
        if self.target.is_dir():
            sync_tree(self.target)
        else:
            sync(self.target)
        check_new(self.target, self._out)
        os.replace(self.target, self._out)
        sync(self._out.parent)


def copy_dataset(path: Path, copy: Path) -> None:
    """Copy a dataset to a folder that does not exist, without its writer's lock.

    The copy holds the episodes committed at the start, even while another process appends.

    Raises:
        OSError: of the first file that cannot be copied.
    """
    copy.mkdir()
    shutil.copyfile(path / INDEX_FILE, copy / INDEX_FILE)  # first: rows may only be added after it
    left_out = shutil.ignore_patterns(INDEX_FILE, LOCK_FILE, STAGING, "*.tmp")
    try:
        shutil.copytree(path, copy, ignore=left_out, dirs_exist_ok=True)
    except shutil.Error as error:
        raise OSError(None, str(error.args[0][0][2])) from error
