"""The list of committed episodes: one JSON file, the single truth about what a dataset holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robofb.errors import DamagedError, UserError

INDEX_FILE = "index.json"
MAX_ROWS = 2**53  # more than any disk holds
_TYPES = {"end": int, "success": bool, "terminated": bool, "meta": dict}


@dataclass(frozen=True)
class EpisodeEntry:
    """What the index says of one episode.

    Attributes:
        end: row after its last step in the flat arrays.
        success: whether the task was solved.
        terminated: whether it ended by success or failure, not by time.
        meta: JSON-ready facts about it.
    """

    end: int
    success: bool
    terminated: bool
    meta: dict[str, Any]

    def to_json(self) -> str:
        """Return one line of the index.

        Raises:
            UserError: `meta` holds what JSON does not.
        """
        try:
            return json.dumps(vars(self), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UserError(f"meta is not JSON-ready ({error})") from None

    def changed(self, values: Mapping[str, Any]) -> EpisodeEntry:
        """Return the entry with other values of success, terminated or meta, whose keys are merged.

        Raises:
            UserError: another key, or a value of another type.
        """
        types = {"success": bool, "terminated": bool, "meta": dict}
        for key, value in values.items():
            if key not in types:
                raise UserError(f"an episode's {key} cannot be changed; valid: {', '.join(types)}")
            if not isinstance(value, types[key]):
                raise UserError(f"{key}={value!r}: needs a {types[key].__name__}")
        meta = {**self.meta, **values.get("meta", {})}
        kept = {key: value for key, value in meta.items() if value is not None}
        return replace(self, **{**values, "meta": kept})


def load_index(root: Path) -> list[EpisodeEntry]:
    """Read the committed episodes of a dataset folder.

    Raises:
        DamagedError: names what is not sound, and of which episode.
    """
    path = root / INDEX_FILE
    try:
        stored = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except ValueError as error:
        raise DamagedError(f"cannot read {path} ({error})") from None
    if not isinstance(stored, dict) or not isinstance(stored.get("episodes"), list):
        raise DamagedError(f"cannot read {path} (it holds no list 'episodes')")
    entries: list[EpisodeEntry] = []
    for number, values in enumerate(stored["episodes"]):
        problem = _problem(values, entries[-1].end if entries else 0)
        if problem:
            raise DamagedError(f"cannot read {path} (episode {number}: {problem})")
        entries.append(EpisodeEntry(**values))
    return entries


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _problem(values: Any, start: int) -> str:
    """Return what is wrong with an entry of the index whose episode begins at row `start`, or ""."""
    if not isinstance(values, dict):
        return f"{values!r} is no object"
    for key, kind in _TYPES.items():
        if key not in values:
            return f"'{key}' is missing"
        if type(values[key]) is not kind:
            return f"'{key}' is {values[key]!r}"
    if unknown := sorted(set(values) - set(_TYPES)):
        return f"'{unknown[0]}' is unknown"
    if not start < values["end"] <= MAX_ROWS:
        return f"ends at row {values['end']}, but begins at row {start}"
    return ""


def fingerprint(entries: Iterable[EpisodeEntry]) -> str:
    """Return the SHA-256, in hexadecimal, of the index that holds these episodes."""
    return hashlib.sha256(dump_index([entry.to_json() for entry in entries])).hexdigest()


def dump_index(lines: list[str]) -> bytes:
    """Return the index file that holds `lines`, each from `EpisodeEntry.to_json`."""
    return ('{"episodes": [\n' + ",\n".join(lines) + "\n]}\n").encode()
