"""Read the processed zarr of JUICER and ResiP (robust-rearrangement): arrays at the root, flat over time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robofb.errors import UserError
from robofb.normalize import is_image
from robofb.store.bottlenecks import BOTTLENECKS
from robofb.store.foreign import (
    FINAL_REPEATED,
    Source,
    Wishes,
    checked_ends,
    choose_action,
    control_rate,
    regular_times,
    with_last_repeated,
)
from robofb.store.foreign_images import image_spec, to_image_rows
from robofb.store.foreign_zarr import ForeignZarr, is_zarr_of, read_rows
from robofb.store.juicer import (
    CAMERAS,
    PARTS_NOTE,
    RATE_HZ,
    ROTATION_NOTE,
    STATE_SPEC,
    action_spec,
    bottlenecks,
    parts_spec,
    parts_wxyz,
    rotation_by_columns,
)
from robofb.types import SOURCE_HUMAN, ArraySpec, EnvSpec, Episode

SUMMARY = "JUICER's and ResiP's processed zarr"
STEP_FACTS = ("reward", "skill", "augment_states")  # may be all zero, of which zarr writes no chunk
PARTIAL = "partial_success"


def looks_like(path: Path) -> bool:
    """Return whether a zarr folder or zip has robot states and episode ends at its root."""
    return is_zarr_of(path, "robot_state", "episode_ends")


def open_source(path: Path, wishes: Wishes, stack: ExitStack) -> Source:
    """Open a processed dataset."""
    foreign = ForeignZarr(path)
    root = foreign.open(stack)
    present = [name for name in ("action/pos", "action/delta") if foreign.header(name) is not None]
    action = choose_action(path, present, wishes)
    names = ["robot_state", action, *CAMERAS, "parts_poses", *STEP_FACTS]
    arrays = {
        name: foreign.array(root, name, name in STEP_FACTS)
        for name in names
        if foreign.header(name) is not None
    }
    if np.prod(arrays["parts_poses"].shape if "parts_poses" in arrays else (0,)) == 0:
        arrays.pop("parts_poses", None)
    rows = min(array.shape[0] for array in arrays.values())
    ends = checked_ends(foreign.array(root, "episode_ends")[:], rows, path)
    told = {
        name: foreign.array(root, name)[:]
        for name in ("success", "task", "pickle_file")
        if foreign.header(name) is not None
    }
    spec = _spec(path, arrays, action, ends, told, wishes)
    reader = _Processed(path, spec, arrays, action, ends, told)
    meta = {"frames": "robot: base; parts: AprilTag", "robot": "franka"}
    return Source(spec, meta, _notes(arrays, action, told) + foreign.notes, len(ends), reader.read)


def _spec(
    path: Path,
    arrays: Mapping[str, Any],
    action: str,
    ends: np.ndarray,
    told: Mapping[str, np.ndarray],
    wishes: Wishes,
) -> EnvSpec:
    for name, size in (("robot_state", 16), (action, 10)):
        if arrays[name].shape[1:] != (size,):
            raise UserError(f"{path / name} has rows of shape {arrays[name].shape[1:]}, expected ({size},)")
    obs: dict[str, ArraySpec] = {"state": STATE_SPEC}
    if "parts_poses" in arrays:
        obs["parts_poses"] = parts_spec(arrays["parts_poses"].shape[1])
    obs |= {key: image_spec(arrays[name].shape[1:]) for name, key in CAMERAS.items() if name in arrays}
    tasks = sorted({str(task) for task in told.get("task", [])})
    return EnvSpec(
        task=wishes.task or (tasks[0] if len(tasks) == 1 else path.name.split(".")[0]),
        obs=obs,
        action=action_spec(action.removeprefix("action/")),
        control_dt=1.0 / control_rate(path, RATE_HZ, wishes),
        max_steps=int(np.diff(ends, prepend=0).max()),
    )


def _notes(arrays: Mapping[str, Any], action: str, told: Mapping[str, np.ndarray]) -> list[str]:
    notes = [ROTATION_NOTE, FINAL_REPEATED, "step i is taken at i / rate: the format holds no timestamps"]
    notes.append(
        f"the action is '{action}'; it was clipped to 2.5 cm and 0.35 rad a step when it was processed"
    )
    if "parts_poses" in arrays:
        notes.append(PARTS_NOTE)
    else:
        notes.append("parts_poses is empty and is left out")
    notes += [f"'{name}' is not there" for name in STEP_FACTS if name not in arrays]
    if "success" not in told:
        notes.append("the source does not say which episodes succeeded: rewards tell")
    elif "pickle_file" not in told:
        notes.append("the source stores partial successes as successes, and nothing tells them apart")
    else:
        notes.append(
            f"the source stores partial successes as successes; those from '{PARTIAL}' files are none here"
        )
    return notes


@dataclass(frozen=True)
class _Processed:
    """Read episodes by number."""

    path: Path
    spec: EnvSpec
    arrays: Mapping[str, Any]
    action: str
    ends: np.ndarray
    told: Mapping[str, np.ndarray]

    def read(self, number: int) -> Episode:
        """Return episode `number`."""
        stop = int(self.ends[number])
        start = int(self.ends[number - 1]) if number else 0
        steps = stop - start
        rows = {name: read_rows(array, start, stop, self.path / name) for name, array in self.arrays.items()}
        obs = {"state": rotation_by_columns(rows["robot_state"])}
        if "parts_poses" in rows:
            obs["parts_poses"] = parts_wxyz(rows["parts_poses"])
        for name, key in CAMERAS.items():
            if key in self.spec.obs and is_image(self.spec.obs[key]):
                obs[key] = to_image_rows(rows[name], name)
        reward = np.asarray(rows.get("reward", np.zeros(steps)), np.float32).reshape(-1)
        file = str(self.told["pickle_file"][number]) if "pickle_file" in self.told else ""
        success = bool(self.told["success"][number]) if "success" in self.told else bool((reward > 0).any())
        return Episode(
            obs={key: with_last_repeated(values) for key, values in obs.items()},
            action=rotation_by_columns(rows[self.action]),
            reward=reward,
            terminated=True,
            success=success and PARTIAL not in file,
            timestamps=regular_times(steps, 1.0 / self.spec.control_dt),
            source=np.full(steps, SOURCE_HUMAN, np.uint8),
            meta=self._meta(rows, file, number),
        )

    def _meta(self, rows: Mapping[str, np.ndarray], file: str, number: int) -> dict[str, Any]:
        meta: dict[str, Any] = {}
        if file:
            meta["from"] = file
            meta["partial_success"] = PARTIAL in file
        if "task" in self.told:
            meta["task"] = str(self.told["task"][number])
        if "skill" in rows:
            meta["skill_steps"] = np.flatnonzero(rows["skill"].reshape(-1) > 0).tolist()
        if "augment_states" in rows:
            meta[BOTTLENECKS] = bottlenecks(rows["augment_states"])
        return meta
