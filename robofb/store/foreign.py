"""What importers hand over and exporters take: a dataset of any format, read one episode at a time."""

from __future__ import annotations

import contextlib
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np

from robofb.errors import UserError
from robofb.types import ArraySpec, EnvSpec, Episode

FACTS_VERSION = 1
RESERVED_KEYS = ("action", "reward", "source", "timestamp")
FINAL_REPEATED = "the format has no observation after the last action: the last observation is repeated"
SUCCESS_ASSUMED = "the format does not say which episodes succeeded: all are taken as successes"


@dataclass(frozen=True)
class Wishes:
    """What the user says about a conversion.

    Attributes:
        task: name of the task, or None for what the source says.
        rate_hz: control rate [Hz], or None for what the source says.
        action: which of the source's actions to take, or None for its usual one.
        video: store images as lossy video where the target can.
    """

    task: str | None = None
    rate_hz: float | None = None
    action: str | None = None
    video: bool = False

    def __post_init__(self) -> None:
        if self.rate_hz is not None and not 0.0 < self.rate_hz < math.inf:
            raise UserError(f"rate={self.rate_hz}: needs a positive number of Hz")


@dataclass(frozen=True)
class Source:
    """A dataset in any format.

    Attributes:
        spec: what every episode fits.
        meta: JSON-ready facts that hold for all episodes.
        notes: what was changed, assumed or left out, one sentence each.
        num_episodes: how many `read` knows.
        read: returns episode `number`; meant to be called in ascending order.
        beside: files that belong to the dataset, though they do not lie below its path.
    """

    spec: EnvSpec
    meta: Mapping[str, Any]
    notes: Sequence[str]
    num_episodes: int
    read: Callable[[int], Episode]
    beside: Sequence[Path] = ()

    def episodes(self, begin: int = 0) -> Iterator[Episode]:
        """Read one episode after another, from number `begin` on."""
        return (self.read(number) for number in range(begin, self.num_episodes))


class Importer(Protocol):
    """What a module of `robofb.store.importers` has."""

    SUMMARY: str

    def looks_like(self, path: Path) -> bool:
        """Return whether a path holds this format, from names and first bytes only."""
        ...

    def open_source(self, path: Path, wishes: Wishes, stack: ExitStack) -> Source:
        """Open a dataset; what must be closed is entered into `stack`.

        Raises:
            UserError: damaged, of another version, or in need of a wish.
        """
        ...


class Exporter(Protocol):
    """What a module of `robofb.store.exporters` has."""

    SUMMARY: str
    TAKES_VIDEO: bool
    GOES_ON: bool  # whether what a killed `write` left is a dataset of ours, which it can go on with

    def write(self, source: Source, episodes: Iterator[Episode], out: Path, wishes: Wishes) -> None:
        """Write all episodes to `out`, which does not exist yet, or holds those before them."""
        ...


@contextlib.contextmanager
def reading(what: object) -> Iterator[None]:
    """Turn whatever a reader raises on damaged or foreign content into one line for the user."""
    try:
        yield
    except (
        OSError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        EOFError,
        RuntimeError,
        MemoryError,
        BadZipFile,
        zlib.error,
    ) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if isinstance(error, TypeError | AttributeError):  # Python's words tell a user nothing
            reason = "it is not laid out as its format says"
        elif isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
            reason = (
                f"'{error.args[0][:100]}' is missing" if " " not in error.args[0] else error.args[0][:200]
            )
        raise UserError(f"cannot read {what}: {reason}") from error


def extra_missing(package: str) -> UserError:
    """Return the error that names the extra which brings `package`."""
    return UserError(f"{package} is not installed: pip install 'robofb[formats]'")


def control_rate(path: Path, declared: float | None, wishes: Wishes) -> float:
    """Return the control rate [Hz]: the user's word, else the format's.

    Raises:
        UserError: nobody says it.
    """
    rate = wishes.rate_hz or declared
    if rate is None:
        raise UserError(f"{path} does not say at what rate it was recorded: give --rate HZ")
    if not 0.0 < rate < math.inf:
        raise UserError(f"{path} declares a rate of {rate} Hz: give --rate HZ")
    return float(rate)


def choose_action(path: Path, available: Sequence[str], wishes: Wishes) -> str:
    """Return the action array to import: the wished one, else the first of `available`."""
    if not available:
        raise UserError(f"{path} holds no actions")
    if wishes.action is None:
        return available[0]
    if wishes.action not in available:
        raise UserError(f"{path} has no action '{wishes.action}'; it has: {', '.join(available)}")
    return wishes.action


