"""Turn a dataset of one format into one of another, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from robofb.errors import UserError
from robofb.progress import progress_bar
from robofb.store.atomic import explain, sync, sync_tree
from robofb.store.checks import check_episode
from robofb.store.exporters import find_exporter
from robofb.store.foreign import Source, Wishes
from robofb.store.importers import open_source
from robofb.store.lock import WriterLock
from robofb.types import Episode

RATE_TOLERANCE = 0.05  # share by which timestamps may differ from the declared rate


@dataclass(frozen=True)
class Conversion:
    """What a conversion did, or would do.

    Attributes:
        source_format: format of the source, given or found.
        source: what was read; its notes hold every change, assumption and loss.
        num_steps: actions in all episodes.
        off_rate: numbers of the episodes whose timestamps disagree with the declared rate.
    """

    source_format: str
    source: Source
    num_steps: int
    off_rate: tuple[int, ...]


def convert(
    path: Path,
    out: Path,
    *,
    source_format: str = "auto",
    target_format: str = "robofb",
    wishes: Wishes | None = None,
    dry_run: bool = False,
) -> Conversion:
    """Read a dataset in any format known and write it to `out` in another.

    Holds one episode at a time. `out` appears by one rename, when all is written; an interrupted
    conversion leaves at most a folder `.<out>.partial`, which the next one to `out` clears away.

    Args:
        path: file or folder of the source, which is not changed.
        out: file or folder that does not exist or is an empty folder.
        source_format: name of an importer, or "auto".
        target_format: name of an exporter.
        wishes: what the user says about task, rate and action.
        dry_run: read and check everything, write nothing.

    Raises:
        UserError: unknown format, damaged source, an episode that is not sound, or `out` is taken.
    """
    wishes = wishes or Wishes()
    exporter = find_exporter(target_format)
    if wishes.video and not exporter.TAKES_VIDEO:
        raise UserError(f"--video: format '{target_format}' stores no video")
    _check_out(path, out)
    with ExitStack() as stack:
        name, source = open_source(path, source_format, wishes, stack)
        if name == target_format:
            raise UserError(f"{path} is in format '{name}' already: choose another with --to")
        source = replace(source, meta=_told(source, path, name))
        counter = _Counter(source, path)
        if dry_run:
            for _ in counter.episodes():
                pass
        else:
            with _Partial(out) as partial:
                exporter.write(source, counter.episodes(), partial.target, wishes)
                partial.publish()
    return Conversion(name, source, counter.num_steps, tuple(counter.off_rate))


def _told(source: Source, path: Path, name: str) -> dict[str, object]:
    """Return the source's facts with where it came from and what was done to it."""
    if not source.notes and name == "robofb":
        return dict(source.meta)
    return {**source.meta, "import": {"format": name, "from": path.name, "notes": list(source.notes)}}


def _check_out(path: Path, out: Path) -> None:
    if out.resolve().is_relative_to(path.resolve()):
        raise UserError(f"{out} lies in {path}: choose a place outside the source")
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() or out.is_symlink():
        raise UserError(f"{out} exists: choose another place")


class _Counter:
    """Check and count the episodes that pass."""

    def __init__(self, source: Source, path: Path) -> None:
        self._source, self._path = source, path
        self.num_steps = 0
        self.off_rate: list[int] = []

    def episodes(self) -> Iterator[Episode]:
        """Yield every episode that is sound; raises UserError naming the first that is not."""
        source = self._source
        with progress_bar(source.num_episodes, "converting", "episode", delay_s=1.0) as bar:
            for number, episode in enumerate(source.episodes()):
                try:
                    check_episode(episode, source.spec)
                except UserError as error:
                    raise UserError(f"{self._path}: episode {number}: {error}") from None
                self.num_steps += len(episode)
                periods = np.diff(episode.timestamps)
                if abs(float(np.median(periods)) / source.spec.control_dt - 1.0) > RATE_TOLERANCE:
                    self.off_rate.append(number)
                yield episode
                bar.update()


class _Partial:
    """A place beside `out` to write to, which becomes `out` by one rename or goes away."""

    def __init__(self, out: Path) -> None:
        self._out = Path(os.path.abspath(out))  # so that "." has a name
        self._folder = self._out.parent / f".{self._out.name}.partial"
        self.target = self._folder / self._out.name
        self._lock: WriterLock | None = None

    def __enter__(self) -> _Partial:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = WriterLock(self._folder)
            if self.target.is_dir():
                shutil.rmtree(self.target)
            self.target.unlink(missing_ok=True)
        except OSError as error:
            self._leave()
            raise UserError(explain(error, f"{self._out}: cannot write there")) from None
        return self

    def __exit__(self, *failure: object) -> None:
        self._leave()
        error = failure[1]
        if isinstance(error, OSError):
            raise UserError(explain(error, f"{self._out}: nothing is converted")) from error

    def _leave(self) -> None:
        if self._lock is not None and self._lock.held:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._lock.release()

    def publish(self) -> None:
        """Make what was written durable, then let it appear at `out`."""
        if self.target.is_dir():
            sync_tree(self.target)
        else:
            sync(self.target)
        _check_out(self.target, self._out)
        os.replace(self.target, self._out)
        sync(self._out.parent)
