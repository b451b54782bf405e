"""Images decoded once into raw files on disk, from which random frames read fast."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.progress import progress_bar
from robofb.store.atomic import explain, replace_file, sync
from robofb.store.episodes import EpisodeStore
from robofb.store.flat_array import FlatArray
from robofb.store.frames import wait_all
from robofb.store.lock import WriterLock

KEPT_UNUSED_S = 30 * 86_400.0
SPARE_BYTES = 10**9  # of the disk, left to everybody else
SYNC_BYTES = 256 * 10**6  # decoded again at most, after a kill
USERS_FILE = ".users"  # locked (shared) by every process that reads the entry; its mtime is the last use
INFO_FILE = "info.json"


class CachedFrames:
    """Read image rows of several datasets, numbered through all of them, from raw files.

    An entry of the cache is a folder named by a hash of the dataset's content; a dataset that changed gets a
    new one. An entry is filled in steps that survive a kill. It is removed when no process uses it and its
    dataset changed, 30 days have passed, or a new entry needs the room.

    Args:
        root: folder of the cache; made where missing.
        stores: the datasets; not needed afterwards. All hold the same `keys`.
        keys: the image observations.
        threads: that decode and read side by side.

    Raises:
        UserError: the disk lacks room, or another process fills the same entry right now.
    """

    def __init__(self, root: Path, stores: Sequence[EpisodeStore], keys: Sequence[str], threads: int) -> None:
        self.keys = tuple(keys)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="frames")
        self._num_threads = threads
        self._first_row = np.cumsum([0, *(int(store.episode_lengths.sum()) for store in stores)])
        self._shapes = {key: stores[0].spec.obs[key].shape for key in keys}
        self._users: list[int] = []  # file handles that hold the shared locks
        self._files: dict[str, list[int]] = {key: [] for key in keys}
        try:
            root.mkdir(parents=True, exist_ok=True)
            for store in stores:
                folder = self._claim(root, store, keys)
                for key in keys:
                    self._files[key].append(os.open(self._filled(folder, store, key), os.O_RDONLY))
        except OSError as error:
            self.close()
            raise UserError(explain(error, f"cannot cache images in {root}")) from None
        except BaseException:
            self.close()
            raise

    def gather(self, key: str, rows: Tensor) -> Tensor:
        """Return the images (B, To, C, H, W) of `rows` (B, To) int64."""
        wanted = rows.cpu().numpy().ravel()
        dataset = np.searchsorted(self._first_row, wanted, side="right") - 1
        inside = wanted - self._first_row[dataset]
        found = np.empty((len(wanted), *self._shapes[key]), np.uint8)

        def read(part: np.ndarray) -> None:
            for place in part.tolist():
                handle, image = self._files[key][dataset[place]], found[place]
                if os.preadv(handle, [image], int(inside[place]) * image.nbytes) != image.nbytes:
                    raise UserError(f"the cached images '{key}' were cut off by somebody: start again")

        parts = np.array_split(np.arange(len(wanted)), self._num_threads)
        wait_all([self._threads.submit(read, part) for part in parts])
        return torch.from_numpy(found).unflatten(0, rows.shape)

    def close(self) -> None:
        """Let go of the files; safe twice."""
        self._threads.shutdown()
        for handle in [*self._users, *(handle for files in self._files.values() for handle in files)]:
            os.close(handle)
        self._users, self._files = [], {key: [] for key in self._files}

    def _claim(self, root: Path, store: EpisodeStore, keys: Sequence[str]) -> Path:
        """Lock the entry of a dataset against removal and make room for what it lacks."""
        name = content_name(store, keys)
        folder = root / name
        with _only_one(root):
            folder.mkdir(exist_ok=True)
            if not (folder / INFO_FILE).exists():
                info = {"dataset": str(store.path.resolve()), "images": list(keys)}
                replace_file(folder / INFO_FILE, json.dumps(info).encode())
            self._users.append(os.open(folder / USERS_FILE, os.O_RDWR | os.O_CREAT))
            fcntl.flock(self._users[-1], fcntl.LOCK_SH)
            os.utime(folder / USERS_FILE)
            needed = image_bytes([store], keys) - held_bytes(root, [store], keys)
            _make_room(root, needed, str(store.path.resolve()))
            if needed > 0 and free_bytes(root) < needed:
                raise UserError(
                    f"{root}: the images of {store.path} need {needed / 1e9:.3g} GB, the disk has "
                    f"{max(free_bytes(root), 0) / 1e9:.3g} GB to spare: set cache_dir to another disk, or "
                    "images=stream"
                )
        return folder

    def _filled(self, folder: Path, store: EpisodeStore, key: str) -> Path:
        """Return the raw file of an observation; decode what it lacks."""
        path = folder / f"{key}.raw"
        if not path.exists():
            lock = WriterLock(folder)
            try:
                _fill(
                    path,
                    FlatArray(store.path / "data" / key, store.spec.obs[key]),
                    int(store.episode_lengths.sum()),
                    self._threads,
                )
            finally:
                lock.release()
        return path


def image_bytes(stores: Sequence[EpisodeStore], keys: Sequence[str]) -> int:
    """Return the size of the decoded images of some datasets."""
    row = sum(int(np.prod(stores[0].spec.obs[key].shape)) for key in keys)
    return row * sum(int(store.episode_lengths.sum()) for store in stores)


def held_bytes(root: Path, stores: Sequence[EpisodeStore], keys: Sequence[str]) -> int:
    """Return how much of the decoded images of some datasets a cache holds already."""
    folders = [root / content_name(store, keys) for store in stores]
    return sum(file.stat().st_size for folder in folders if folder.is_dir() for file in folder.iterdir())


def free_bytes(folder: Path) -> int:
    """Return how much the disk of a folder (or of what will hold it) has to spare."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free - SPARE_BYTES


