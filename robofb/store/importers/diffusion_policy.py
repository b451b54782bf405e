"""Read the ReplayBuffer of diffusion_policy: zarr with data/<key> flat over time and meta/episode_ends."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robofb.errors import UserError
from robofb.normalize import is_image
from robofb.store.foreign import (
    FINAL_REPEATED,
    SUCCESS_ASSUMED,
    Source,
    Wishes,
    checked_ends,
    choose_action,
    control_rate,
    extended_times,
    keyed,
    known_spec,
    regular_times,
    remembered,
    row_spec,
    safe_key,
    to_rows,
    with_last_repeated,
)
from robofb.store.foreign_images import camera_key, image_spec, looks_like_image, to_image_rows
from robofb.store.foreign_zarr import LOSSY_CODECS, ForeignZarr, is_zarr_of, read_rows
from robofb.store.importers import robofb
from robofb.types import SOURCE_HUMAN, ArraySpec, EnvSpec, Episode

SUMMARY = "diffusion_policy's ReplayBuffer, a zarr folder or .zarr.zip"
ENDS = "meta/episode_ends"
NOT_OBSERVED = ("action", "timestamp", "reward", "source")  # arrays in data/ that are no observations
SPARSE = ("reward",)  # may be all zero, of which zarr writes no chunk


def looks_like(path: Path) -> bool:
    """Return whether a zarr folder or zip has episode ends in meta/ and actions in data/."""
    return not robofb.looks_like(path) and is_zarr_of(path, ENDS, "data/action")


def open_source(path: Path, wishes: Wishes, stack: ExitStack) -> Source:
    """Open a replay buffer."""
    foreign = ForeignZarr(path)
    root = foreign.open(stack)
    action = choose_action(path, _actions(foreign), wishes)
    arrays = {}
    for name in foreign.array_names("data"):
        arrays[name.removeprefix("data/")] = foreign.array(root, name, name.removeprefix("data/") in SPARSE)
    if ENDS not in foreign.array_names("meta"):
        raise UserError(f"{path} has no {ENDS}")
    rows = min(array.shape[0] for array in arrays.values())
    ends = checked_ends(foreign.array(root, ENDS)[:], rows, path)
    stored = root.attrs.get("robofb")
    notes: list[str] = []
    obs = _observations(arrays, stored, path, notes)
    finals = {
        key: foreign.array(root, f"final/{name}")
        for key, name in obs.items()
        if stored is not None and foreign.header(f"final/{name}") is not None
    }
    spec = _spec(path, arrays, action, obs, ends, stored, wishes)
    notes += foreign.notes + _notes(foreign, arrays, spec, obs, stored, finals)
    buffer = _Buffer(path, spec, arrays, f"{action}", obs, finals, ends, stored or {})
    return Source(spec, dict((stored or {}).get("meta", {})), notes, len(ends), buffer.read)


def _actions(foreign: ForeignZarr) -> list[str]:
    names = [name.removeprefix("data/") for name in foreign.array_names("data")]
    return [name for name in names if name == "action" or name.startswith(("action_", "action/"))]


def _observations(arrays: Mapping[str, Any], stored: Any, path: Path, notes: list[str]) -> dict[str, str]:
    """Return the array of each observation key."""
    known = known_spec(stored)
    names = {}
    for name, array in arrays.items():
        if name in NOT_OBSERVED or name.startswith(("action_", "action/")):
            continue
        if array.dtype.kind not in "fiub":
            notes.append(f"data/{name} ({array.dtype}) is not numeric and is left out")
        elif known is not None and name in known.obs:
            names[name] = name
        else:
            image = looks_like_image(array.shape[1:], array.dtype)
            names[name] = camera_key(name) if image else safe_key(name)
    return keyed(names, path)


def _spec(
    path: Path,
    arrays: Mapping[str, Any],
    action: str,
    obs: Mapping[str, str],
    ends: np.ndarray,
    stored: Any,
    wishes: Wishes,
) -> EnvSpec:
    known = known_spec(stored)
    declared = 1.0 / known.control_dt if known else None
    if declared is None and wishes.rate_hz is None and "timestamp" in arrays:
        period = np.median(np.diff(arrays["timestamp"][: int(ends[0])]))
        declared = 1.0 / float(period) if period > 0 else None
    spec = EnvSpec(
        task=wishes.task or (known.task if known else path.name.split(".")[0]),
        obs={key: _array_spec(arrays[name]) for key, name in obs.items()},
        action=row_spec(arrays[action].shape[1:], np.dtype("float32")),
        control_dt=1.0 / control_rate(path, declared, wishes),
        max_steps=int(np.diff(ends, prepend=0).max()),
    )
    return remembered(stored, spec)


def _array_spec(array: Any) -> ArraySpec:
    shape = tuple(array.shape[1:])
    if looks_like_image(shape, array.dtype):
        return image_spec(shape)
    wide = ArraySpec(shape or (1,), "float64")
    return wide if array.dtype == np.float64 and array.attrs.get("exact") else row_spec(shape, array.dtype)


def _notes(
    foreign: ForeignZarr,
    arrays: Mapping[str, Any],
    spec: EnvSpec,
    obs: Mapping[str, str],
    stored: Any,
    finals: Mapping[str, Any],
) -> list[str]:
    notes = []
    for key, name in obs.items():
        if is_image(spec.obs[key]) and arrays[name].dtype != np.uint8:
            notes.append(
                f"images '{name}' were {arrays[name].dtype} whole numbers and are uint8 now, exactly"
            )
        if is_image(spec.obs[key]) and (codecs := foreign.codecs(f"data/{name}") & set(LOSSY_CODECS)):
            notes.append(f"images '{name}' were stored with {', '.join(codecs)}, which may have lost detail")
        if arrays[name].dtype == np.float64 and spec.obs[key].dtype == "float32":
            notes.append(f"'{name}' was float64 and is rounded to float32")
    if set(finals) != set(obs):
        notes.append(FINAL_REPEATED)
    if stored is None:
        notes.append(SUCCESS_ASSUMED)
    if "timestamp" not in arrays:
        notes.append("the format holds no timestamps: step i is taken at i / rate")
    if "reward" not in arrays:
        notes.append("the format holds no rewards: they are 0")
    if (foreign.path / "videos").is_dir():
        notes.append("videos/ is left out: only arrays are read")
    return notes


@dataclass(frozen=True)
class _Buffer:
    """Read episodes by number."""

    path: Path
    spec: EnvSpec
    arrays: Mapping[str, Any]
    action: str
    obs: Mapping[str, str]
    finals: Mapping[str, Any]
    ends: np.ndarray
    stored: Mapping[str, Any]

    def read(self, number: int) -> Episode:
        """Return episode `number`."""
        stop = int(self.ends[number])
        start = int(self.ends[number - 1]) if number else 0

        def rows(name: str, first: int = start, last: int = stop) -> np.ndarray:
            return read_rows(self.arrays[name], first, last, self.path / "data" / name)

        told = self.stored.get("episodes", [])
        told = told[number] if number < len(told) else {}
        steps = stop - start
        zeros = np.zeros(steps)
        return Episode(
            obs={key: self._observation(key, rows(name), number) for key, name in self.obs.items()},
            action=to_rows(rows(self.action), self.spec.action),
            reward=(rows("reward") if "reward" in self.arrays else zeros).reshape(-1).astype(np.float32),
            terminated=bool(told.get("terminated", True)),
            success=bool(told.get("success", True)),
            timestamps=self._times(rows, steps, told),
            source=(rows("source") if "source" in self.arrays else zeros + SOURCE_HUMAN).astype(np.uint8),
            meta=dict(told.get("meta", {})),
        )

    def _observation(self, key: str, rows: np.ndarray, number: int) -> np.ndarray:
        spec, name = self.spec.obs[key], self.obs[key]
        if key in self.finals:
            where = self.path / "final" / name
            rows = np.concatenate([rows, read_rows(self.finals[key], number, number + 1, where)])
        else:
            rows = with_last_repeated(rows)
        return to_image_rows(rows, name) if is_image(spec) else to_rows(rows, spec)

    def _times(self, rows: Any, steps: int, told: Mapping[str, Any]) -> np.ndarray:
        rate = 1.0 / self.spec.control_dt
        if "timestamp" not in self.arrays:
            return regular_times(steps, rate)
        times = extended_times(rows("timestamp"), rate)
        times[-1] = told.get("final_time_s", times[-1])
        return times
