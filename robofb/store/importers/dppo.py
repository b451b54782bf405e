"""Read DPPO's train.npz: states, actions, images and trajectory lengths, normalised by a file beside it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robofb.errors import UserError
from robofb.store.foreign import (
    FINAL_REPEATED,
    SUCCESS_ASSUMED,
    Source,
    Wishes,
    checked_ends,
    choose_action,
    control_rate,
    reading,
    regular_times,
    row_spec,
    with_last_repeated,
)
from robofb.store.foreign_images import to_image_rows
from robofb.store.npz_stream import NpzStream
from robofb.types import SOURCE_HUMAN, ArraySpec, EnvSpec, Episode

SUMMARY = "DPPO's train.npz with normalization.npz"
TRAIN, NORMALISATION = "train.npz", "normalization.npz"
RGB = 3
MARGIN = 1e-6  # which DPPO adds to every range it divides by


def looks_like(path: Path) -> bool:
    """Return whether a file, or train.npz in a folder, is an npz with trajectory lengths."""
    file = _file(path)
    if not file.is_file() or not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return {"traj_lengths.npy", "actions.npy"} <= set(archive.namelist())


def open_source(path: Path, wishes: Wishes, stack: ExitStack) -> Source:
    """Open a file of trajectories."""
    file = _file(path)
    with reading(file):
        stream = stack.enter_context(NpzStream(file))
        shapes = {name: stream.shape(name) for name in stream.names}
    choose_action(path, ["actions"] if "actions" in shapes else [], wishes)
    if "traj_lengths" not in shapes or not {"states", "images"} & set(shapes):
        raise UserError(
            f"{file} needs traj_lengths, actions and states or images; it has: {', '.join(shapes)}"
        )
    kinds = [name for name in ("states", "actions", "images", "rewards") if name in shapes]
    lengths = stream.read("traj_lengths", 0, shapes["traj_lengths"][0]).astype(np.int64)
    ends = checked_ends(np.cumsum(lengths), min(shapes[name][0] for name in kinds), file)
    undo, notes = _normalisation(file, shapes)
    notes += [FINAL_REPEATED, SUCCESS_ASSUMED, "step i is taken at i / rate: the format holds no timestamps"]
    obs: dict[str, ArraySpec] = {}
    if "states" in shapes:
        obs["state"] = row_spec(shapes["states"][1:], np.dtype("float32"))
    if "images" in shapes:
        obs |= _cameras(shapes["images"], file)
    spec = EnvSpec(
        task=wishes.task or file.absolute().parent.name,
        obs=obs,
        action=row_spec(shapes["actions"][1:], np.dtype("float32")),
        control_dt=1.0 / control_rate(file, None, wishes),
        max_steps=int(lengths.max()),
    )
    reader = _Trajectories(file, stream, spec, ends, kinds, undo)
    return Source(spec, {}, notes, len(ends), reader.read, beside=[file.with_name(NORMALISATION)])


def _file(path: Path) -> Path:
    return path / TRAIN if path.is_dir() else path


def _cameras(shape: tuple[int, ...], file: Path) -> dict[str, ArraySpec]:
    """Return one spec for each camera of images (N, 3 cameras, H, W)."""
    if len(shape) != 4 or shape[1] % RGB:
        raise UserError(f"{file}: images have shape {shape}, expected (rows, 3 x cameras, height, width)")
    return {
        f"image_{number}": ArraySpec((RGB, *shape[2:]), "uint8", "sRGB") for number in range(shape[1] // RGB)
    }


Undo = Callable[[np.ndarray], np.ndarray]


def _normalisation(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, Undo], list[str]]:
    """Return how to undo the normalisation of states and actions, and what to tell about it."""
    beside = file.with_name(NORMALISATION)
    if not beside.exists():
        return {}, [f"{NORMALISATION} is missing: states and actions stay as they are, normalised or not"]
    undo: dict[str, Undo] = {}
    with reading(beside), np.load(beside, allow_pickle=False) as ranges:
        for name, word in (("states", "obs"), ("actions", "action")):
            if name not in shapes:
                continue
            low, high = (ranges[f"{word}_{end}"].astype(np.float64) for end in ("min", "max"))
            if low.shape != shapes[name][1:] or high.shape != low.shape:
                raise UserError(f"{beside}: {word}_min has shape {low.shape}, {name} have {shapes[name][1:]}")
            undo[name] = _scaling(low, high)
    return undo, [f"the normalisation to -1..1 in {NORMALISATION} is undone, to within float32"]


def _scaling(low: np.ndarray, high: np.ndarray) -> Undo:
    return lambda rows: (rows.astype(np.float64) + 1.0) / 2.0 * (high - low + MARGIN) + low


@dataclass(frozen=True)
class _Trajectories:
    """Read episodes by number."""

    file: Path
    stream: NpzStream
    spec: EnvSpec
    ends: np.ndarray
    kinds: Sequence[str]
    undo: Mapping[str, Undo]

    def read(self, number: int) -> Episode:
        """Return episode `number`."""
        stop = int(self.ends[number])
        start = int(self.ends[number - 1]) if number else 0
        with reading(self.file):
            rows = {name: self.stream.read(name, start, stop) for name in self.kinds}
        for name, function in self.undo.items():
            rows[name] = function(rows[name])
        obs: dict[str, Any] = {}
        if "states" in rows:
            obs["state"] = rows["states"].astype(np.float32)
        if "images" in rows:
            for camera in range(rows["images"].shape[1] // RGB):
                part = rows["images"][:, camera * RGB : (camera + 1) * RGB]
                obs[f"image_{camera}"] = to_image_rows(np.moveaxis(part, 1, -1), "images")
        rewards = rows.get("rewards", np.zeros(stop - start))
        return Episode(
            obs={key: with_last_repeated(values) for key, values in obs.items()},
            action=rows["actions"].astype(np.float32),
            reward=rewards.reshape(-1).astype(np.float32),
            terminated=True,
            success=True,
            timestamps=regular_times(stop - start, 1.0 / self.spec.control_dt),
            source=np.full(stop - start, SOURCE_HUMAN, np.uint8),
            meta={},
        )
