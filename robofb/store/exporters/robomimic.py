"""Write robomimic's HDF5."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from robofb.normalize import is_image
from robofb.store.foreign import (
    Source,
    Wishes,
    episode_facts,
    extra_missing,
    facts,
)
from robofb.store.foreign_images import images_last
from robofb.store.patient_file import open_disk
from robofb.types import Episode

SUMMARY = "robomimic's HDF5"
TAKES_VIDEO = False
GOES_ON = False
GYM_ENV = 2  # robomimic's number for a Gym environment


def write(source: Source, episodes: Iterator[Episode], out: Path, wishes: Wishes) -> None:
    """Write every episode to data/demo_<i>, with next_obs; simulator states become `states`.

    Images become (T, H, W, C), gzipped. Filters in the episodes' meta become mask/<filter>. The attributes
    "robofb" and the datasets timestamps and source hold what robomimic has no place for.
    """
    try:
        import h5py
    except ImportError:
        raise extra_missing("h5py") from None
    spec = source.spec
    with open_disk(out) as disk, h5py.File(disk, "w") as file:
        data = file.create_group("data")
        total = 0
        masks: dict[str, list[bytes]] = {}
        for number, episode in enumerate(episodes):
            demo = data.create_group(f"demo_{number}")
            _write_demo(demo, source, episode)
            disk.check()
            total += len(episode)
            for name in episode.meta.get("filters", ()):
                masks.setdefault(str(name), []).append(f"demo_{number}".encode())
        data.attrs["total"] = total
        kwargs = {"control_freq": 1.0 / spec.control_dt}
        data.attrs["env_args"] = json.dumps({"env_name": spec.task, "type": GYM_ENV, "env_kwargs": kwargs})
        data.attrs["robofb"] = json.dumps(facts(source))
        for name, members in masks.items():
            file[f"mask/{name}"] = np.array(members)


def _write_demo(demo: Any, source: Source, episode: Episode) -> None:
    demo.attrs["num_samples"] = len(episode)
    demo.attrs["robofb"] = json.dumps(episode_facts(episode))
    dones = np.zeros(len(episode), np.int64)
    dones[-1] = episode.terminated
    demo["actions"], demo["rewards"], demo["dones"] = episode.action, episode.reward, dones
    demo["timestamps"], demo["source"] = episode.timestamps[:-1], episode.source
    for key, rows in episode.obs.items():
        spec = source.spec.obs[key]
        packed = {"compression": "gzip", "chunks": (1, *np.roll(spec.shape, -1))} if is_image(spec) else {}
        rows = images_last(rows, spec)
        place = "states" if key == "sim_state" else f"obs/{key}"
        for name, part in ((place, rows[:-1]), (f"next_{place}", rows[1:])):
            stored = demo.create_dataset(name, data=part, **packed)
            if spec.dtype == "float64":
                stored.attrs["exact"] = True  # read back as float64, not as a float32 observation
