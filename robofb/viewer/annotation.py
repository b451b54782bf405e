"""The bottleneck marks that a person sets, before they are saved."""

from __future__ import annotations

from collections.abc import Iterable

from robofb.errors import UserError
from robofb.store.bottlenecks import BY_PERSON, Bottleneck

Marks = tuple[Bottleneck, ...]


class Annotation:
    """Marks of many episodes, with undo; `unsaved` tells what differs from the dataset."""

    def __init__(self) -> None:
        self._stored: dict[int, Marks] = {}
        self._marks: dict[int, Marks] = {}
        self._history: list[tuple[int, Marks]] = []

    def open(self, episode: int, stored: Iterable[Bottleneck]) -> None:
        """Begin with the marks that an episode has in the dataset; changes made before stay."""
        if episode not in self._stored:
            self._stored[episode] = self._marks[episode] = tuple(sorted(stored))

    def marks(self, episode: int) -> Marks:
        """Return an opened episode's marks, by step."""
        return self._marks[episode]

    def mark(self, episode: int, step: int, why: str) -> None:
        """Mark a step by a person, in place of what is marked there."""
        others = [mark for mark in self._marks[episode] if mark.step != step]
        self._change(episode, [*others, Bottleneck(step, BY_PERSON, why)])

    def remove(self, episode: int, step: int) -> None:
        """Take the marks of a step away.

        Raises:
            UserError: there is none.
        """
        others = [mark for mark in self._marks[episode] if mark.step != step]
        if len(others) == len(self._marks[episode]):
            raise UserError(f"step {step} is not marked")
        self._change(episode, others)

    def undo(self) -> int:
        """Take the last change back, saved or not, and return its episode.

        Raises:
            UserError: there is no change left.
        """
        if not self._history:
            raise UserError("nothing to undo")
        episode, before = self._history.pop()
        self._marks[episode] = before
        return episode

    @property
    def unsaved(self) -> dict[int, Marks]:
        """Marks of the episodes that differ from the dataset."""
        return {n: marks for n, marks in self._marks.items() if marks != self._stored[n]}

    def saved(self) -> None:
        """Take note that the dataset holds all marks now."""
        self._stored = dict(self._marks)

    def _change(self, episode: int, marks: Iterable[Bottleneck]) -> None:
        changed = tuple(sorted(marks))
        if changed != self._marks[episode]:
            self._history.append((episode, self._marks[episode]))
            self._marks[episode] = changed
