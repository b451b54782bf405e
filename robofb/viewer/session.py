"""What a viewer shows of a dataset and does to it, apart from any page."""

from __future__ import annotations

import numpy as np

from robofb.errors import UserError
from robofb.store.bottlenecks import Bottleneck, bottlenecks_meta, load_bottlenecks
from robofb.store.episodes import EpisodeStore
from robofb.types import SOURCE_NAMES, Episode
from robofb.viewer.annotation import Annotation
from robofb.viewer.player import Player


class Session:
    """One dataset in a viewer; only the episode shown is in memory.

    Args:
        store: the dataset, open for append where `can_mark`.
        number: episode to show first.
        can_mark: whether marks may be changed.

    Attributes:
        number: of the episode shown.
        episode: the episode shown.
        player: where in it.

    Raises:
        UserError: the dataset has no such episode, or it is damaged.
    """

    def __init__(self, store: EpisodeStore, number: int = 0, can_mark: bool = False) -> None:
        if not len(store):
            raise UserError(f"{store.path} holds no episodes to show")
        self.store, self.can_mark = store, can_mark
        self._annotation, self._speed = Annotation(), 1.0
        self.number: int
        self.episode: Episode
        self.player: Player
        self.go_to(number)

    def go_to(self, number: int) -> None:
        """Show an episode from its start; where it cannot be read, stay.

        Raises:
            UserError: there is no such episode, or it is damaged.
        """
        if not 0 <= number < len(self.store):
            raise UserError(f"{self.store.path} has no episode {number}; valid: 0..{len(self.store) - 1}")
        episode = self.store[number]
        try:
            _check_shown(episode)
            stored = load_bottlenecks(episode.meta, len(episode))
        except UserError as error:
            raise UserError(f"{self.store.path}: episode {number}: {error}") from None
        self._annotation.open(number, stored)
        self.number, self.episode, self.player = number, episode, Player(episode.timestamps, self._speed)

    def set_speed(self, speed: float) -> None:
        """Play this episode and those after it at a speed [episode s/s]."""
        self._speed = self.player.speed = speed

    @property
    def marks(self) -> tuple[Bottleneck, ...]:
        """Bottlenecks of the episode shown, by step."""
        return self._annotation.marks(self.number)

    @property
    def unsaved(self) -> list[int]:
        """Numbers of the episodes whose marks are not saved."""
        return sorted(self._annotation.unsaved)

    def jump(self, direction: int) -> None:
        """Pause at the next bottleneck after the present step (1), or the last before it (-1).

        Raises:
            UserError: there is none.
        """
        ahead = [m.step for m in self.marks if (m.step - self.player.step) * direction > 0]
        if not ahead:
            raise UserError(f"no bottleneck {'after' if direction > 0 else 'before'} step {self.player.step}")
        self.player.playing = False
        self.player.seek(min(ahead) if direction > 0 else max(ahead))

    def mark(self, why: str) -> None:
        """Mark the present step as a bottleneck, for a reason in a few words.

        Raises:
            UserError: there is no reason.
        """
        self._check_can_mark()
        if not why.strip():
            raise UserError("say in a few words why this step is a bottleneck")
        self._annotation.mark(self.number, self.player.step, why.strip())

    def remove(self) -> None:
        """Take the mark of the present step away."""
        self._check_can_mark()
        self._annotation.remove(self.number, self.player.step)

    def undo(self) -> None:
        """Take the last change of marks back, and show its episode."""
        self._check_can_mark()
        changed = self._annotation.undo()
        if changed != self.number:
            self.go_to(changed)

    def save(self) -> int:
        """Write all changed marks into the dataset, in one step; return how many episodes changed.

        Raises:
            UserError: it cannot be written; the marks stay unsaved.
        """
        changes = self._annotation.unsaved
        if changes:
            self.store.update({n: {"meta": bottlenecks_meta(marks)} for n, marks in changes.items()})
            self._annotation.saved()
        return len(changes)

    def _check_can_mark(self) -> None:
        if not self.can_mark:
            raise UserError("opened to look at only: start with --annotate to mark")


def _check_shown(episode: Episode) -> None:
    """Refuse what another tool may have written and no player can show."""
    if (episode.source >= len(SOURCE_NAMES)).any():
        raise UserError(f"source {episode.source.max()} is unknown; valid: 0..{len(SOURCE_NAMES) - 1}")
    if not (np.diff(episode.timestamps) >= 0).all():
        raise UserError("timestamps decrease or are not finite")
