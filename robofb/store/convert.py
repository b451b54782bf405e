"""Turn a dataset of one format into one of another, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from robofb.errors import UserError
from robofb.progress import progress_bar
from robofb.store.checks import check_episode
from robofb.store.exporters import find_exporter
from robofb.store.foreign import Source, Wishes
from robofb.store.importers import open_source
from robofb.store.layout import check_keys
from robofb.store.new_output import NewOutput, check_new
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
    check_new(path, out)
    with ExitStack() as stack:
        name, source = open_source(path, source_format, wishes, stack)
        if name == target_format:
            raise UserError(f"{path} is in format '{name}' already: choose another with --to")
        try:
            check_keys(source.spec)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
        source = replace(source, meta=_told(source, path, name))
        counter = _Counter(source, path)
        if dry_run:
            for _ in counter.episodes():
                pass
        else:
            with NewOutput(out, "nothing is converted") as output:
                exporter.write(source, counter.episodes(), output.target, wishes)
                output.publish()
    return Conversion(name, source, counter.num_steps, tuple(counter.off_rate))


def _told(source: Source, path: Path, name: str) -> dict[str, object]:
    """Return the source's facts with where it came from and what was done to it."""
    if not source.notes and name == "robofb":
        return dict(source.meta)
    return {**source.meta, "import": {"format": name, "from": path.name, "notes": list(source.notes)}}


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