def content_name(store: EpisodeStore, keys: Sequence[str]) -> str:
    """Return a name that changes with a dataset's place, episodes or image files (size, time of change)."""
    digest = hashlib.sha256(str(store.path.resolve()).encode())
    digest.update(repr((store.spec.to_dict(), store.episode_ends.tolist())).encode())
    for key in sorted(keys):
        with os.scandir(store.path / "data" / key) as files:
            facts = sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
        digest.update(repr((key, facts)).encode())
    return f"{store.path.resolve().name}-{digest.hexdigest()[:16]}"


def _fill(path: Path, array: FlatArray, num_rows: int, threads: ThreadPoolExecutor) -> None:
    """Decode an array into `path`, from where a killed process left off."""
    part, progress = path.with_suffix(".part"), path.with_suffix(".progress")
    row_bytes = int(np.prod(array.row_shape))
    done = int(progress.read_text()) if progress.exists() and part.exists() else 0
    step = max(1, SYNC_BYTES // (array.chunk_rows * row_bytes)) * array.chunk_rows
    bar = progress_bar(
        num_rows, f"decoding {path.stem} into {path.parent.parent}", "frame", done, delay_s=2.0
    )
    with open(part, "r+b" if part.exists() else "w+b") as file, bar:
        file.truncate(done * row_bytes)
        file.seek(done * row_bytes)
        while done < num_rows:
            spans = array.spans(done, min(done + step, num_rows))
            for (chunk, first, last), images in zip(
                spans, threads.map(array.decode_chunk, [span[0] for span in spans]), strict=True
            ):
                base = chunk * array.chunk_rows
                file.write(images[first - base : last - base].data)
                bar.update(last - first)
            done = spans[-1][2]
            file.flush()
            os.fsync(file.fileno())
            replace_file(progress, str(done).encode())
    os.replace(part, path)
    sync(path.parent)
    progress.unlink(missing_ok=True)


def _make_room(root: Path, needed: int, dataset: str) -> None:
    """Remove unused entries: of this dataset as it was, old ones, then the least recently used for room."""
    entries = [folder for folder in root.iterdir() if (folder / USERS_FILE).exists()]
    for folder in sorted(entries, key=lambda folder: (folder / USERS_FILE).stat().st_mtime):
        old = time.time() - (folder / USERS_FILE).stat().st_mtime > KEPT_UNUSED_S
        if old or _dataset_of(folder) == dataset or free_bytes(root) < needed:
            handle = os.open(folder / USERS_FILE, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            except BlockingIOError:
                pass  # somebody, perhaps this very process, reads it
            finally:
                os.close(handle)


def _dataset_of(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / INFO_FILE).read_text())["dataset"])
    except (OSError, ValueError, KeyError):
        return None


@contextlib.contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Let one process at a time look for entries and remove some."""
    handle = os.open(root / ".lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
