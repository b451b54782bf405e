"""Read LeRobotDataset v3.0: parquet files, images inside them or in mp4."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from robofb.errors import UserError
from robofb.normalize import is_image
from robofb.store.foreign import (
    FINAL_REPEATED,
    SUCCESS_ASSUMED,
    Source,
    Wishes,
    choose_action,
    control_rate,
    extended_times,
    keyed,
    known_spec,
    reading,
    remembered,
    row_spec,
    safe_key,
    to_rows,
    with_last_repeated,
)
from robofb.store.foreign_images import channels_first, image_spec, to_image_rows
from robofb.store.lerobot import (
    FACTS,
    INFO,
    OBSERVED,
    PICTURES,
    SOURCE,
    TASKS,
    TRUE_TIME,
    VERSION,
    column_values,
    feature_name,
    observation_key,
    parquet,
)
from robofb.store.pictures import decode_picture, read_frames
from robofb.types import SOURCE_HUMAN, ArraySpec, EnvSpec, Episode

SUMMARY = "LeRobotDataset v3.0"
REWARD, DONE, SUCCESS = "next.reward", "next.done", "next.success"
KINDS = {"float16", "float32", "float64", "bool", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))}
OWN_COLUMNS = {"timestamp", "frame_index", "episode_index", "index", "task_index", TRUE_TIME, SOURCE}


def looks_like(path: Path) -> bool:
    """Return whether a folder holds meta/info.json with a code base's version."""
    try:
        return "codebase_version" in json.loads((path / INFO).read_text())
    except (OSError, ValueError, TypeError):
        return False


def open_source(path: Path, wishes: Wishes, stack: ExitStack) -> Source:
    """Open a dataset folder."""
    with reading(path / INFO):
        info = json.loads((path / INFO).read_text())
        version, features = info["codebase_version"], info["features"]
    if version != VERSION:
        raise UserError(
            f"{path} is a LeRobotDataset {version}; known: {VERSION} (lerobot's scripts convert others)"
        )
    stored = _stored(path)
    rows = _episode_rows(path, features)
    tasks = _tasks(path)
    with reading(path / INFO):
        obs, left_out = _observations(features, known_spec(stored), path)
        spec = _spec(path, info, obs, rows, tasks, stored, wishes)
        rate = float(info["fps"])
    notes = _notes(features, obs, left_out, stored)
    meta = {key: info[key] for key in ("robot_type", "splits") if info.get(key)}
    reader = _Folder(path, info, spec, obs, rows, tasks, stored, rate)
    return Source(spec, dict(stored.get("meta", meta)), notes, len(rows), reader.read)


def _stored(path: Path) -> dict[str, Any]:
    """Return our own facts beside the dataset, if there are any."""
    if not (path / FACTS).exists():
        return {}
    with reading(path / FACTS):
        return dict(json.loads((path / FACTS).read_text()))


