"""What the checks say, and what a check is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from robofb.store.doctor.recorded import Recorded
from robofb.types import EnvSpec

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Finding:
    """One fault at one place.

    Attributes:
        fault: its name, such as "frozen_image".
        severity: "error" where training on it teaches something false; "warning" where a person should look.
        episode: its number, or None where the dataset as a whole is concerned.
        frames: first and last observation or action concerned, or None for the whole episode.
        key: the array, "" where no single one is at fault.
        text: one sentence with the numbers.
    """

    fault: str
    severity: str
    episode: int | None
    frames: tuple[int, int] | None
    key: str
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {**asdict(self), "frames": None if self.frames is None else list(self.frames)}


def always_possible(spec: EnvSpec) -> str:
    """Return "": the check needs nothing but the arrays."""
    return ""


@dataclass(frozen=True)
class EpisodeCheck:
    """A check that looks at one episode at a time.

    Attributes:
        name: as in `--only`.
        run: returns the findings of one episode.
        obstacle: returns why a dataset's spec does not allow the check, or "".
    """

    name: str
    run: Callable[[Recorded], list[Finding]]
    obstacle: Callable[[EnvSpec], str] = always_possible


@dataclass(frozen=True)
class DatasetCheck:
    """A check that compares episodes.

    Attributes:
        name: as in `--only`.
        reduce: returns the little that must be remembered of one episode, or None.
        judge: returns the findings from what is remembered, by episode number.
        measure: returns figures of the whole dataset by name and unit.
        obstacle: returns why a dataset's spec does not allow the check, or "".
    """

    name: str
    reduce: Callable[[Recorded], Any]
    judge: Callable[[Mapping[int, Any]], list[Finding]]
    measure: Callable[[Mapping[int, Any]], dict[str, float]] = lambda reduced: {}
    obstacle: Callable[[EnvSpec], str] = always_possible


def runs(mask: Sequence[bool] | np.ndarray) -> list[tuple[int, int]]:
    """Return (first, last) of each unbroken run of True in `mask` (T,).

    [0, 1, 1, 0, 1] has the runs (1, 2) and (4, 4).
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(mask, np.int8), [0]])))
    return [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def robust_scale(values: np.ndarray, least: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the median and the deviation of `values` (N, ...) along the first axis.

    The deviation is 1.4826 times the median distance from the median, which is the standard deviation of
    a normal distribution, and at least `least`.
    """
    middle = np.median(values, axis=0)
    return middle, np.maximum(1.4826 * np.median(np.abs(values - middle), axis=0), least)