def safe_key(name: str) -> str:
    """Return an observation key for a foreign name: letters, digits, '_', '-', '.', none reserved."""
    key = re.sub(r"[^\w.-]", "_", name).lstrip(".-") or "_"
    return f"{key}_obs" if key in RESERVED_KEYS else key


def row_spec(shape: tuple[int, ...], dtype: np.dtype, names: Sequence[str] = ()) -> ArraySpec:
    """Return the spec of low-dimensional rows: all floats become float32, scalars (1,)."""
    shape = tuple(int(size) for size in shape) or (1,)
    kind = "float32" if dtype.kind == "f" else dtype.name
    return ArraySpec(shape, kind, names=tuple(names) if len(names) == math.prod(shape) else ())


def to_rows(rows: np.ndarray, spec: ArraySpec) -> np.ndarray:
    """Return rows (T, ...) in the shape and type of a spec."""
    with np.errstate(over="ignore"):  # what overflows is refused as infinite when it is stored
        return np.ascontiguousarray(rows).reshape(len(rows), *spec.shape).astype(spec.dtype)


def with_last_repeated(rows: np.ndarray) -> np.ndarray:
    """Return (T + 1, ...) rows of which the last two are equal."""
    return np.concatenate([rows, rows[-1:]])


def extended_times(times: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return (T + 1,) float64: recorded times and one period after the last [s]."""
    times = np.asarray(times, np.float64).reshape(-1)
    return np.append(times, times[-1] + 1.0 / rate_hz)


def regular_times(num_steps: int, rate_hz: float) -> np.ndarray:
    """Return (T + 1,) float64: times at a constant rate, from 0 [s]."""
    return np.arange(num_steps + 1) / rate_hz


def checked_ends(ends: np.ndarray, rows: int, path: Path) -> np.ndarray:
    """Return episode ends as int64 (an unsigned type would wrap in differences).

    Raises:
        UserError: no episodes, ends that do not increase, or ends beyond the `rows` there are.
    """
    if len(ends) == 0:
        raise UserError(f"{path} holds no episodes")
    ends = np.asarray(ends).astype(np.int64).reshape(-1)
    if (np.diff(ends, prepend=0) <= 0).any():
        raise UserError(f"{path}: episode ends do not increase")
    if ends[-1] > rows:
        raise UserError(f"{path} is cut off: its episodes end at row {ends[-1]}, but it has {rows} rows")
    return ends


def keyed(names: Mapping[str, str], path: Path) -> dict[str, str]:
    """Return foreign names by observation key from keys by foreign name.

    Raises:
        UserError: two names want the same key, or there are none.
    """
    result: dict[str, str] = {}
    for name, key in names.items():
        if key in result:
            raise UserError(f"{path}: '{result[key]}' and '{name}' both become observation '{key}'")
        result[key] = name
    if not result:
        raise UserError(f"{path} holds no numeric observations")
    return result


def facts(source: Source) -> dict[str, Any]:
    """Return what a foreign format has no place for, for `remembered` to read back."""
    return {
        "robofb_facts": FACTS_VERSION,
        "spec": source.spec.to_dict(),
        "meta": dict(source.meta),
    }


def episode_facts(episode: Episode) -> dict[str, Any]:
    """Return an episode's part of the facts, JSON-ready."""
    return {
        "success": bool(episode.success),
        "terminated": bool(episode.terminated),
        "final_time_s": float(episode.timestamps[-1]),
        "meta": dict(episode.meta),
    }


def remembered(stored: Any, spec: EnvSpec) -> EnvSpec:
    """Return `spec` with names, units, bounds and stages from `facts` where they still fit the data."""
    known = known_spec(stored)
    if known is None:
        return spec

    def better(found: ArraySpec, old: ArraySpec | None) -> ArraySpec:
        same = old is not None and (old.shape, old.dtype) == (found.shape, found.dtype)
        return old if same and old is not None else found

    obs = {key: better(array, known.obs.get(key)) for key, array in spec.obs.items()}
    steps = max(known.max_steps, spec.max_steps)
    return replace(
        spec, obs=obs, action=better(spec.action, known.action), max_steps=steps, stages=known.stages
    )


def known_spec(stored: Any) -> EnvSpec | None:
    """Return the spec inside `facts`, or None where there is none that can be read."""
    if not isinstance(stored, dict) or stored.get("robofb_facts") != FACTS_VERSION:
        return None
    try:
        return EnvSpec.from_dict(stored["spec"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
