"""Plans of new datasets, carried out episode by episode, so that a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from robofb.errors import UserError
from robofb.progress import progress_bar
from robofb.provenance import MADE_WITH
from robofb.store.atomic import explain
from robofb.store.continuation import finish, is_finished, open_or_create
from robofb.store.episodes import EpisodeStore
from robofb.store.index import INDEX_FILE, EpisodeEntry, fingerprint
from robofb.store.info import folder_bytes, format_bytes
from robofb.store.layout import ATTRIBUTES_FILE, EDITS, check_vacant
from robofb.types import EnvSpec, Episode

CAME_FROM = "came_from"  # key of an episode's meta: where each edit took it from, oldest first


@dataclass(frozen=True)
class Piece:
    """One episode of a new dataset: steps `start` .. `stop` - 1 of an episode of another.

    Attributes:
        store: that other dataset, open to read.
        episode: its number there.
        start: first action kept.
        stop: action after the last kept.
        changes: new facts, as `EpisodeStore.update` takes them.
        source: SOURCE_ flag that every action gets, or None to keep them.
    """

    store: EpisodeStore
    episode: int
    start: int
    stop: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    source: int | None = None

    def __len__(self) -> int:
        return self.stop - self.start

    def entry(self, verb: str, end: int) -> EpisodeEntry:
        """Return what the index of the new dataset says of it, where it ends before row `end`."""
        stored = self.store.entries[self.episode]
        came: dict[str, Any] = {"verb": verb, "dataset": str(self.store.path), "episode": self.episode}
        if len(self) < int(self.store.episode_lengths[self.episode]):
            came["steps"] = [self.start, self.stop]
        earlier = stored.meta.get(CAME_FROM, [])
        history = [*(earlier if isinstance(earlier, list) else [earlier]), came]
        changed = stored.changed(self.changes)
        return replace(changed, end=end, meta={**changed.meta, CAME_FROM: history})

    def cut(self, entry: EpisodeEntry) -> Episode:
        """Read its steps; `entry` holds the facts."""
        whole = self.store[self.episode]
        steps, observed = slice(self.start, self.stop), slice(self.start, self.stop + 1)
        source = whole.source[steps]
        return Episode(
            obs={key: rows[observed] for key, rows in whole.obs.items()},
            action=whole.action[steps],
            reward=whole.reward[steps],
            terminated=entry.terminated,
            success=entry.success,
            timestamps=whole.timestamps[observed],
            source=source if self.source is None else np.full_like(source, self.source),
            meta=entry.meta,
        )


def whole(store: EpisodeStore, episode: int) -> Piece:
    """Return the piece that is a whole episode, unchanged."""
    return Piece(store, episode, 0, int(store.episode_lengths[episode]))


@dataclass(frozen=True)
class Plan:
    """A dataset to be made.

    Attributes:
        out: its folder.
        spec: what it holds.
        stores: the datasets it is made from.
        pieces: its episodes, in order.
        verb: name of the edit.
        meta: its meta; the last of `EDITS` says which edit this is, and of what.
        notes: lines that tell a person what is done to which episodes.
    """

    out: Path
    spec: EnvSpec
    stores: tuple[EpisodeStore, ...]
    pieces: tuple[Piece, ...]
    verb: str
    meta: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def entries(self) -> list[EpisodeEntry]:
        """Return the index that the finished dataset has."""
        ends = np.cumsum([len(piece) for piece in self.pieces])
        return [piece.entry(self.verb, int(end)) for piece, end in zip(self.pieces, ends, strict=True)]


def make_plan(
    out: Path,
    pieces: Sequence[Piece],
    stores: Sequence[EpisodeStore],
    verb: str,
    arguments: Mapping[str, Any],
    notes: Sequence[str] = (),
    spec: EnvSpec | None = None,
) -> Plan:
    """Return a plan whose meta keeps everything that the datasets it is made from say.

    What they agree on stays where it was; the rest is listed by dataset in the last of `EDITS`.

    Args:
        out: folder of the new dataset.
        pieces: its episodes.
        stores: the datasets they come from, at least one.
        verb: name of the edit.
        arguments: JSON-ready, everything else that decides the result.
        notes: lines for a person.
        spec: what it holds, where that is not what the first of `stores` holds.
    """
    metas = [store.meta for store in stores]
    shared = {
        key: value
        for key, value in metas[0].items()
        if key != MADE_WITH and all(key in meta and meta[key] == value for meta in metas)
    }
    origins = [
        {
            "dataset": str(store.path),
            "index_sha256": fingerprint(store.entries),
            "meta": {key: value for key, value in store.meta.items() if key not in shared},
        }
        for store in stores
    ]
    edit = {"verb": verb, "arguments": dict(arguments), "episodes": len(pieces), "from": origins}
    meta = {**shared, EDITS: [*shared.get(EDITS, []), edit]}
    return Plan(out, spec or stores[0].spec, tuple(stores), tuple(pieces), verb, meta, tuple(notes))


def check(plan: Plan) -> int:
    """Return how many episodes of a plan are written already; changes nothing.

    Raises:
        UserError: its folder is one of the datasets it is made from, lies inside a dataset, holds another
            dataset or something else, or an episode's new facts are not sound.
    """
    entries = plan.entries()
    for entry in entries:
        entry.to_json()
    try:
        _check_apart(plan)
        if not (plan.out / INDEX_FILE).is_file():
            check_vacant(plan.out)
            return 0
    except OSError as error:
        raise UserError(explain(error, f"{plan.out}: cannot create dataset")) from None
    with EpisodeStore.open(plan.out, unfinished=True) as there:
        same_edit = {**there.meta, MADE_WITH: None} == {**plan.meta, MADE_WITH: None}
        if not same_edit or there.spec != plan.spec or there.entries != tuple(entries[: len(there)]):
            raise UserError(
                f"{plan.out} already holds another dataset than this {plan.verb} makes: choose another folder"
            )
        return len(there)


def _check_apart(plan: Plan) -> None:
    out = plan.out.resolve()
    if any(out == store.path.resolve() for store in plan.stores):
        raise UserError(f"{plan.out} is the dataset to read from: choose another folder to write to")
    for parent in out.parents:
        if (parent / INDEX_FILE).is_file() and (parent / ATTRIBUTES_FILE).is_file():
            raise UserError(f"{plan.out} lies inside the dataset {parent}: choose another folder to write to")


def write(plan: Plan) -> int:
    """Make a plan's dataset, or go on with it, and return how many episodes were written now.

    Holds one episode in memory at a time. Killed at any moment, it leaves a dataset of the first episodes
    that is marked as unfinished, so that nobody takes it for the whole, or a folder that counts as vacant;
    called again it ends with the very same dataset.

    Raises:
        UserError: see `check`; or the disk is full, and then what is written stays.
    """
    begun = check(plan)
    if begun == len(plan.pieces) and is_finished(plan.out):
        return 0
    entries = plan.entries()
    mark = {"verb": plan.verb, "episodes": len(entries)}
    with (
        open_or_create(plan.out, plan.spec, plan.meta, unfinished=mark) as store,
        progress_bar(len(entries), f"writing {plan.out}", "episode", done=begun, delay_s=2.0) as bar,
    ):
        for piece, entry in list(zip(plan.pieces, entries, strict=True))[begun:]:
            _append(store, piece, entry)
            bar.update()
        finish(store)
    return len(entries) - begun


def _append(store: EpisodeStore, piece: Piece, entry: EpisodeEntry) -> None:
    """Append a piece; where it is refused, say where it comes from."""
    episode = piece.cut(entry)
    try:
        store.append(episode)
    except UserError as error:
        if error.__cause__ is not None:  # the disk's fault, not the episode's
            raise
        raise UserError(f"{error} (episode {piece.episode} of {piece.store.path})") from None


def describe(plan: Plan) -> list[str]:
    """Return lines that say what a plan makes; the size is reckoned from the share of the steps it keeps."""
    begun = check(plan)
    per_step = _bytes_per_step(plan)
    size = sum(len(piece) * per_step[piece.store.path] for piece in plan.pieces)
    steps = sum(map(len, plan.pieces))
    line = f"{plan.out}: {len(plan.pieces)} episodes, {steps} steps, about {format_bytes(int(size))}"
    if begun:
        line += f"; {'all' if begun == len(plan.pieces) else begun} of them are there already"
    return [line, *(f"  {note}" for note in plan.notes)]


def _bytes_per_step(plan: Plan) -> dict[Path, float]:
    """Return the size on disk of a step of each dataset that a plan reads."""
    steps = {store.path: int(store.episode_lengths.sum()) for store in plan.stores}
    return {path: folder_bytes(path) / max(count, 1) for path, count in steps.items()}
