"""One small dataset of every format, written with the formats' own libraries, never with our exporters.

Each has two episodes, of 3 and 5 steps.
"""

from __future__ import annotations

import io
import json
import lzma
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numcodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from robofb.store.episodes import EpisodeStore
from robofb.types import ArraySpec, EnvSpec, Episode

LENGTHS = (3, 5)
ROWS = sum(LENGTHS)
ENDS = np.cumsum(LENGTHS)
RNG = np.random.default_rng(0)
STATE = RNG.normal(size=(ROWS, 4)).astype(np.float32)
ACTION = RNG.normal(size=(ROWS, 2)).astype(np.float32)
IMAGE = RNG.integers(0, 256, (ROWS, 8, 6, 3), dtype=np.uint8)  # (T, H, W, C)
REWARD = np.float32([0, 0, 1, 0, 0, 0, 0, 0])
ROT_ROWS = np.float32([0, -1, 0, 1, 0, 0])  # 90 degrees about z, first two rows
ROT_COLUMNS = np.float32([0, 1, 0, -1, 0, 0])
QUAT_XYZW = np.float32([0, 0, 0.5**0.5, 0.5**0.5])  # the same turn
ROBOT_STATE = np.concatenate([STATE[:, :3], np.tile(ROT_ROWS, (ROWS, 1)), np.tile(STATE, (1, 2))[:, :7]], 1)
POSE_ACTION = np.concatenate([STATE[:, :3], np.tile(ROT_ROWS, (ROWS, 1)), np.sign(ACTION[:, :1])], 1)
PARTS = RNG.normal(size=(ROWS, 14)).astype(np.float32)
SPEC = EnvSpec(
    task="example",
    obs={
        "state": ArraySpec((4,), "float32", "m", names=("x_w", "y_w", "z_w", "width")),
        "image_front": ArraySpec((3, 8, 6), "uint8", "sRGB"),
        "sim_state": ArraySpec((2,), "float64"),
        "touch": ArraySpec((1,), "float32"),
    },
    action=ArraySpec((2,), "float32", "m/s", low=(-9.0, -9.0), high=(9.0, 9.0)),
    control_dt=0.1,
    max_steps=50,
    stages=("reach",),
)


def episode(number: int, steps: int) -> Episode:
    """Return an episode that fits SPEC, of values that no other has."""
    rng = np.random.default_rng(number)
    return Episode(
        obs={
            "state": rng.normal(size=(steps + 1, 4)).astype(np.float32),
            "image_front": rng.integers(0, 256, (steps + 1, 3, 8, 6), dtype=np.uint8),
            "sim_state": rng.normal(size=(steps + 1, 2)),
            "touch": rng.normal(size=(steps + 1, 1)).astype(np.float32),
        },
        action=rng.normal(size=(steps, 2)).astype(np.float32),
        reward=rng.normal(size=steps).astype(np.float32),
        terminated=number == 0,
        success=number == 0,
        timestamps=7.0 + np.cumsum(rng.uniform(0.099, 0.101, steps + 1)),
        source=rng.integers(0, 5, steps).astype(np.uint8),
        meta={"note": f"épisode {number}", "filters": ["train"] if number else []},
    )


def robofb(folder: Path) -> Path:
    with EpisodeStore.create(folder / "ours", SPEC, {"robot": "franka"}) as store:
        for number, steps in enumerate(LENGTHS):
            store.append(episode(number, steps))
    return folder / "ours"


def write_zarr(path: Path, arrays: dict[str, np.ndarray], codec: object | None = None) -> Path:
    """Write arrays as zarr 2 does: a group of format 2, every chunk written."""
    root = zarr.open_group(path, mode="w", zarr_format=2)
    codec = codec or numcodecs.Blosc("lz4", 5, numcodecs.Blosc.SHUFFLE)
    with zarr.config.set({"array.write_empty_chunks": True}):
        for name, rows in arrays.items():
            text = rows.dtype.kind in "UO"
            array = root.create_array(
                name,
                shape=rows.shape,
                chunks=(4, *rows.shape[1:]) if rows.size else tuple(max(n, 1) for n in rows.shape),
                dtype=str if text else rows.dtype,
                compressors=codec,
            )
            array[...] = rows.astype(object) if text else rows
    return path


def diffusion_policy(folder: Path) -> Path:
    arrays = {"data/state": STATE, "data/action": ACTION, "data/img": IMAGE.astype(np.float32)}
    return write_zarr(folder / "pusht.zarr", {**arrays, "meta/episode_ends": ENDS.astype(np.int64)})


