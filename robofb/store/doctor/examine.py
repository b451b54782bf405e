"""Examine a dataset: every check over every episode, one episode in memory at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robofb.errors import UserError
from robofb.progress import progress_bar
from robofb.store.doctor import actions, duplicates, images, labels, marks, motion, poses, timing, values
from robofb.store.doctor.finding import ERROR, DatasetCheck, EpisodeCheck, Finding
from robofb.store.doctor.reading import DatasetReader
from robofb.types import EnvSpec

EPISODE_CHECKS: tuple[EpisodeCheck, ...] = (
    values.CHECK,
    poses.JUMPS,
    poses.ROTATIONS,
    actions.STUCK_CHECK,
    actions.BOUNDS_CHECK,
    actions.CHATTER_CHECK,
    timing.ORDER_CHECK,
    timing.RATE_CHECK,
    images.CONTENT_CHECK,
    images.EXPOSURE_CHECK,
    motion.IDLE_CHECK,
    marks.CHECK,
)
DATASET_CHECKS: tuple[DatasetCheck, ...] = (
    images.BRIGHTNESS_CHECK,
    motion.LAG_CHECK,
    duplicates.CHECK,
    labels.LENGTH_CHECK,
    labels.OUTCOME_CHECK,
)
CHECKS: tuple[EpisodeCheck | DatasetCheck, ...] = (*EPISODE_CHECKS, *DATASET_CHECKS)
CHECK_NAMES = tuple(check.name for check in CHECKS)


@dataclass
class Diagnosis:
    """What the doctor found.

    Attributes:
        path: of the dataset.
        task: its name, "" where even that cannot be read.
        lengths: actions in each episode.
        findings: worst first, then by episode and frame.
        not_checked: why, by name of each check that could not run.
        measured: figures of the whole dataset by name and unit.
        intervals: mean time between observations [s] by episode, where it can be read.
        control_dt: declared time between observations [s].
        readable: whether spec and index could be read; without them no episode is known.
    """

    path: str
    task: str = ""
    lengths: list[int] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    not_checked: dict[str, str] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)
    intervals: dict[int, float] = field(default_factory=dict)
    control_dt: float = 0.0
    readable: bool = True

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.severity == ERROR for finding in self.findings)

    @property
    def own_errors(self) -> int:
        """How many errors concern the dataset and no single episode."""
        return sum(finding.severity == ERROR and finding.episode is None for finding in self.findings)

    @property
    def sound_episodes(self) -> int:
        """How many episodes have no finding."""
        return len(self.lengths) - len({f.episode for f in self.findings if f.episode is not None})

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "path": self.path,
            "task": self.task,
            "episodes": len(self.lengths),
            "sound_episodes": self.sound_episodes,
            "readable": self.readable,
            "errors": self.errors,
            "own_errors": self.own_errors,
            "warnings": len(self.findings) - self.errors,
            "findings": [finding.to_dict() for finding in self.findings],
            "not_checked": self.not_checked,
            "measured": self.measured,
        }


def examine(path: str | Path, only: Sequence[str] = ()) -> Diagnosis:
    """Return everything that is wrong with a dataset.

    Damaged files are always looked for; damage in one episode stops neither its other checks nor those of
    the other episodes.

    Args:
        path: folder of the dataset.
        only: names of the checks to run, or empty for all.

    Raises:
        UserError: no robofb dataset there, or an unknown check.
    """
    for name in only:
        if name not in CHECK_NAMES:
            raise UserError(f"--only {name}: no such check; valid: {', '.join(CHECK_NAMES)}")
    reader = DatasetReader(Path(path))
    diagnosis = Diagnosis(str(path), findings=list(reader.findings), readable=reader.spec is not None)
    if reader.spec is not None:
        diagnosis.task, diagnosis.control_dt = reader.spec.task, reader.spec.control_dt
        diagnosis.lengths = reader.lengths
        _examine_episodes(reader, reader.spec, diagnosis, set(only or CHECK_NAMES))
    diagnosis.findings.sort(key=_worst_first)
    return diagnosis


def _examine_episodes(reader: DatasetReader, spec: EnvSpec, diagnosis: Diagnosis, wanted: set[str]) -> None:
    for known in CHECKS:
        why = known.obstacle(spec)
        if known.name in wanted and why:
            diagnosis.not_checked[known.name] = why
    wanted = wanted - set(diagnosis.not_checked)
    each = [check for check in EPISODE_CHECKS if check.name in wanted]
    compared = [check for check in DATASET_CHECKS if check.name in wanted]
    remembered: dict[str, dict[int, Any]] = {check.name: {} for check in compared}
    with progress_bar(len(reader), f"examining {diagnosis.path}", "episode", delay_s=2.0) as bar:
        for number in range(len(reader)):
            recorded, damage = reader.read(number)
            diagnosis.findings += damage
            if not recorded.arrays:  # nothing could be read, and even its length may be false
                bar.update()
                continue
            sound = recorded.finite()
            for check in each:
                diagnosis.findings += check.run(recorded if check is values.CHECK else sound)
            for comparison in compared:
                reduced = comparison.reduce(sound)
                if reduced is not None:
                    remembered[comparison.name][number] = reduced
            interval = timing.interval(sound)
            if interval is not None:
                diagnosis.intervals[number] = interval
            bar.update()
    for comparison in compared:
        if remembered[comparison.name]:
            diagnosis.findings += comparison.judge(remembered[comparison.name])
            diagnosis.measured |= comparison.measure(remembered[comparison.name])


def _worst_first(finding: Finding) -> tuple[Any, ...]:
    where = (-1 if finding.episode is None else finding.episode, finding.frames or (-1, -1))
    return (finding.severity != ERROR, finding.fault, *where, finding.key)
