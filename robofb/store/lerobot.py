"""What reader and writer of LeRobotDataset v3.0 share: its files, its columns, our names for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from robofb.errors import UserError
from robofb.normalize import is_image
from robofb.store.foreign import extra_missing
from robofb.types import ArraySpec

VERSION = "v3.0"
INFO, TASKS, STATS, FACTS = "meta/info.json", "meta/tasks.parquet", "meta/stats.json", "meta/robofb.json"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
CHUNK_FILES = 1000  # files in a chunk folder
OBSERVED, IMAGES = "observation.", "observation.images."
TRUE_TIME, SOURCE = "robofb.timestamp", "robofb.source"  # columns of ours
PICTURES = ("image", "video")


def feature_name(key: str, spec: ArraySpec) -> str:
    """Return LeRobot's name: "state" is observation.state, "image_front" observation.images.front."""
    return IMAGES + key.removeprefix("image_") if is_image(spec) else OBSERVED + key


def observation_key(feature: str) -> str:
    """Return our name of an observation of LeRobot's."""
    if feature.startswith(IMAGES):
        return "image_" + feature.removeprefix(IMAGES)
    return feature.removeprefix(OBSERVED)


def parquet() -> tuple[Any, Any]:
    """Return the modules pyarrow and pyarrow.parquet."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise extra_missing("pyarrow") from None
    return pyarrow, pyarrow.parquet


def column_values(column: Any, name: str) -> np.ndarray:
    """Return the numbers of a column of numbers or of (nested) lists of them, flat."""
    column = column.combine_chunks()
    while True:
        if column.null_count:
            raise UserError(f"'{name}' lacks {column.null_count} values")
        if not hasattr(column, "flatten") or not hasattr(column.type, "value_type"):
            return np.asarray(column.to_numpy(zero_copy_only=False))
        column = column.flatten()
