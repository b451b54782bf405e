"""Read robomimic's HDF5: data/demo_<i> with obs/, actions and more."""

from __future__ import annotations

import json
import re
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
    Source,
    Wishes,
    choose_action,
    control_rate,
    extended_times,
    extra_missing,
    keyed,
    known_spec,
    reading,
    regular_times,
    remembered,
    row_spec,
    safe_key,
    to_rows,
    with_last_repeated,
)
from robofb.store.foreign_images import camera_key, image_spec, looks_like_image, to_image_rows
from robofb.types import SOURCE_HUMAN, ArraySpec, EnvSpec, Episode

SUMMARY = "robomimic's HDF5"
MAGIC = b"\x89HDF\r\n\x1a\n"
SIMULATOR_STATES = "states"


def looks_like(path: Path) -> bool:
    """Return whether a file starts as HDF5 does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def open_source(path: Path, wishes: Wishes, stack: ExitStack) -> Source:
    """Open an HDF5 file of demonstrations."""
    try:
        import h5py
    except ImportError:
        raise extra_missing("h5py") from None
    with reading(path):
        file = stack.enter_context(h5py.File(path, "r"))
        _check_links(file, path)
        if "data" not in file:
            raise UserError(f"{path} is no robomimic file: it has no group 'data'")
        demos = sorted((name for name in file["data"] if re.fullmatch(r"demo_\d+", name)), key=_number)
        if not demos:
            raise UserError(f"{path} holds no episodes: 'data' has no 'demo_<number>'")
        env_args = json.loads(file["data"].attrs.get("env_args", "{}"))
        stored = json.loads(file["data"].attrs.get("robofb", "{}"))
        lengths = [_length(file["data"][name], path) for name in demos]
        first = file["data"][demos[0]]
        action = choose_action(path, _actions(first), wishes)
        obs = _observations(first, known_spec(stored), path)
        spec = _spec(path, first, action, obs, max(lengths), env_args, stored, wishes)
        reader = _Demos(path, file, spec, demos, action, obs, _filters(file), stored)
        meta = dict(stored.get("meta", {})) or {"env_args": env_args}
        return Source(spec, meta, _notes(first, spec, obs, action, stored), len(demos), reader.read)


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])


def _check_links(file: Any, path: Path) -> None:
    """Raise UserError where a name in the file leads out of it, to any other file of this user."""
    import h5py

    pending = [file]
    while pending:
        group = pending.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise UserError(f"{path}: '{group.name}/{name}' is a link, which is not followed")
            inner = group[name]
            if isinstance(inner, h5py.Group):
                pending.append(inner)
            elif inner.external or inner.is_virtual:
                raise UserError(f"{path}: '{inner.name}' lies in another file, which is not read")


def _length(demo: Any, path: Path) -> int:
    if not hasattr(demo.get("actions"), "dtype"):
        raise UserError(f"{path}: {demo.name} holds no array 'actions'")
    steps = len(demo["actions"])
    said = int(demo.attrs.get("num_samples", steps))
    if said != steps:
        raise UserError(f"{path}: {demo.name} says num_samples {said} but has {steps} actions")
    return steps


def _actions(demo: Any) -> list[str]:
    names = [name for name in ("actions", "actions_abs") if name in demo]
    return names + [f"action_dict/{name}" for name in demo.get("action_dict", ())]


def _observations(demo: Any, known: EnvSpec | None, path: Path) -> dict[str, str]:
    """Return the dataset, relative to a demo, of each observation key."""
    names = {}
    for name in demo.get("obs", ()):
        data = demo["obs"][name]
        if not hasattr(data, "dtype"):
            raise UserError(f"{path}: '{data.name}' is a group, not an observation")
        if data.dtype.kind in "fiub":
            image = looks_like_image(data.shape[1:], data.dtype)
            own = known is not None and name in known.obs
            names[f"obs/{name}"] = name if own else camera_key(name) if image else safe_key(name)
    if SIMULATOR_STATES in demo and demo[SIMULATOR_STATES].dtype.kind == "f":
        own = known is not None and "sim_state" in known.obs
        names[SIMULATOR_STATES] = "sim_state" if own else "simulator_states"
    return keyed(names, path)


def _spec(
    path: Path,
    demo: Any,
    action: str,
    obs: Mapping[str, str],
    longest: int,
    env_args: Mapping[str, Any],
    stored: Any,
    wishes: Wishes,
) -> EnvSpec:
    known = known_spec(stored)
    rate = env_args.get("env_kwargs", {}).get("control_freq")
    spec = EnvSpec(
        task=wishes.task or (known.task if known else env_args.get("env_name", path.stem)),
        obs={key: _array_spec(demo[name], key) for key, name in obs.items()},
        action=row_spec(demo[action].shape[1:], np.dtype("float32")),
        control_dt=1.0 / control_rate(path, float(rate) if rate else None, wishes),
        max_steps=longest,
    )
    if known is not None and wishes.rate_hz is None:
        spec = EnvSpec(spec.task, spec.obs, spec.action, known.control_dt, spec.max_steps)
    return remembered(stored, spec)


def _array_spec(data: Any, key: str) -> ArraySpec:
    shape = tuple(data.shape[1:])
    if looks_like_image(shape, data.dtype):
        return image_spec(shape)
    if key in ("sim_state", "simulator_states") or data.attrs.get("exact"):
        return ArraySpec(shape or (1,), data.dtype.name)
    return row_spec(shape, data.dtype)


def _filters(file: Any) -> dict[str, list[str]]:
    """Return the names of the filters that hold each demo."""
    found: dict[str, list[str]] = {}
    for name in file.get("mask", ()):
        for demo in file["mask"][name][:]:
            found.setdefault(demo.decode() if isinstance(demo, bytes) else str(demo), []).append(name)
    return found


def _notes(demo: Any, spec: EnvSpec, obs: Mapping[str, str], action: str, stored: Any) -> list[str]:
    notes = (
        [f"the action is '{action}', one of: {', '.join(_actions(demo))}"] if len(_actions(demo)) > 1 else []
    )
    for key, name in obs.items():
        if demo[name].dtype == np.float64 and spec.obs[key].dtype == "float32":
            notes.append(f"'{name}' was float64 and is rounded to float32")
    if demo[action].dtype == np.float64:
        notes.append("actions were float64 and are rounded to float32")
    if any(_next(demo, name) is None for name in obs.values()):
        notes.append(FINAL_REPEATED)
    if not stored:
        notes.append(
            "an episode is taken as a success where any reward is positive; it terminated by its last 'dones'"
        )
        notes.append("step i is taken at i / rate: the format holds no timestamps")
    return notes


def _next(demo: Any, name: str) -> Any:
    """Return the observations after each action, or None where the file has none."""
    return demo.get(f"next_{name}")


@dataclass(frozen=True)
class _Demos:
    """Read episodes by number."""

    path: Path
    file: Any
    spec: EnvSpec
    demos: list[str]
    action: str
    obs: Mapping[str, str]
    filters: Mapping[str, list[str]]
    stored: Mapping[str, Any]

    def read(self, number: int) -> Episode:
        """Return episode `number`, in the numeric order of the demos."""
        name = self.demos[number]
        with reading(f"{self.path}, {name}"):
            return self._read(self.file["data"][name], name)

    def _read(self, demo: Any, name: str) -> Episode:
        steps = _length(demo, self.path)
        rewards = np.asarray(demo["rewards"][:] if "rewards" in demo else np.zeros(steps))
        dones = demo["dones"][:] if "dones" in demo else np.ones(steps)
        told = json.loads(demo.attrs.get("robofb", "{}"))
        meta = told.get("meta", {"demo": name})
        if name in self.filters:
            meta["filters"] = self.filters[name]
        times = regular_times(steps, 1.0 / self.spec.control_dt)
        if "timestamps" in demo:
            times = extended_times(demo["timestamps"][:], 1.0 / self.spec.control_dt)
            times[-1] = told.get("final_time_s", times[-1])
        return Episode(
            obs={key: self._observation(demo, key, inner, steps) for key, inner in self.obs.items()},
            action=to_rows(demo[self.action][:], self.spec.action),
            reward=rewards.reshape(-1).astype(np.float32),
            terminated=bool(told.get("terminated", bool(dones[-1]))),
            success=bool(told.get("success", bool((rewards > 0).any()))),
            timestamps=times,
            source=demo["source"][:] if "source" in demo else np.full(steps, SOURCE_HUMAN, np.uint8),
            meta=meta,
        )

    def _observation(self, demo: Any, key: str, name: str, steps: int) -> np.ndarray:
        rows, after, spec = demo[name][:], _next(demo, name), self.spec.obs[key]
        if len(rows) != steps:
            raise UserError(f"{self.path}: {demo.name}/{name} has {len(rows)} rows for {steps} actions")
        rows = with_last_repeated(rows) if after is None else np.concatenate([rows, after[-1:]])
        return to_image_rows(rows, name) if is_image(spec) else to_rows(rows, spec)
