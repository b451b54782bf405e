"""Random training batches from a dataset of camera images that does not fit into memory.

python benchmarks/store.py [--episodes 24] [--length 500] [--memory-gb 2] [--batch-size 256] [--folder DIR]

Writes a dataset of two 240x320 cameras below a temporary folder and removes it afterwards. Its content is
synthetic: a fixed random texture on a gradient, a textured square that moves, and one level of sensor noise
in a tenth of the pixels; `compressed_share` says how far the codec gets with it. Then it reads random windows
(two observations, a chunk of 32 actions) in several ways, each in a process of its own:

- stream: `Windows` with images=stream, a pool of --memory-gb;
- cache: `Windows` with images=cache (raw files, just written, so partly still in the system's page cache);
- plain: a DataLoader with one worker a core whose items read their rows through zarr;
- plain_one_process: the same without workers;
- plain_decoder: the same with robofb's chunk decoder, which costs less a call than zarr.

`windows_per_s` counts from the second batch on; `first_batch_s` holds what filling the pool or cache takes.
`peak_gb` is the process's largest resident memory less that before the dataset was opened (a DataLoader's
workers are not counted). `cpu_s_per_1000_windows` is the processor time of that process and its threads: it
says what a way costs where other programs slow it. `open_1000_episodes_s` opens a dataset of a thousand.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from results import save_result
from torch.utils.data import DataLoader, Dataset

from robofb.store.episodes import EpisodeStore
from robofb.store.flat_array import FlatArray
from robofb.store.image_reading import ImageReading
from robofb.store.windows import Windows
from robofb.types import SOURCE_HUMAN, ArraySpec, EnvSpec, Episode

CAMERAS, HEIGHT, WIDTH, HISTORY, HORIZON = ("image_front", "image_wrist"), 240, 320, 2, 32
LARGEST_STORE_BYTES = 15e9
SPEC = EnvSpec(
    task="two_cameras",
    obs={"state": ArraySpec((45,)), **{key: ArraySpec((3, HEIGHT, WIDTH), "uint8") for key in CAMERAS}},
    action=ArraySpec((10,)),
    control_dt=0.1,
    max_steps=500,
)


def frames(length: int, rng: np.random.Generator) -> np.ndarray:
    """Return (length, 3, H, W) uint8 of a textured scene in which a square moves."""
    ramp = np.linspace(40, 160, WIDTH)[None, None, :] + np.linspace(0, 40, HEIGHT)[None, :, None]
    scene = (ramp + rng.integers(0, 16, (3, HEIGHT, WIDTH))).astype(np.uint8)
    square = rng.integers(180, 230, (3, 60, 60), np.uint8)
    noise = (rng.random((8, 3, HEIGHT, WIDTH)) < 0.1).astype(np.uint8)
    video = np.empty((length, 3, HEIGHT, WIDTH), np.uint8)
    for t in range(length):
        top, left = 20 + t % 150, 20 + (2 * t) % 230
        video[t] = scene
        video[t, :, top : top + 60, left : left + 60] = square
        video[t] += np.roll(noise[t % 8], 7 * t, axis=2)
    return video


def write_store(folder: Path, episodes: int, length: int, cameras: Sequence[str] = CAMERAS) -> None:
    """Write a dataset."""
    rng = np.random.default_rng(0)
    with EpisodeStore.create(folder, SPEC.only(["state", *cameras])) as store:
        for _ in range(episodes):
            walk = rng.normal(size=(length + 1, 45)).cumsum(0).astype(np.float32)
            store.append(
                Episode(
                    obs={"state": walk, **{key: frames(length + 1, rng) for key in cameras}},
                    action=walk[1:, :10].copy(),
                    reward=np.zeros(length, np.float32),
                    terminated=True,
                    success=True,
                    timestamps=0.1 * np.arange(length + 1),
                    source=np.full(length, SOURCE_HUMAN, np.uint8),
                )
            )


class WindowDataset(Dataset):
    """One window per item, each read from the dataset's arrays when it is asked for."""

    def __init__(self, store: EpisodeStore, open_image: Callable[[Path], Any]) -> None:
        self.folder, self.open_image = store.path, open_image
        self.images: dict[str, Any] | None = None
        self.state, self.action = store.read("state"), store.read("action")
        ends = store.episode_ends
        self.last = np.repeat(ends - 1, store.episode_lengths)
        self.first = np.repeat(ends - store.episode_lengths, store.episode_lengths)

    def __len__(self) -> int:
        return len(self.action)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if self.images is None:  # in the worker
            self.images = {key: self.open_image(self.folder / "data" / key) for key in CAMERAS}
        past = slice(max(index - HISTORY + 1, self.first[index]), index + 1)
        future = np.minimum(np.arange(index, index + HORIZON), self.last[index])
        item = {key: self.filled(images[past]) for key, images in self.images.items()}
        return {**item, "state": self.filled(self.state[past]), "action": self.action[future]}

    @staticmethod
    def filled(rows: np.ndarray) -> np.ndarray:
        missing = HISTORY - len(rows)
        return np.concatenate([np.repeat(rows[:1], missing, axis=0), rows]) if missing else rows


class Decoder:
    """Lets a slice read rows of an image array with robofb's decoder."""

    def __init__(self, folder: Path) -> None:
        self.array = FlatArray(folder, SPEC.obs[folder.name])

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.array.read(rows.start, rows.stop)


def open_zarr(folder: Path) -> zarr.Array:
    """Open an image array to read."""
    return zarr.open_array(folder, mode="r")