def juicer(folder: Path, **changes: np.ndarray) -> Path:
    arrays = {
        "robot_state": ROBOT_STATE,
        "color_image1": IMAGE,
        "color_image2": IMAGE[::-1],
        "action/delta": POSE_ACTION * np.float32(0.5),
        "action/pos": POSE_ACTION,
        "parts_poses": PARTS,
        "reward": REWARD,
        "skill": np.float32([0, 1, 0, 0, 0, 0, 0, 1]),
        "augment_states": np.float32([0, 0, 1, 0, 1, 0, 0, 0]),
        "episode_ends": ENDS.astype(np.uint32),
        "success": np.uint8([1, 1]),
        "task": np.array(["one_leg", "one_leg"]),
        "pickle_file": np.array(["raw/low/success/a.pkl.xz", "raw/low/partial_success/b.pkl.xz"]),
    }
    return write_zarr(folder / "juicer.zarr", arrays | changes)


def demonstration(number: int) -> dict:
    """Return the content of one raw pickle: a list of T + 1 observations."""
    stop = int(ENDS[number])
    start = stop - LENGTHS[number]
    observations = [
        {
            "robot_state": {
                "ee_pos": STATE[row, :3],
                "ee_quat": QUAT_XYZW,
                "ee_pos_vel": STATE[row, :3] * 2,
                "ee_ori_vel": STATE[row, :3] * 3,
                "gripper_width": STATE[row, 3:],
                "joint_positions": np.zeros(7, np.float32),
            },
            "color_image1": IMAGE[row],
            "color_image2": IMAGE[row][::-1].copy(),
            "parts_poses": PARTS[row],
        }
        for row in [*range(start, stop), stop - 1]
    ]
    actions = [np.concatenate([STATE[row, :3], QUAT_XYZW, [-1.0]]) for row in range(start, stop)]
    return {
        "observations": observations,
        "actions": actions,
        "rewards": [np.float32(value) for value in REWARD[start:stop]],
        "skills": [0.0, 1.0] + [0.0] * (stop - start - 2),
        "success": True,
        "furniture": "one_leg",
    }


def juicer_raw(folder: Path) -> Path:
    path = folder / "raw"
    (path / "success").mkdir(parents=True)
    (path / "partial_success").mkdir()
    (path / "success" / "0.pkl").write_bytes(pickle.dumps(demonstration(0), protocol=4))
    packed = lzma.compress(pickle.dumps(demonstration(1), protocol=5))
    (path / "success" / "1.pkl.xz").write_bytes(packed)
    return path


