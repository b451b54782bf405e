"""Read raw demonstrations of JUICER and FurnitureBench: one pickle each, .pkl or .pkl.xz."""

from __future__ import annotations

import lzma
import pickle
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robofb.errors import UserError
from robofb.progress import progress_bar
from robofb.store.bottlenecks import BOTTLENECKS
from robofb.store.foreign import (
    FINAL_REPEATED,
    Source,
    Wishes,
    choose_action,
    control_rate,
    reading,
    regular_times,
    with_last_repeated,
)
from robofb.store.foreign_images import image_spec, to_image_rows
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
    rot6d_from_xyzw,
    rotation_by_columns,
)
from robofb.store.unpickle import RefusedPickleError, load_plain
from robofb.types import SOURCE_HUMAN, ArraySpec, EnvSpec, Episode

SUMMARY = "JUICER's raw demonstrations, .pkl or .pkl.xz files"
SUFFIXES = (".pkl", ".pkl.xz")
STATE_PARTS = (("ee_pos", 3), ("ee_quat", 4), ("ee_pos_vel", 3), ("ee_ori_vel", 3), ("gripper_width", 1))
PARTIAL = "partial_success"
SUCCESS_WORDS = ("True", "1", "1.0", "success")


def looks_like(path: Path) -> bool:
    """Return whether a path is a .pkl or .pkl.xz file or a folder with some below it."""
    return bool(_files(path))


def open_source(path: Path, wishes: Wishes, stack: ExitStack) -> Source:
    """Open demonstrations; reads each file once to learn the longest."""
    files = _files(path)
    if not files:
        raise UserError(f"{path} holds no {' or '.join(SUFFIXES)} file")
    choose_action(path, ["actions"], wishes)
    rate = control_rate(path, RATE_HZ, wishes)
    longest, first, repeated = 0, None, 0
    with progress_bar(len(files), "looking through", "file", delay_s=1.0) as bar:
        for file in files:
            demo = _Demonstration.load(file)
            first = first or demo
            longest = max(longest, len(demo.actions))
            repeated += len(demo.obs["state"]) == len(demo.actions)
            bar.update()
    assert first is not None
    spec = EnvSpec(
        task=wishes.task or first.task or path.name.split(".")[0],
        obs={key: _array_spec(key, rows) for key, rows in first.obs.items()},
        action=action_spec("delta"),
        control_dt=1.0 / rate,
        max_steps=longest,
    )
    meta = {"frames": "robot: base; parts: AprilTag", "robot": "franka"}
    return Source(
        spec, meta, _notes(first, repeated), len(files), lambda n: _Demonstration.load(files[n]).episode(rate)
    )


def _array_spec(key: str, rows: np.ndarray) -> ArraySpec:
    if key == "state":
        return STATE_SPEC
    return parts_spec(rows.shape[1]) if rows.ndim == 2 else image_spec(rows.shape[1:])


def _notes(first: _Demonstration, repeated: int) -> list[str]:
    """Return what was changed, by the first demonstration; `repeated` ones have no last observation."""
    notes = ["quaternions xyzw of state and action are 6D rotations now, the matrix' first two columns"]
    notes += [ROTATION_NOTE] if first.by_rows else []
    notes += [PARTS_NOTE] if "parts_poses" in first.obs else ["parts_poses is empty and is left out"]
    notes += ["the action is the change of the pose, not clipped"]
    notes += [f"{repeated} episodes: {FINAL_REPEATED}"] if repeated else []
    return notes + [f"files from '{PARTIAL}' folders or marked so are no successes"]


def _files(path: Path) -> list[Path]:
    """Return the pickles at or below a path, sorted."""
    found = [path] if path.is_file() else [file for file in path.rglob("*.pkl*") if file.is_file()]
    return sorted(file for file in found if file.name.endswith(SUFFIXES))


def _load(file: Path) -> Any:
    opener: Any = lzma.open if file.name.endswith(".xz") else open
    try:
        with reading(file), opener(file, "rb") as stream:
            try:
                return load_plain(stream)
            except RefusedPickleError as error:
                raise UserError(f"{file} is refused: {error}") from None
    except (pickle.UnpicklingError, lzma.LZMAError, RecursionError) as error:
        raise UserError(f"cannot read {file}: {error}") from None