def plain_batches(
    store: EpisodeStore, batch_size: int, open_image: Callable[[Path], Any], workers: int
) -> Generator[Any, None, None]:
    """Yield the batches of a DataLoader, epoch after epoch."""
    dataset = WindowDataset(store, open_image)
    loader = DataLoader(dataset, batch_size, shuffle=True, drop_last=True, num_workers=workers)
    while True:
        yield from loader


def our_batches(store: EpisodeStore, batch_size: int, reading: ImageReading) -> Generator[Any, None, None]:
    """Yield the batches of `Windows`."""
    windows = Windows(store, obs_history=HISTORY, horizon=HORIZON, images=reading)
    generator = torch.Generator().manual_seed(0)
    while True:
        yield windows.sample(batch_size, generator)


def resident_bytes(name: str) -> int:
    """Return a size of this process from the kernel's account, such as "VmRSS" (now) or "VmHWM" (at most)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name)))


def measure(way: str, options: argparse.Namespace) -> dict[str, float]:
    """Read batches in one way for the time allowed."""
    torch.set_num_threads(1)
    before = resident_bytes("VmRSS")
    start = time.perf_counter()
    store = EpisodeStore.open(options.data)
    opened = time.perf_counter()
    if way in ("stream", "cache"):
        reading = ImageReading(way, int(options.memory_gb * 1e9), options.data.parent / "cache", 2)
        batches = our_batches(store, options.batch_size, reading)
    else:
        open_image = Decoder if way == "plain_decoder" else open_zarr
        workers = 0 if way == "plain_one_process" else os.cpu_count() or 1
        batches = plain_batches(store, options.batch_size, open_image, workers)
    next(batches)
    first, cpu_first = time.perf_counter(), time.process_time()
    count = 0
    while count < 3 or time.perf_counter() - first < options.budget_s:
        next(batches)
        count += 1
    rate = count * options.batch_size / (time.perf_counter() - first)
    cpu = time.process_time() - cpu_first
    batches.close()  # ends the workers
    return {
        "open_s": opened - start,
        "first_batch_s": first - opened,
        "windows_per_s": rate,
        "peak_gb": (resident_bytes("VmHWM") - before) / 1e9,
        "cpu_s_per_1000_windows": 1000 * cpu / (count * options.batch_size),
    }


def open_seconds(folder: Path, episodes: int, length: int) -> float:
    """Return the time to open a dataset of many episodes; they hold no images, which opening never reads."""
    write_store(folder, episodes, length, cameras=())
    start = time.perf_counter()
    EpisodeStore.open(folder).close()
    return time.perf_counter() - start


def in_own_process(way: str, arguments: list[str]) -> dict[str, float]:
    """Run `measure` in a fresh process."""
    command = [sys.executable, __file__, "--way", way, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Write the dataset, read it in every way, in turns, and return the medians."""
    raw = options.episodes * options.length * len(CAMERAS) * 3 * HEIGHT * WIDTH
    free = shutil.disk_usage(folder).free
    if raw > min(LARGEST_STORE_BYTES, free / 2):
        raise SystemExit(
            f"{raw / 1e9:.3g} GB of images: at most {min(LARGEST_STORE_BYTES, free / 2) / 1e9:.3g}"
        )
    start = time.perf_counter()
    write_store(folder / "data", options.episodes, options.length)
    written = time.perf_counter() - start
    size = sum(file.stat().st_size for file in (folder / "data").rglob("*") if file.is_file())
    arguments = ["--data", str(folder / "data"), "--memory-gb", str(options.memory_gb)]
    arguments += ["--batch-size", str(options.batch_size), "--budget-s", str(options.budget_s)]
    names = ("stream", "plain", "plain_decoder", "plain_one_process", "cache")
    ways: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for way, results in ways.items():
            results.append(in_own_process(way, arguments))
    figures = {
        way: {name: statistics.median(result[name] for result in results) for name in results[0]}
        for way, results in ways.items()
    }
    figures["cache"]["first_batch_s_when_filling"] = ways["cache"][0]["first_batch_s"]
    rates = {way: values["windows_per_s"] for way, values in figures.items()}
    cpu = {way: figures[way]["cpu_s_per_1000_windows"] for way in ("stream", "plain_one_process")}
    for way in ("plain", "plain_decoder"):
        del figures[way]["cpu_s_per_1000_windows"]  # without their workers
    return {
        "open_1000_episodes_s": open_seconds(folder / "many", 1000, options.length),
        "ratio_stream_to_plain": rates["stream"] / rates["plain"],
        "ratio_stream_to_plain_decoder": rates["stream"] / rates["plain_decoder"],
        "ratio_cache_to_plain": rates["cache"] / rates["plain"],
        "ratio_stream_to_plain_cpu": cpu["plain_one_process"] / cpu["stream"],
        **figures,
        "raw_gb": raw / 1e9,
        "stored_gb": size / 1e9,
        "compressed_share": size / raw,
        "write_s": written,
        "episodes": options.episodes,
        "length": options.length,
        "batch_size": options.batch_size,
        "memory_gb": options.memory_gb,
    }


def main() -> None:
    """Measure, print one JSON line and save it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=24)
    parser.add_argument("--length", type=int, default=500)
    parser.add_argument("--memory-gb", type=float, default=2, help="for the pool of images")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--budget-s", type=float, default=10, help="time for each way and round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measure(options.way, options)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        save_result("store", compare(Path(folder), options))


if __name__ == "__main__":
    main()
