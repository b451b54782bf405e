"""Turn a dataset of one format into one of another, whole or not at all."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from robofb.errors import UserError
from robofb.normalize import is_image
from robofb.progress import progress_bar
from robofb.provenance import MADE_WITH, made_with
from robofb.store.checks import check_episode
from robofb.store.episodes import EpisodeStore
from robofb.store.exporters import find_exporter
from robofb.store.foreign import Source, Wishes
from robofb.store.importers import open_source
from robofb.store.index import INDEX_FILE
from robofb.store.layout import check_keys
from robofb.store.new_output import NewOutput, check_new
from robofb.types import Episode

LOG = logging.getLogger(__name__)
FILES = "size and time of the files"
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
    tell: Callable[[str], object] = LOG.info,
) -> Conversion:
    """Read a dataset in any format known and write it to `out` in another.

    Holds one episode at a time. `out` appears by one rename, when all is written. A conversion to our own
    format that was killed or stopped, or that filled the disk, leaves a folder `.<out>.partial`; the same
    call goes on after the last episode committed there and ends with the very same data. With other settings
    or a changed source it starts afresh, as a conversion to a foreign format always does.

    Args:
        path: file or folder of the source, which is not changed.
        out: file or folder that does not exist or is an empty folder.
        source_format: name of an importer, or "auto".
        target_format: name of an exporter.
        wishes: what the user says about task, rate and action.
        dry_run: read and check everything, write nothing.
        tell: takes the line that says where a conversion goes on, or why it starts afresh.

    Raises:
        UserError: unknown format, damaged source, an episode that is not sound, or `out` is taken.
    """
    wishes = wishes or Wishes()
    exporter = find_exporter(target_format)
    if wishes.video and not exporter.TAKES_VIDEO:
        raise UserError(f"--video: format '{target_format}' stores no video")
    check_new(path, out)
    with ExitStack() as stack:
        name, source = open_source(path, source_format, wishes, stack)
        if name == target_format:
            raise UserError(f"{path} is in format '{name}' already: choose another with --to")
        try:
            check_keys(source.spec)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
        if wishes.video and not any(is_image(array) for array in source.spec.obs.values()):
            raise UserError(f"--video: {path} holds no images")
        source = replace(source, meta=_told(source, path, name))
        counter = _Counter(source, path)
        if dry_run:
            for _ in counter.episodes():
                pass
        else:
            settings = _settings(path, name, source, wishes) if exporter.GOES_ON else None
            with NewOutput(out, "nothing is converted", settings) as output:
                begun = _take_up(output, settings, counter, tell)
                exporter.write(source, counter.episodes(begun), output.target, wishes)
                if settings is not None and settings[FILES] != _files_digest([path, *source.beside]):
                    raise UserError(f"{path} changed while it was read: nothing is converted")
                output.publish()
    return Conversion(name, source, counter.num_steps, tuple(counter.off_rate))


def _told(source: Source, path: Path, name: str) -> dict[str, object]:
    """Return the source's facts with where it came from and what was done to it."""
    if not source.notes and name == "robofb":
        return dict(source.meta)
    return {**source.meta, "import": {"format": name, "from": path.name, "notes": list(source.notes)}}


def _settings(path: Path, name: str, source: Source, wishes: Wishes) -> dict[str, Any]:
    """Return everything that decides what a conversion to our own format writes."""
    return {
        "path": os.path.abspath(path),
        FILES: _files_digest([path, *source.beside]),
        "format": name,
        "options": vars(wishes),
        "spec": source.spec.to_dict(),
        "meta": dict(source.meta),
        MADE_WITH: made_with(),
    }


def _files_digest(paths: list[Path]) -> str:
    """Return a SHA-256 over name, size and time of change of files and of all files below folders."""
    roots = [Path(os.path.abspath(path)) for path in paths]
    files = [root for root in roots if root.is_file()]
    files += [Path(folder, name) for root in roots for folder, _, names in os.walk(root) for name in names]
    digest = hashlib.sha256()
    for file in sorted(files):
        facts = file.stat(follow_symlinks=file.exists())
        digest.update(f"{file}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _take_up(
    output: NewOutput, settings: dict[str, Any] | None, counter: _Counter, tell: Callable[[str], object]
) -> int:
    """Return how many episodes are there already, counted; tell about them, or that they are thrown away."""
    if output.cleared is not None:
        held = output.cleared
        differing = [key for key, value in (settings or {}).items() if key in held and held[key] != value]
        why = f" with another {', '.join(differing)}" if differing else ""
        tell(f"starting afresh: {output.folder} held an unfinished conversion{why}")
    if not output.begun or not (output.target / INDEX_FILE).is_file():
        return 0
    with EpisodeStore.open(output.target) as store:
        for number in range(len(store)):
            counter.count(number, store.observations("timestamp", number))
        tell(f"going on at episode {len(store)} of {counter.source.num_episodes}")
        return len(store)


class _Counter:
    """Check and count the episodes that pass."""

    def __init__(self, source: Source, path: Path) -> None:
        self.source, self._path = source, path
        self.num_steps = 0
        self.off_rate: list[int] = []

    def episodes(self, begin: int = 0) -> Iterator[Episode]:
        """Yield every episode from number `begin` on; raises UserError naming the first that is not sound."""
        source = self.source
        with progress_bar(source.num_episodes, "converting", "episode", done=begin, delay_s=1.0) as bar:
            for number, episode in enumerate(source.episodes(begin), begin):
                try:
                    check_episode(episode, source.spec)
                except UserError as error:
                    raise UserError(f"{self._path}: episode {number}: {error}") from None
                self.count(number, episode.timestamps)
                yield episode
                bar.update()

    def count(self, number: int, times_s: np.ndarray) -> None:
        """Count an episode whose observations were taken at `times_s` (T + 1,)."""
        periods_s = np.diff(times_s)
        self.num_steps += len(periods_s)
        if abs(float(np.median(periods_s)) / self.source.spec.control_dt - 1.0) > RATE_TOLERANCE:
            self.off_rate.append(number)
