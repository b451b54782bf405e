"""Write the ReplayBuffer of diffusion_policy: zarr format 2, which zarr 2 and 3 can open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from robofb.normalize import is_image
from robofb.store.foreign import (
    Source,
    Wishes,
    episode_facts,
    facts,
)
from robofb.store.foreign_images import images_last
from robofb.types import ArraySpec, Episode

SUMMARY = "diffusion_policy's ReplayBuffer, a zarr folder"
TAKES_VIDEO = False
GOES_ON = False
CHUNK_BYTES = 2_000_000


def write(source: Source, episodes: Iterator[Episode], out: Path, wishes: Wishes) -> None:
    """Append every episode to data/<key>; what the format has no place for stands beside it.

    Images become (T, H, W, C). Beside the format's own arrays: data/timestamp, data/reward, data/source,
    final/<key> (observation after the last action) and the attribute "robofb" (names, units, facts).
    """
    import zarr  # slow to import

    root = zarr.open_group(out, mode="w-", zarr_format=2)
    with zarr.config.set({"array.write_empty_chunks": True}):
        arrays = _create(root, source)
        told, ends = [], [0]
        for episode in episodes:
            for key, rows in episode.obs.items():
                rows = images_last(rows, source.spec.obs[key])
                arrays[f"data/{key}"].append(rows[:-1])
                arrays[f"final/{key}"].append(rows[-1:])
            arrays["data/action"].append(episode.action)
            arrays["data/reward"].append(episode.reward)
            arrays["data/timestamp"].append(episode.timestamps[:-1])
            arrays["data/source"].append(episode.source)
            ends.append(ends[-1] + len(episode))
            told.append(episode_facts(episode))
        arrays["meta/episode_ends"].append(np.array(ends[1:], np.int64))
    root.attrs["robofb"] = {**facts(source), "episodes": told}


def _create(root: Any, source: Source) -> dict[str, Any]:
    """Return the empty arrays by path."""
    specs = {f"{group}/{key}": array for group in ("data", "final") for key, array in source.spec.obs.items()}
    specs |= {
        "data/action": source.spec.action,
        "data/reward": ArraySpec((), "float32"),
        "data/timestamp": ArraySpec((), "float64"),
        "data/source": ArraySpec((), "uint8"),
        "meta/episode_ends": ArraySpec((), "int64"),
    }
    return {name: _create_array(root, name, array) for name, array in specs.items()}


def _create_array(root: Any, name: str, spec: ArraySpec) -> Any:
    import numcodecs

    channels, *size = spec.shape if is_image(spec) else (0,)
    shape = (*size, channels) if is_image(spec) else spec.shape
    row_bytes = max(int(np.prod(shape)) * np.dtype(spec.dtype).itemsize, 1)
    array = root.create_array(
        name,
        shape=(0, *shape),
        chunks=(min(max(CHUNK_BYTES // row_bytes, 1), 1024), *shape),
        dtype=spec.dtype,
        compressors=numcodecs.Blosc(cname="zstd", clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE),
        fill_value=0,
    )
    if spec.dtype == "float64":
        array.attrs["exact"] = True  # read back as float64, not as a float32 observation
    return array