@dataclass(frozen=True)
class _Demonstration:
    """One file's content, converted.

    Attributes:
        file: where it stood.
        task: furniture, or "".
        obs: per key (T + 1, ...) or (T, ...) rows, by our keys and conventions.
        by_rows: whether 6D rotations came by rows.
        actions: (T, 10) float32.
        facts: what else the file holds: rewards, skills, success, augment_states.
    """

    file: Path
    task: str
    obs: Mapping[str, np.ndarray]
    by_rows: bool
    actions: np.ndarray
    facts: Mapping[str, Any]

    @classmethod
    def load(cls, file: Path) -> _Demonstration:
        """Read and check one file."""
        content = _load(file)
        if not isinstance(content, dict) or not {"observations", "actions"} <= set(content):
            raise UserError(f"{file} is no demonstration: it needs 'observations' and 'actions'")
        with reading(file):
            columns = _columns(content["observations"])
            states = _states(columns["robot_state"])
            actions = _stack(content["actions"])
            by_rows = 16 in states.shape[1:] or 10 in actions.shape[1:]
            obs = {"state": _rotated(states, 14, 16, "robot_state")}
            if "parts_poses" in columns and (poses := _stack(columns["parts_poses"])).size:
                obs["parts_poses"] = parts_wxyz(poses)
            for name, key in CAMERAS.items():
                if name in columns:
                    obs[key] = to_image_rows(_stack(columns[name]), name)
            actions = _rotated(actions, 8, 10, "actions")
        for key, rows in obs.items():
            if len(rows) - len(actions) not in (0, 1):
                raise UserError(f"{file}: {len(rows)} rows of {key} do not fit {len(actions)} actions")
        return cls(
            file, str(content.get("furniture", content.get("task", ""))), obs, by_rows, actions, content
        )

    def episode(self, rate_hz: float) -> Episode:
        """Return the demonstration as an episode at a control rate."""
        steps = len(self.actions)
        told = str(self.facts.get("success", True))  # a bool, a number or a word
        partial = told == PARTIAL or PARTIAL in self.file.parts
        meta: dict[str, Any] = {"from": self.file.name, "partial_success": partial}
        with reading(self.file):
            if "augment_states" in self.facts:
                meta[BOTTLENECKS] = bottlenecks(_numbers(self.facts["augment_states"]))
            if "skills" in self.facts:
                meta["skill_steps"] = np.flatnonzero(_numbers(self.facts["skills"]) > 0).tolist()
            reward = _numbers(self.facts.get("rewards", np.zeros(steps)))[:steps].astype(np.float32)
        return Episode(
            obs={
                key: rows if len(rows) > steps else with_last_repeated(rows) for key, rows in self.obs.items()
            },
            action=self.actions,
            reward=reward,
            terminated=True,
            success=told in SUCCESS_WORDS and not partial,
            timestamps=regular_times(steps, rate_hz),
            source=np.full(steps, SOURCE_HUMAN, np.uint8),
            meta=meta,
        )


def _columns(observations: Any) -> dict[str, Any]:
    """Return the rows of each key, from a dict of rows or a list of dicts."""
    if isinstance(observations, dict):
        return observations
    return {key: [row[key] for row in observations] for key in observations[0]}


def _states(rows: Any) -> np.ndarray:
    """Return robot states (T, 14 or 16), from arrays or from dicts of parts, by time or by part."""
    if isinstance(rows, dict):
        return np.concatenate([_stack(rows[name]).reshape(-1, size) for name, size in STATE_PARTS], 1)
    if isinstance(rows[0], dict):
        return _states({name: [row[name] for row in rows] for name, _ in STATE_PARTS})
    return _stack(rows)


def _rotated(rows: np.ndarray, with_quat: int, with_rot6d: int, name: str) -> np.ndarray:
    if rows.shape[1:] == (with_quat,):
        return rot6d_from_xyzw(rows)
    if rows.shape[1:] == (with_rot6d,):
        return rotation_by_columns(rows)
    raise ValueError(f"{name} has rows of shape {rows.shape[1:]}, expected ({with_quat},) or ({with_rot6d},)")


def _stack(rows: Any) -> np.ndarray:
    """Return one array of rows that are arrays or flat lists of numbers."""
    if isinstance(rows, np.ndarray):
        return rows
    return np.stack([row if isinstance(row, np.ndarray) else _numbers(row) for row in rows])


def _numbers(values: Any) -> np.ndarray:
    """Return (n,) float64 of a flat sequence of numbers; a nested one is refused, however it was shared."""
    return np.array(
        [_number(value) for value in (values.reshape(-1) if isinstance(values, np.ndarray) else values)]
    )


def _number(value: Any) -> float:
    if isinstance(value, np.ndarray):
        return float(value.item())
    return float(value)