def robomimic(folder: Path) -> Path:
    path = folder / "demo.hdf5"
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = ROWS
        data.attrs["env_args"] = json.dumps(
            {"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20}}
        )
        for name, number in (("demo_10", 1), ("demo_2", 0)):  # gaps, and text order would swap them
            rows = slice(int(ENDS[number]) - LENGTHS[number], int(ENDS[number]))
            demo = data.create_group(name)
            demo.attrs["num_samples"] = LENGTHS[number]
            demo.attrs["model_file"] = "<mujoco/>"
            demo["states"] = STATE[rows].astype(np.float64) / 3.0
            demo["actions"] = ACTION[rows].astype(np.float64)
            demo["actions_abs"] = np.ones((LENGTHS[number], 10))
            demo["action_dict/abs_pos"] = np.zeros((LENGTHS[number], 3))
            demo["rewards"] = REWARD[rows].astype(np.float64)
            demo["dones"] = np.eye(LENGTHS[number], dtype=np.int64)[-1]
            for group, shift in (("obs", 0), ("next_obs", 1)):
                demo[f"{group}/robot0_eef_pos"] = STATE[rows].astype(np.float64) + shift
                demo.create_dataset(f"{group}/agentview_image", data=IMAGE[rows] + shift, compression="gzip")
        file["mask/train"] = np.array([b"demo_2", b"demo_10"])
        file["mask/20_percent"] = np.array([b"demo_10"])
    return path


def lerobot(folder: Path) -> Path:
    """Two data files, images as PNG in the table, pandas' name of the task index."""
    path = folder / "lerobot"
    features = {
        "observation.state": {"dtype": "float32", "shape": [4], "names": ["a", "b", "c", "d"]},
        "observation.images.top": {
            "dtype": "image",
            "shape": [8, 6, 3],
            "names": ["height", "width", "channel"],
        },
        "observation.force": {"dtype": "float32", "shape": [1], "names": None},
        "action": {"dtype": "float32", "shape": [2], "names": {"motors": ["left", "right"]}},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        **{
            name: {"dtype": "int64", "shape": [1], "names": None}
            for name in ("frame_index", "episode_index", "index", "task_index")
        },
    }
    episodes = [write_lerobot_file(path, number) for number in range(len(LENGTHS))]
    (path / "meta/episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(episodes), path / "meta/episodes/chunk-000/file-000.parquet")
    tasks = pa.table({"task_index": [0, 1], "__index_level_0__": ["lift the cube", "drop it"]})
    pandas = {"index_columns": ["__index_level_0__"], "column_indexes": [], "columns": [], "creator": {}}
    pq.write_table(tasks.replace_schema_metadata({"pandas": json.dumps(pandas)}), path / "meta/tasks.parquet")
    info = {
        "codebase_version": "v3.0",
        "robot_type": "so101",
        "total_episodes": 2,
        "total_frames": ROWS,
        "total_tasks": 2,
        "chunks_size": 1000,
        "fps": 30,
        "splits": {"train": "0:2"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": features,
    }
    (path / "meta/info.json").write_text(json.dumps(info))
    return path


def write_lerobot_file(path: Path, number: int) -> dict:
    """Write one episode to a data file of its own, in a chunk of its own; return its row of meta/episodes."""
    from PIL import Image

    stop, steps = int(ENDS[number]), LENGTHS[number]
    rows = slice(stop - steps, stop)
    pictures = []
    for image in IMAGE[rows]:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        pictures.append({"bytes": buffer.getvalue(), "path": None})
    table = pa.table(
        {
            "observation.state": pa.array(STATE[rows].tolist(), pa.list_(pa.float32(), 4)),
            "observation.images.top": pictures,
            "observation.force": pa.array(STATE[rows, 0], pa.float32()),
            "action": pa.array(ACTION[rows].tolist(), pa.list_(pa.float32(), 2)),
            "timestamp": pa.array(np.arange(steps) / 30, pa.float32()),
            "frame_index": np.arange(steps),
            "episode_index": np.full(steps, number),
            "index": np.arange(stop - steps, stop),
            "task_index": np.full(steps, number),
        }
    )
    folder = path / f"data/chunk-{number:03d}"
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "file-000.parquet")
    return {
        "episode_index": number,
        "tasks": [["lift the cube", "drop it"][number]],
        "length": steps,
        "dataset_from_index": stop - steps,
        "dataset_to_index": stop,
        "data/chunk_index": number,
        "data/file_index": 0,
        "stats/action/min": [0.0, 0.0],
    }


def dppo(folder: Path) -> Path:
    path = folder / "lift"
    path.mkdir()
    low, high = np.float32([-3, -3, -3, -3]), np.float32([3, 3, 3, 3])
    images = np.concatenate([IMAGE, IMAGE[::-1]], -1).transpose(0, 3, 1, 2)  # two cameras, NCHW
    np.savez_compressed(
        path / "train.npz",
        states=2 * (STATE - low) / (high - low + 1e-6) - 1,
        actions=2 * (ACTION - low[:2]) / (high[:2] - low[:2] + 1e-6) - 1,
        images=np.ascontiguousarray(images),
        traj_lengths=np.array(LENGTHS),
    )
    np.savez(path / "normalization.npz", obs_min=low, obs_max=high, action_min=low[:2], action_max=high[:2])
    return path


def newer_zarr(path: Path) -> None:
    (path / ".zgroup").write_text('{"zarr_format": 4}')


def newer_robofb(path: Path) -> None:
    attributes = json.loads((path / ".zattrs").read_text())
    (path / ".zattrs").write_text(json.dumps({**attributes, "schema_version": 99}))


def newer_pickle(path: Path) -> None:
    file = path / "success/0.pkl"
    file.write_bytes(b"\x80\x09" + file.read_bytes()[2:])


def newer_hdf5(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8] = 9  # version of the superblock
    path.write_bytes(content)


def newer_lerobot(path: Path) -> None:
    info = path / "meta/info.json"
    info.write_text(info.read_text().replace("v3.0", "v4.0"))


def newer_npz(path: Path) -> None:
    with zipfile.ZipFile(path / "train.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path / "train.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content[:6] + b"\x09\x00" + content[8:])


@dataclass(frozen=True)
class Example:
    """How to make a dataset of a format, and how to make it look as if a later version had written it."""

    make: Callable[[Path], Path]
    make_newer: Callable[[Path], None]
    version: str  # that the refusal names
    rate_hz: float | None = None  # for formats that do not say it


EXAMPLES = {
    "robofb": Example(robofb, newer_robofb, "99"),
    "diffusion_policy": Example(diffusion_policy, newer_zarr, "format 4", 10.0),
    "juicer": Example(juicer, newer_zarr, "format 4"),
    "juicer_raw": Example(juicer_raw, newer_pickle, "protocol: 9"),
    "robomimic": Example(robomimic, newer_hdf5, "version"),
    "lerobot": Example(lerobot, newer_lerobot, "v4.0"),
    "dppo": Example(dppo, newer_npz, "9.0", 10.0),
}
