"""Change what a dataset says of its episodes, in a copy or in place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from robofb.errors import UserError
from robofb.store.atomic import explain
from robofb.store.bottlenecks import BOTTLENECKS
from robofb.store.edit.numbers import format_numbers
from robofb.store.edit.plan import CAME_FROM, Plan, make_plan, whole
from robofb.store.episodes import EpisodeStore
from robofb.store.layout import rename_task
from robofb.types import SOURCE_NAMES

_NO_META = {
    CAME_FROM: "robofb keeps this key itself",
    BOTTLENECKS: "marks are set by robofb data annotate",
    "success": "this is no fact of the meta: use --success",
    "terminated": "this is no fact of the meta, and only the recording knows it",
}


@dataclass(frozen=True)
class Labels:
    """New facts about episodes; None and no meta change nothing.

    Attributes:
        success: whether they solved the task.
        source: name of who chose their actions, one of SOURCE_NAMES.
        meta: keys to set; None removes one.
        task: name of the task, of the whole dataset.

    Raises:
        UserError: nothing to change, or an unknown source, key or empty task.
    """

    success: bool | None = None
    source: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    task: str | None = None

    def __post_init__(self) -> None:
        if self.success is None and self.source is None and not self.meta and self.task is None:
            raise UserError("relabel needs --success, --source, --meta or --task")
        if self.source is not None and self.source not in SOURCE_NAMES:
            raise UserError(f"--source {self.source} is unknown; valid: {', '.join(SOURCE_NAMES)}")
        if self.task is not None and not self.task.strip():
            raise UserError("--task is empty")
        for key in self.meta:
            if key in _NO_META:
                raise UserError(f"--meta {key}: {_NO_META[key]}")

    def changes(self) -> dict[str, Any]:
        """Return what `EpisodeStore.update` takes for one episode."""
        success = {} if self.success is None else {"success": self.success}
        return {**success, **({"meta": dict(self.meta)} if self.meta else {})}

    def words(self) -> str:
        """Return the new facts for a person, without the task."""
        given = {"success": self.success, "source": self.source}
        facts = {name: value for name, value in given.items() if value is not None}
        return ", ".join(f"{name} {json.dumps(value)}" for name, value in {**facts, **self.meta}.items())


def parse_meta(words: Sequence[str]) -> dict[str, Any]:
    """Return the keys and values of words such as "operator=ann" or "score=3".

    A value is JSON where it can be read as such, else text, as NaN is; null or nothing removes the key.

    Raises:
        UserError: a word without "=" or key, a key given twice, or a value that begins as JSON does and
            is none.
    """
    meta: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--meta {word}: needs KEY=VALUE")
        if key in meta:
            raise UserError(f"--meta {key} is given twice")
        try:
            meta[key] = json.loads(text, parse_constant=_refuse_constant) if text else None
        except ValueError as error:
            if text.lstrip().startswith(("{", "[", '"')):
                raise UserError(f"--meta {word}: begins as JSON does and is none ({error})") from None
            meta[key] = text
    return meta


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def relabel(store: EpisodeStore, out: Path, labels: Labels, numbers: Sequence[int] | None = None) -> Plan:
    """Plan a copy with other labels.

    Args:
        store: dataset to read.
        out: folder of the copy.
        labels: what to change.
        numbers: episodes to change, or None for all.

    Raises:
        UserError: a task for some of the episodes only.
    """
    chosen = _chosen(store, labels, numbers)
    flag = None if labels.source is None else SOURCE_NAMES.index(labels.source)
    pieces = [whole(store, number) for number in range(len(store))]
    for number in chosen:
        pieces[number] = replace(pieces[number], changes=labels.changes(), source=flag)
    spec = store.spec if labels.task is None else replace(store.spec, task=labels.task)
    arguments = {"episodes": format_numbers(chosen), **asdict(labels)}
    return make_plan(out, pieces, [store], "relabel", arguments, notes(store, labels, numbers), spec)


def notes(store: EpisodeStore, labels: Labels, numbers: Sequence[int] | None = None) -> list[str]:
    """Return lines that say which labels change."""
    chosen = _chosen(store, labels, numbers)
    lines = [f"episodes {format_numbers(chosen)} of {store.path}: {labels.words()}"] if labels.words() else []
    if labels.task is not None:
        lines.append(f"task {store.spec.task} becomes {labels.task}")
    return lines


def relabel_in_place(
    path: Path, labels: Labels, numbers: Sequence[int] | None = None, dry_run: bool = False
) -> None:
    """Change the labels of a dataset itself: the task's name first, then all else in one step.

    Killed in between, the same call again changes the rest. A dry run only refuses what cannot be done.

    Raises:
        UserError: a source, which is stored step by step; see also `EpisodeStore.update`.
    """
    if labels.source is not None:
        raise UserError("--source is stored with every step and cannot change --in-place: give --out")
    with EpisodeStore.open(path, "r" if dry_run else "a") as store:
        chosen = _chosen(store, labels, numbers)
        for number in chosen:
            store.entries[number].changed(labels.changes()).to_json()  # refuse before the first change
        if dry_run:
            return
        if labels.task is not None:
            try:
                rename_task(path, labels.task)
            except OSError as error:
                raise UserError(explain(error, f"{path}: nothing is changed")) from None
        if labels.changes():
            store.update(dict.fromkeys(chosen, labels.changes()))


def _chosen(store: EpisodeStore, labels: Labels, numbers: Sequence[int] | None) -> Sequence[int]:
    if numbers is not None and labels.task is not None:
        raise UserError("--task names the whole dataset's task and takes no --episodes; try --meta text=...")
    return range(len(store)) if numbers is None else numbers
