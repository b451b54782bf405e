"""Write LeRobotDataset v3.0; images as PNG inside the parquet files, or as H.264 video."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robofb.errors import UserError
from robofb.normalize import is_image
from robofb.store.foreign import (
    Source,
    Wishes,
    episode_facts,
    facts,
)
from robofb.store.foreign_images import images_last
from robofb.store.lerobot import (
    CHUNK_FILES,
    DATA_PATH,
    EPISODES,
    FACTS,
    INFO,
    SOURCE,
    STATS,
    TASKS,
    TRUE_TIME,
    VERSION,
    VIDEO_PATH,
    feature_name,
    parquet,
)
from robofb.store.lerobot_stats import episode_stats, merged_stats
from robofb.store.pictures import encode_png, write_video
from robofb.types import ArraySpec, EnvSpec, Episode

SUMMARY = "LeRobotDataset v3.0"
TAKES_VIDEO = True
GOES_ON = False
FILE_BYTES = 100_000_000  # after which another data file begins, as in lerobot
COUNTERS = ("frame_index", "episode_index", "index", "task_index")


def write(source: Source, episodes: Iterator[Episode], out: Path, wishes: Wishes) -> None:
    """Write every episode; the observation after the last action has no place in the format and is lost.

    `timestamp` is frame_index / fps, as lerobot demands; the true times are the feature robofb.timestamp.
    """
    with _Writer(source, out, wishes.video) as writer:
        for number, episode in enumerate(episodes):
            writer.add(number, episode)
        writer.finish()


class _Writer:
    """Hold the open data file and what meta/ will say.

    Args:
        source: spec and facts.
        out: folder to make.
        video: images become video.
    """

    def __init__(self, source: Source, out: Path, video: bool) -> None:
        self._pyarrow, self._parquet = parquet()
        self.source, self.out, self.video = source, out, video
        self.names = _feature_names(source.spec)
        self.features = _features(source.spec, self.names, video)
        self._schema = self._arrow_schema()
        self._file: Any = None
        self._file_number, self._file_bytes, self._total = -1, 0, 0
        self._rows: list[dict[str, Any]] = []
        self._stats: list[dict[str, dict[str, np.ndarray]]] = []
        self._told: list[dict[str, Any]] = []
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, number: int, episode: Episode) -> None:
        """Write one episode."""
        steps, rate = len(episode), 1.0 / self.source.spec.control_dt
        task = str(episode.meta.get("instruction", self.source.spec.task))
        columns: dict[str, np.ndarray] = {
            "action": episode.action,
            "next.reward": episode.reward[:, None],
            "next.done": (np.arange(steps) == steps - 1)[:, None],
            "next.success": ((np.arange(steps) == steps - 1) & bool(episode.success))[:, None],
            TRUE_TIME: episode.timestamps[:-1, None],
            SOURCE: episode.source.astype(np.int64)[:, None],
            "timestamp": (np.arange(steps) / rate).astype(np.float32)[:, None],
            "frame_index": np.arange(steps)[:, None],
            "episode_index": np.full((steps, 1), number),
            "index": (self._total + np.arange(steps))[:, None],
            "task_index": np.full((steps, 1), self._tasks.setdefault(task, len(self._tasks))),
        }
        for key, rows in episode.obs.items():
            columns[self.names[key]] = images_last(rows[:-1], self.source.spec.obs[key])
        self._write_table(columns)
        place = {
            "chunk_index": self._file_number // CHUNK_FILES,
            "file_index": self._file_number % CHUNK_FILES,
        }
        row = {"episode_index": number, "tasks": [task], "length": steps}
        row |= {f"data/{name}": value for name, value in place.items()}
        row |= {"dataset_from_index": self._total, "dataset_to_index": self._total + steps}
        self._rows.append(row | self._write_videos(number, columns, rate))
        self._stats.append(episode_stats(columns, self.features))
        self._told.append(episode_facts(episode))
        self._total += steps

    def finish(self) -> None:
        """Write meta/."""
        if self._file is not None:
            self._file.close()
        for row, stats in zip(self._rows, self._stats, strict=True):
            row |= {
                f"stats/{name}/{kind}": value.tolist()
                for name, kinds in stats.items()
                for kind, value in kinds.items()
            }
            row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        episodes = self.out / EPISODES.format(chunk_index=0, file_index=0)
        episodes.parent.mkdir(parents=True)
        self._parquet.write_table(self._pyarrow.Table.from_pylist(self._rows), episodes)
        self._parquet.write_table(_task_table(self._tasks), self.out / TASKS)
        whole = merged_stats(self._stats)
        plain = {
            name: {kind: value.tolist() for kind, value in kinds.items()} for name, kinds in whole.items()
        }
        told = {**facts(self.source), "episodes": self._told}
        for name, content in ((STATS, plain), (FACTS, told), (INFO, self._info())):
            (self.out / name).write_text(json.dumps(content, indent=1))

    def _info(self) -> dict[str, Any]:
        rate = 1.0 / self.source.spec.control_dt
        return {
            "codebase_version": VERSION,
            "robot_type": str(self.source.meta.get("robot", "unknown")),
            "total_episodes": len(self._rows),
            "total_frames": self._total,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNK_FILES,
            "data_files_size_in_mb": FILE_BYTES // 1_000_000,
            "video_files_size_in_mb": 200,
            "fps": round(rate) if abs(rate - round(rate)) < 1e-6 else rate,
            "splits": {"train": f"0:{len(self._rows)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if any(f["dtype"] == "video" for f in self.features.values()) else None,
            "features": self.features,
        }

    def _write_table(self, columns: Mapping[str, np.ndarray]) -> None:
        """Write the rows of one episode as one row group, in a new file where the last is full."""
        if self._file is None or self._file_bytes >= FILE_BYTES:
            if self._file is not None:
                self._file.close()
            self._file_number, self._file_bytes = self._file_number + 1, 0
            chunk, file = divmod(self._file_number, CHUNK_FILES)
            path = self.out / DATA_PATH.format(chunk_index=chunk, file_index=file)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._parquet.ParquetWriter(path, self._schema)
        arrays = [self._arrow(columns[name], self._schema.field(name).type) for name in self._schema.names]
        table = self._pyarrow.Table.from_arrays(arrays, schema=self._schema)
        self._file.write_table(table, row_group_size=max(len(table), 1))
        self._file_bytes += table.nbytes

    def _arrow(self, rows: np.ndarray, kind: Any) -> Any:
        pa = self._pyarrow
        if pa.types.is_struct(kind):
            return pa.array([{"bytes": encode_png(image), "path": None} for image in rows], kind)
        if rows.ndim == 2 and rows.shape[1] == 1:
            return pa.array(rows[:, 0], kind)
        array = pa.array(rows.reshape(-1))
        for size in reversed(rows.shape[1:]):
            array = pa.FixedSizeListArray.from_arrays(array, size)
        return array

    def _arrow_schema(self) -> Any:
        pa = self._pyarrow
        fields = []
        for name, feature in self.features.items():
            if feature["dtype"] == "video":
                continue
            kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
            if feature["dtype"] != "image":
                kind = pa.from_numpy_dtype(np.dtype(feature["dtype"]))
                for size in reversed(feature["shape"] if feature["shape"] != [1] else []):
                    kind = pa.list_(kind, size)
            fields.append(pa.field(name, kind))
        return pa.schema(fields)

    def _write_videos(self, number: int, columns: Mapping[str, np.ndarray], rate: float) -> dict[str, Any]:
        """Write one file for each camera; return what meta/episodes says of them."""
        chunk, file = divmod(number, CHUNK_FILES)
        row: dict[str, Any] = {}
        for name, feature in self.features.items():
            if feature["dtype"] == "video":
                inner = VIDEO_PATH.format(video_key=name, chunk_index=chunk, file_index=file)
                write_video(self.out / inner, columns[name], rate)
                row |= {f"videos/{name}/chunk_index": chunk, f"videos/{name}/file_index": file}
                row |= {f"videos/{name}/from_timestamp": 0.0}
                row |= {f"videos/{name}/to_timestamp": len(columns[name]) / rate}
        return row


def _feature_names(spec: EnvSpec) -> dict[str, str]:
    """Return the feature of each observation key."""
    names = {key: feature_name(key, array) for key, array in spec.obs.items()}
    for key, name in names.items():
        twins = [other for other in names if names[other] == name]
        if len(twins) > 1:
            raise UserError(f"observations {' and '.join(twins)} would both become feature '{names[key]}'")
    return names


def _features(spec: EnvSpec, names: Mapping[str, str], video: bool) -> dict[str, dict[str, Any]]:
    features = {names[key]: _feature(array, video) for key, array in spec.obs.items()}
    features["action"] = _feature(spec.action, video)
    scalars = {
        "next.reward": "float32",
        "next.done": "bool",
        "next.success": "bool",
        TRUE_TIME: "float64",
        SOURCE: "int64",
        "timestamp": "float32",
        **dict.fromkeys(COUNTERS, "int64"),
    }
    return features | {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in scalars.items()}


def _feature(array: ArraySpec, video: bool) -> dict[str, Any]:
    if is_image(array):
        channels, height, width = array.shape
        as_video = video and channels == 3
        names = ["height", "width", "channels"]
        return {"dtype": "video" if as_video else "image", "shape": [height, width, channels], "names": names}
    return {"dtype": array.dtype, "shape": list(array.shape), "names": list(array.names) or None}


def _task_table(tasks: Mapping[str, int]) -> Any:
    """Return the table of tasks as pandas would write a frame whose index is the text."""
    pa, _ = parquet()
    table = pa.table({"task_index": list(tasks.values()), "task": list(tasks)})
    index = {
        "name": "task",
        "field_name": "task",
        "pandas_type": "unicode",
        "numpy_type": "object",
        "metadata": None,
    }
    column = {
        **index,
        "name": "task_index",
        "field_name": "task_index",
        "pandas_type": "int64",
        "numpy_type": "int64",
    }
    labels = {**index, "name": None, "field_name": None, "metadata": {"encoding": "UTF-8"}}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [labels],
        "columns": [column, index],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})
