"""Datasets of episodes on disk: append is crash-safe, every committed episode reads back exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np

from robofb.errors import DamagedError, UserError
from robofb.normalize import element_stats, low_dim_specs
from robofb.progress import progress_bar
from robofb.provenance import MADE_WITH, made_with
from robofb.store.atomic import clear_staging, explain, replace_file
from robofb.store.checks import check_finite, check_same_spec
from robofb.store.commit import commit, entries_of, truncate
from robofb.store.flat_array import FlatArray
from robofb.store.index import INDEX_FILE, EpisodeEntry, dump_index, load_index
from robofb.store.layout import (
    ENDS,
    array_specs,
    check_dataset,
    check_finished,
    create_layout,
    finish_creation,
    load_attributes,
    stored_spec,
)
from robofb.store.lock import WriterLock
from robofb.types import EnvSpec, Episode

Root: TypeAlias = str | Path
Facts: TypeAlias = Mapping[str, Any] | None
_PURPOSE = {"r": "read", "a": "append"}


class EpisodeStore:
    """One dataset folder. Make it with `create` or `open`; use it as a context manager.

    data/README.md gives the schema and why a crash at any moment loses only the open episode.
    """

    def __init__(self, root: Path, lock: WriterLock | None) -> None:
        self.path = root
        self._lock = lock
        self._attributes = load_attributes(root)
        self.spec = stored_spec(root, self._attributes)
        self.meta: dict[str, Any] = self._attributes["meta"]
        self._load_index()
        self._arrays = {name: FlatArray(root / name, array) for name, array in array_specs(self.spec).items()}
        for name, array in self._arrays.items():
            if len(array) < self._committed_rows(name) and name != ENDS:
                raise DamagedError(
                    f"{root / name} has {len(array)} rows, {INDEX_FILE} counts {self._committed_rows(name)}"
                )

    @classmethod
    def create(cls, path: Root, spec: EnvSpec, meta: Facts = None, unfinished: Facts = None) -> Self:
        """Make an empty dataset and open it for append.

        Args:
            path: folder that does not exist or is empty.
            spec: what every episode must fit.
            meta: JSON-ready facts that hold for all episodes (robot, frames, ...); "made_with" is filled in.
            unfinished: "verb" and "episodes" of the edit that makes it, see `continuation.finish`.

        Raises:
            UserError: the folder holds something, or cannot be written.
        """
        root = Path(path)
        try:
            create_layout(root, spec, {**(meta or {}), MADE_WITH: made_with()}, unfinished)
        except OSError as error:
            raise UserError(explain(error, f"{root}: cannot create dataset")) from error
        return cls.open(root, "a", unfinished=unfinished is not None)

    @classmethod
    def open(cls, path: Root, mode: str = "r", spec: EnvSpec | None = None, unfinished: bool = False) -> Self:
        """Open a dataset.

        Args:
            path: its folder.
            mode: "r" to read, "a" to append too, which first removes what an interrupted writer left.
            spec: when given, the dataset must agree with it; a reader bears further observations.
            unfinished: an edit need not have finished it.

        Raises:
            UserError: no dataset there, or one that is unfinished, damaged, of another schema version or
                spec; or (mode "a") another writer, or a read-only folder.
        """
        root = Path(path)
        if mode not in _PURPOSE:
            raise UserError(f"dataset mode '{mode}' is unknown; valid: {', '.join(_PURPOSE)}")
        check_dataset(root)
        with ExitStack() as undo:
            try:
                lock = WriterLock(root) if mode == "a" else None
                if lock is not None:
                    undo.callback(lock.release)
                store = cls(root, lock)
                if not unfinished:
                    check_finished(root, store._attributes, len(store))
                if spec is not None:
                    held = store.spec if mode == "a" else store.spec.only(spec.obs)
                    check_same_spec(held, spec, str(root))
                if mode == "a":
                    store._repair()
            except OSError as error:
                raise UserError(explain(error, f"{root}: cannot open dataset to {_PURPOSE[mode]}")) from None
            undo.pop_all()
            return store

    def close(self) -> None:
        """Release the writer's lock; safe twice."""
        if self._lock is not None and self._lock.held:
            clear_staging(self.path)
            self._lock.release()

    def __enter__(self) -> EpisodeStore:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Episode]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Episode:
        """Read one episode; negative indices count from the end."""
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"episode {index} of {len(self)}")
        entry = self._entries[number]
        return Episode(
            obs={key: self.observations(key, number) for key in self.spec.obs},
            action=self._steps("action", number),
            reward=self._steps("reward", number),
            terminated=entry.terminated,
            success=entry.success,
            timestamps=self.observations("timestamp", number),
            source=self._steps("source", number),
            meta=entry.meta,
        )

    def observations(self, key: str, number: int) -> np.ndarray:
        """Read (T + 1, ...) of one observation, or "timestamp", of episode `number`."""
        final = self._arrays[f"final/{key}"].read(number, number + 1)
        return np.concatenate([self._steps(key, number), final])

    def _steps(self, key: str, number: int) -> np.ndarray:
        start = self._entries[number - 1].end if number else 0
        return self._arrays[f"data/{key}"].read(start, self._entries[number].end)

    @property
    def entries(self) -> tuple[EpisodeEntry, ...]:
        """What the index says of each episode."""
        return tuple(self._entries)

    @property
    def episode_ends(self) -> np.ndarray:
        """(N,) int64, row after the last step of each episode."""
        return np.array([entry.end for entry in self._entries], np.int64)

    @property
    def episode_lengths(self) -> np.ndarray:
        """(N,) int64, actions in each episode."""
        return np.diff(self.episode_ends, prepend=0)

    @property
    def successes(self) -> np.ndarray:
        """(N,) bool, whether each episode solved the task."""
        return np.array([entry.success for entry in self._entries], bool)

    def read(self, key: str, episodes: Sequence[int] | None = None) -> np.ndarray:
        """Read the steps of many episodes into one array (rows, ...), each chunk once.

        Args:
            key: an observation, or "action", "reward", "timestamp", "source".
            episodes: ascending episode numbers, or None for all.
        """
        name = f"data/{key}"
        if name not in self._arrays:
            known = [known.partition("/")[2] for known in self._arrays if known.startswith("data/")]
            raise UserError(f"{self.path} has no array '{key}'; it has: {', '.join(known)}")
        array, lengths = self._arrays[name], self.episode_lengths
        chosen = np.arange(len(self)) if episodes is None else np.asarray(episodes, np.int64)
        rows = np.empty((int(lengths[chosen].sum()), *array.row_shape), array.dtype)
        filled = 0
        with progress_bar(len(rows), f"reading {key}", "step", delay_s=2.0) as bar:
            for end, length in zip(self.episode_ends[chosen], lengths[chosen], strict=True):
                rows[filled : filled + length] = array.read(int(end - length), int(end))
                filled += int(length)
                bar.update(int(length))
        return rows

    def read_finite(self, key: str, episodes: Sequence[int] | None = None) -> np.ndarray:
        """Do what `read` does, and refuse NaN: what a foreign tool wrote may hold some.

        Raises:
            UserError: names the episode and step.
        """
        rows = self.read(key, episodes)
        numbers = range(len(self)) if episodes is None else episodes
        check_finite(key, rows, self.episode_lengths[list(numbers)], numbers, str(self.path))
        return rows

    def finals(self, key: str) -> np.ndarray:
        """Return (N, ...) of an observation, or "timestamp" [s], after each episode's last step."""
        return self._arrays[f"final/{key}"].read(0, len(self))

    def stats(self, episodes: Sequence[int] | None = None) -> dict[str, dict[str, np.ndarray]]:
        """Return "min", "max", "mean", "std" (float32) of every low-dimensional observation and the action.

        Taken element by element over the steps at which an action was chosen.

        Args:
            episodes: ascending episode numbers to count, or None for all.
        """
        if not len(self) or (episodes is not None and not len(episodes)):
            raise UserError(f"{self.path} holds no episodes to take statistics of")
        return {key: element_stats(self.read_finite(key, episodes)) for key in low_dim_specs(self.spec)}

    def append(self, episode: Episode) -> int:
        """Write one episode durably and return its number.

        What `extend` does with one.
        """
        return self.extend([episode])

    def extend(self, episodes: Sequence[Episode]) -> int:
        """Write episodes durably in one step, all of them or none, and return the first one's number.

        Nothing on disk is replaced before all is written; they count once the index is replaced.

        Raises:
            UserError: the store is not open for append, an episode does not fit or holds NaN, or the disk is
                full. Committed episodes stay as they are.
        """
        if self._lock is None or not self._lock.held:
            raise UserError(f"{self.path} is not open for append")
        number = len(self)
        end = self._committed_rows("data/action")
        entries = entries_of(episodes, self.spec, number, end, str(self.path))
        if not entries:
            return number
        lines = [*self._lines, *(entry.to_json() for entry in entries)]
        try:
            commit(self.path, self._arrays, episodes, entries, lines)
            self._entries += entries
            self._lines += lines[number:]
        except OSError as error:
            what = f"{self.path}: episode {number} is not saved (those before it are)"
            raise UserError(explain(error, what)) from error
        finally:
            if len(self) == number:
                clear_staging(self.path)  # a full disk needs the room
                self._load_index()  # Ctrl-C may have struck just after the commit
        return number

    def update(self, changes: Mapping[int, Mapping[str, Any]]) -> None:
        """Change what the index says of some episodes, all in one step; their steps stay as they are.

        Args:
            changes: by episode number, new values of "success", "terminated" and "meta"; meta's keys are
                merged into those there, None removes one.

        Raises:
            UserError: the store is not open for append, no such episode, another key or type, or the
                disk is full. Nothing is changed then.
        """
        if self._lock is None or not self._lock.held:
            raise UserError(f"{self.path} is not open for append")
        lines = list(self._lines)
        for number, values in changes.items():
            if not 0 <= number < len(self):
                raise UserError(f"{self.path} has no episode {number}; valid: 0..{len(self) - 1}")
            lines[number] = self._entries[number].changed(values).to_json()
        try:
            replace_file(self.path / INDEX_FILE, dump_index(lines))
        except OSError as error:
            raise UserError(explain(error, f"{self.path}: nothing is changed")) from None
        finally:
            self._load_index()

    def _load_index(self) -> None:
        self._entries: list[EpisodeEntry] = load_index(self.path)
        self._lines: list[str] = [entry.to_json() for entry in self._entries]

    def _committed_rows(self, name: str) -> int:
        if name.startswith("data/"):
            return self._entries[-1].end if self._entries else 0
        return len(self._entries)

    def _repair(self) -> None:
        """Remove rows and files of an append that was never committed; rebuild the copy of the ends."""
        finish_creation(self.path)
        clear_staging(self.path)
        rows = {name: self._committed_rows(name) for name in self._arrays}
        truncate(self.path, self._arrays, rows, self.episode_ends)
