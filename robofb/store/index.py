"""The list of committed episodes: one JSON file, the single truth about what a dataset holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from robofb.errors import UserError

INDEX_FILE = "index.json"


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
    """Read the committed episodes of a dataset folder."""
    path = root / INDEX_FILE
    try:
        entries = [EpisodeEntry(**values) for values in json.loads(path.read_bytes())["episodes"]]
        increasing = all(last < end for last, end in pairwise([0, *(entry.end for entry in entries)]))
        sound = all(isinstance(e.success, bool) and isinstance(e.meta, dict) for e in entries)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"dataset is damaged: cannot read {path} ({error})") from None
    if not sound:
        raise UserError(f"dataset is damaged: {path} holds a success or meta of another type")
    if not increasing:
        raise UserError(f"dataset is damaged: episode ends in {path} do not increase")
    return entries


def fingerprint(entries: Iterable[EpisodeEntry]) -> str:
    """Return the SHA-256, in hexadecimal, of the index that holds these episodes."""
    return hashlib.sha256(dump_index([entry.to_json() for entry in entries])).hexdigest()


def dump_index(lines: list[str]) -> bytes:
    """Return the index file that holds `lines`, each from `EpisodeEntry.to_json`."""
    return ('{"episodes": [\n' + ",\n".join(lines) + "\n]}\n").encode()