def _episode_rows(path: Path, features: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what meta/episodes says of each episode, without its statistics."""
    _, pq = parquet()
    rows: list[dict[str, Any]] = []
    videos = [f"videos/{name}/" for name, feature in features.items() if feature.get("dtype") == "video"]
    for file in sorted((path / "meta" / "episodes").glob("chunk-*/file-*.parquet")):
        with reading(file):
            names = [name for name in pq.read_schema(file).names if not name.startswith("stats/")]
            rows += pq.read_table(file, columns=names, partitioning=None).to_pylist()
    rows.sort(key=lambda row: row.get("episode_index", -1))
    if not rows:
        raise UserError(f"{path} holds no episodes: meta/episodes has none")
    needed = ["length", "dataset_from_index", "dataset_to_index", "data/chunk_index", "data/file_index"]
    needed += [prefix + name for prefix in videos for name in ("chunk_index", "file_index", "from_timestamp")]
    for number, row in enumerate(rows):
        if row.get("episode_index") != number:
            raise UserError(f"{path}: meta/episodes lacks or repeats episode {number}")
        missing = [name for name in needed if row.get(name) is None]
        if missing:
            raise UserError(f"{path}: meta/episodes does not say '{missing[0]}' of episode {number}")
        if row["length"] < 1 or row["dataset_to_index"] - row["dataset_from_index"] != row["length"]:
            raise UserError(f"{path}: meta/episodes contradicts itself about the length of episode {number}")
    return rows


def _tasks(path: Path) -> dict[int, str]:
    """Return the text of each task; it is the pandas index of its table, under whatever name."""
    _, pq = parquet()
    with reading(path / TASKS):
        table = pq.read_table(path / TASKS)
        texts = [name for name in table.column_names if str(table.schema.field(name).type).endswith("string")]
        if not texts:
            raise UserError(f"{path / TASKS} has lost the tasks' text: it was written without its index")
        return dict(zip(table["task_index"].to_pylist(), table[texts[0]].to_pylist(), strict=True))


def _observations(
    features: Mapping[str, Any], known: EnvSpec | None, path: Path
) -> tuple[dict[str, str], list[str]]:
    """Return the feature of each observation key, and the features that are left out."""
    own = {feature_name(key, array): key for key, array in known.obs.items()} if known else {}
    names, left_out = {}, []
    for name, feature in features.items():
        if name in OWN_COLUMNS or name in ("action", REWARD, DONE, SUCCESS):
            continue
        if name.startswith(OBSERVED) and feature["dtype"] in (*KINDS, *PICTURES):
            names[name] = own.get(name) or safe_key(observation_key(name))
        else:
            left_out.append(name)
    return keyed(names, path), left_out


def _spec(
    path: Path,
    info: Mapping[str, Any],
    obs: Mapping[str, str],
    rows: list[dict[str, Any]],
    tasks: Mapping[int, str],
    stored: Any,
    wishes: Wishes,
) -> EnvSpec:
    features, known = info["features"], known_spec(stored)
    name = choose_action(path, [name for name in features if name == "action"], wishes)
    texts = sorted(set(tasks.values()))
    usual = known.task if known else texts[0] if len(texts) == 1 else path.name
    spec = EnvSpec(
        task=wishes.task or usual,
        obs={key: _array_spec(features[feature], key, known) for key, feature in obs.items()},
        action=row_spec(tuple(features[name]["shape"]), np.dtype("float32"), _names(features[name])),
        control_dt=1.0 / control_rate(path, float(info["fps"]), wishes),
        max_steps=max(int(row["length"]) for row in rows),
    )
    return remembered(stored, spec)


def _array_spec(feature: Mapping[str, Any], key: str, known: EnvSpec | None) -> ArraySpec:
    shape = tuple(int(size) for size in feature["shape"])
    if feature["dtype"] not in PICTURES:
        if feature["dtype"] == "float64" and known is not None and key in known.obs:
            return ArraySpec(shape, known.obs[key].dtype)
        return row_spec(shape, np.dtype(feature["dtype"]), _names(feature))
    names = feature.get("names") or ()
    if list(names)[:1] in (["channels"], ["channel"]) and not channels_first(shape):
        return ArraySpec(shape, "uint8", "sRGB")
    return image_spec(shape)


def _names(feature: Mapping[str, Any]) -> list[str]:
    """Return the elements' names, which stand in a list or in a dict of lists."""
    names = feature.get("names") or []
    if isinstance(names, dict):
        names = [name for group in names.values() for name in (group if isinstance(group, list) else [group])]
    return [str(name) for name in names]


def _notes(
    features: Mapping[str, Any], obs: Mapping[str, str], left_out: list[str], stored: Mapping[str, Any]
) -> list[str]:
    notes = [FINAL_REPEATED]
    notes += [f"'{name}' is left out: it is no numeric observation" for name in left_out]
    videos = [name for name in obs.values() if features[name]["dtype"] == "video"]
    if videos:
        notes.append(f"images {', '.join(videos)} come from video, which lost detail")
    rounded = [name for name in obs.values() if features[name]["dtype"] == "float64"]
    notes += [f"'{name}' was float64 and is rounded to float32" for name in rounded if not stored]
    if SUCCESS not in features and not stored:
        notes.append(SUCCESS_ASSUMED)
    if REWARD not in features:
        notes.append("the format holds no rewards: they are 0")
    if TRUE_TIME not in features:
        notes.append("timestamps are LeRobot's, which are usually frame number / declared fps, in float32")
    return notes


@dataclass(frozen=True)
class _Folder:
    """Read episodes by number."""

    path: Path
    info: Mapping[str, Any]
    spec: EnvSpec
    obs: Mapping[str, str]
    rows: list[dict[str, Any]]
    tasks: Mapping[int, str]
    stored: Mapping[str, Any]
    fps: float

    def read(self, number: int) -> Episode:
        """Return episode `number`."""
        row = self.rows[number]
        file = self._file(self.info["data_path"], row["data/chunk_index"], row["data/file_index"])
        with reading(file):
            columns = self._columns(file, row, number)
            told = (self.stored.get("episodes") or {number: {}})[number]
            return self._episode(columns, row, told, file)

    def _columns(self, file: Path, row: Mapping[str, Any], number: int) -> Any:
        """Return the rows of one episode as a table, after checking that they are all there, in order."""
        _, pq = parquet()
        table = pq.read_table(file, filters=[("episode_index", "==", number)], partitioning=None)
        if table["frame_index"].to_pylist() != list(range(row["length"])):
            expected = f"not the {row['length']} in order that meta/ says"
            raise UserError(f"{file}: episode {number} has {len(table)} rows, {expected}")
        return table

    def _episode(self, table: Any, row: Mapping[str, Any], told: Mapping[str, Any], file: Path) -> Episode:
        def values(name: str) -> np.ndarray:
            return column_values(table[name], name).reshape(len(table), -1)

        steps, names = len(table), table.column_names
        true_time = TRUE_TIME in names
        times = extended_times(values(TRUE_TIME if true_time else "timestamp"), 1.0 / self.spec.control_dt)
        times[-1] = told.get("final_time_s", times[-1]) if true_time else times[-1]
        success = bool(values(SUCCESS)[-1, 0]) if SUCCESS in names else True
        terminated = bool(values(DONE)[-1, 0]) if DONE in names else True
        instruction = self.tasks.get(int(values("task_index")[0, 0]), "")
        return Episode(
            obs={key: self._observation(table, key, row, file) for key in self.spec.obs},
            action=to_rows(values("action"), self.spec.action),
            reward=(values(REWARD) if REWARD in names else np.zeros(steps)).reshape(-1).astype(np.float32),
            terminated=bool(told.get("terminated", terminated)),
            success=bool(told.get("success", success)),
            timestamps=times,
            source=values(SOURCE)[:, 0].astype(np.uint8)
            if SOURCE in names
            else np.full(steps, SOURCE_HUMAN, np.uint8),
            meta=dict(told.get("meta", {"instruction": instruction})),
        )

    def _observation(self, table: Any, key: str, row: Mapping[str, Any], file: Path) -> np.ndarray:
        name, spec = self.obs[key], self.spec.obs[key]
        kind = self.info["features"][name]["dtype"]
        if kind == "video":
            rows = self._video(name, row, len(table))
        elif kind == "image":
            rows = np.stack([self._picture(cell, file) for cell in table[name].to_pylist()])
        else:
            rows = to_rows(column_values(table[name], name).reshape(len(table), -1), spec)
        rows = to_image_rows(rows, name) if is_image(spec) else rows
        return with_last_repeated(rows)

    def _picture(self, cell: Mapping[str, Any], file: Path) -> np.ndarray:
        data = cell["bytes"] or self._inside(str(cell["path"])).read_bytes()
        return decode_picture(data, file)

    def _video(self, name: str, row: Mapping[str, Any], steps: int) -> np.ndarray:
        prefix = f"videos/{name}"
        place = (row[f"{prefix}/chunk_index"], row[f"{prefix}/file_index"])
        file = self._file(self.info["video_path"], *place, name)
        return read_frames(file, float(row[f"{prefix}/from_timestamp"]), steps, self.fps)

    def _file(self, template: str, chunk: int, number: int, video_key: str = "") -> Path:
        return self._inside(template.format(chunk_index=chunk, file_index=number, video_key=video_key))

    def _inside(self, name: str) -> Path:
        """Return a file below the dataset; a name that leads out is refused, links are followed."""
        inner = PurePosixPath(name)
        if inner.is_absolute() or ".." in inner.parts:
            raise UserError(f"{self.path} names the file '{name}', which lies outside it")
        return self.path / inner
