"""A run: one folder that holds everything about one training or evaluation job.

    config.yaml  meta.json  metrics.jsonl  train.log  summary.json  evaluations.jsonl  report.html  videos/
    checkpoints/step_000001000.pt ...  and the files `latest` and `best`, which name one of them

The folder is complete in itself: it can be copied to another machine and opened there.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from robofb import checkpoint, provenance, wandb_mirror
from robofb.errors import UserError
from robofb.files import append_line, file_errors, write_atomically
from robofb.metrics_file import read_metrics
from robofb.store.lock import LOCK_FILE, WriterLock

_BEGUN = {"config.yaml", "train.log", LOCK_FILE}  # what a run killed while it was made may leave


def new_run_path(task: str, method: str, seed: int, root: str | Path = "runs") -> Path:
    """Make and return an empty folder `root/<task>-<method>/<date>-s<seed>`, never one in use."""
    parent = Path(root) / f"{task}-{method}"
    name = f"{datetime.now():%Y-%m-%d-%H%M%S}-s{seed}"
    with file_errors(f"cannot make a run folder in {parent}"):
        parent.mkdir(parents=True, exist_ok=True)
        attempt = 1
        while True:
            path = parent / (name if attempt == 1 else f"{name}-{attempt}")
            try:
                path.mkdir()
            except FileExistsError:
                attempt += 1
            else:
                return path


def plain(value: Any) -> Any:
    """Return JSON-ready values: numbers of numpy and torch unwrapped, nan and inf as text.

    Takes mappings (a DictConfig too), dataclasses, sequences, paths and scalars.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _merge(old: dict[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in new.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def a_run(kind: str) -> str:
    """Return how a sentence speaks of a run of some kind."""
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind} run"


class Run:
    """One run folder, open for logging. Use `create` or `open`; leave the `with` block to close."""

    rank = 0  # of the process, where several train together: the first one writes

    def __init__(self, path: Path, config: dict[str, Any], kind: str) -> None:
        self.path = path
        self.config = config
        self.kind = kind
        self._started = time.monotonic()
        self._seconds_before = 0.0
        self._log_handler: logging.Handler | None = None
        self._lock: WriterLock | None = None
        self._wandb: Any = None

    @property
    def sort(self) -> str:
        """What it is, in a sentence: "a bc run", "an agents run"."""
        return a_run(self.kind)

    @classmethod
    def create(cls, path: str | Path, config: Any, kind: str) -> Run:
        """Start a run in a new or empty folder.

        Args:
            path: folder of the run; see `new_run_path`.
            config: mapping or dataclass of plain values, all that is needed to do this again.
            kind: what the run holds, such as "bc" or "residual".

        Raises:
            UserError: where the folder holds files already, cannot be written, or another process writes it.
        """
        path = Path(path)
        values: dict[str, Any] = plain(config)
        wandb_mirror.check_mode(values.get("wandb", "off"))
        meta = json.dumps({"kind": kind, **provenance.describe()}, indent=1)
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        with file_errors(f"cannot make the run folder {path}"):
            path.mkdir(parents=True, exist_ok=True)
            if {entry.name for entry in path.iterdir()} - _BEGUN:
                raise UserError(
                    f"run folder {path} is not empty: continue it with resume={path}, or give another out="
                )
        run = cls(path, values, kind)
        with run._attached():
            write_atomically(path / "config.yaml", text)
            write_atomically(path / "meta.json", meta)
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run that exists, to read it or to continue it.

        Raises:
            UserError: where there is no run, or its files are damaged.
        """
        path = Path(path)
        if not (path / "config.yaml").is_file() or not (path / "meta.json").is_file():
            inside = sorted(str(found.parent) for found in path.glob("**/config.yaml"))[:5]
            hint = f"; runs inside it: {', '.join(inside)}" if inside else ""
            missing = "no such folder" if not path.is_dir() else "not a run folder (config.yaml, meta.json)"
            raise UserError(f"no run at {path}: {missing}{hint}")
        try:
            config = yaml.safe_load((path / "config.yaml").read_text())
            kind = json.loads((path / "meta.json").read_text())["kind"]
            if not isinstance(config, dict):
                raise ValueError("config.yaml holds no settings")
        except (yaml.YAMLError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"run {path} is damaged: {str(error).splitlines()[0]}") from error
        return cls(path, config, kind)

    def resume(self, wandb: str | None = None) -> Run:
        """Go on writing to a run that was opened: log, metrics and clock continue.

        Args:
            wandb: how to mirror to W&B from now on; as the config says where None.

        Raises:
            UserError: `wandb` is none of `wandb_mirror.MODES`, or the folder cannot be written.
        """
        if wandb is not None:
            wandb_mirror.check_mode(wandb)
            self.config = {**self.config, "wandb": wandb}
        with self._attached():
            meta = json.loads((self.path / "meta.json").read_text())
            meta.setdefault("resumed", []).append(provenance.describe())
            write_atomically(self.path / "meta.json", json.dumps(meta, indent=1))
            self._seconds_before = max((row["seconds"] for row in self.metrics()), default=0.0)
            step = checkpoint.latest_step(self.path / "checkpoints") if self.has_checkpoint else -1
            append_line(self.path / "metrics.jsonl", json.dumps({"resumed_at": step}))
        return self

    @contextmanager
    def _attached(self) -> Iterator[None]:
        """Become the folder's one writer, let the caller write, then mirror to W&B; or let go again."""
        try:
            self._attach()
            yield
            if self.config.get("wandb", "off") != "off":
                self._wandb = wandb_mirror.start(self.path, self.config, self.meta["id"])
        except BaseException:
            self.close()
            raise

    def _attach(self) -> None:
        """Take the folder's lock and copy what the package logs to train.log."""
        with file_errors(f"cannot write to the run folder {self.path}"):
            self._lock = WriterLock(self.path)
            self._log_handler = logging.FileHandler(self.path / "train.log", encoding="utf-8")
        self._log_handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger = logging.getLogger("robofb")
        logger.addHandler(self._log_handler)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)

    @property
    def meta(self) -> dict[str, Any]:
        """Git commit, versions, machine, command line and start of the run."""
        return dict(json.loads((self.path / "meta.json").read_text()))

    @property
    def videos(self) -> Path:
        """The folder for videos, made on first use."""
        with file_errors(f"cannot make {self.path / 'videos'}"):
            (self.path / "videos").mkdir(exist_ok=True)
        return self.path / "videos"

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Append one line of metrics at `step`; adds the seconds this run has worked.

        Raises:
            UserError: where the file cannot be written.
        """
        seconds = self._seconds_before + time.monotonic() - self._started
        row = {"step": int(step), "seconds": round(seconds, 3), **plain(metrics)}
        append_line(self.path / "metrics.jsonl", json.dumps(row))
        if self._wandb is not None:
            self._wandb.log({key: float(value) for key, value in metrics.items()}, step=int(step))

    def metrics(self) -> list[dict[str, Any]]:
        """Return the logged rows in order of step; see `read_metrics`."""
        return read_metrics(self.path / "metrics.jsonl")

    def save_checkpoint(self, state: Mapping[str, Any], step: int, best: bool = False, keep: int = 3) -> Path:
        """Save a checkpoint, point `latest` (and `best`) at it, and drop all but the last `keep`.

        Args:
            state: "spec", "policy" and whatever the trainer needs to continue; only tensors and
                plain Python values, so that it loads with `weights_only=True`.
            step: training step, part of the file's name.
            best: also make this the best checkpoint; the best one is never dropped.
            keep: how many of the latest checkpoints stay.

        Raises:
            UserError: where it cannot be written; what was saved before stays as it was.
        """
        content = {"kind": self.kind, "step": int(step), "config": self.config, **state}
        return checkpoint.save(self.path / "checkpoints", content, step, best=best, keep=keep)

    def load_checkpoint(self, which: str | Path = "latest") -> dict[str, Any]:
        """Return a checkpoint on the CPU: "latest", "best", or a path (of any run of this kind).

        Raises:
            UserError: where it is missing, cut off, foreign, of another format or of a run of another kind.
        """
        content = checkpoint.load(self.path / "checkpoints", which)
        if content.get("kind") != self.kind:
            other = a_run(str(content.get("kind")))
            raise UserError(f"checkpoint {which} is of {other}; {self.path} is {self.sort}")
        return content

    def checkpoint_digest(self, which: str | Path = "latest") -> str:
        """Return the SHA-256 of a checkpoint's file, named as for `load_checkpoint`.

        Raises:
            UserError: where it cannot be read.
        """
        return checkpoint.digest(self.path / "checkpoints", which)

    @property
    def has_checkpoint(self) -> bool:
        """Whether anything can be resumed from."""
        return checkpoint.any_saved(self.path / "checkpoints")

    def reconfigure(self, config: Mapping[str, Any]) -> None:
        """Replace config.yaml by what the run goes on with."""
        self.config = plain(config)
        text = yaml.safe_dump(self.config, sort_keys=False, allow_unicode=True)
        write_atomically(self.path / "config.yaml", text)

    def summary(self) -> dict[str, Any]:
        """Return what `write_summary` has gathered, empty at first."""
        path = self.path / "summary.json"
        try:
            return dict(json.loads(path.read_text())) if path.is_file() else {}
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} is damaged: {str(error).splitlines()[0]}") from error

    def write_summary(self, values: Mapping[str, Any]) -> None:
        """Merge values into summary.json, nested dictionaries key by key, in one atomic step."""
        merged = _merge(self.summary(), plain(values))
        write_atomically(self.path / "summary.json", json.dumps(merged, indent=1) + "\n")
        if self._wandb is not None:
            self._wandb.summary.update(merged)

    def close(self) -> None:
        """Close log and mirror, let go of the folder; safe twice."""
        if self._log_handler is not None:
            logging.getLogger("robofb").removeHandler(self._log_handler)
            self._log_handler.close()
            self._log_handler = None
        if self._wandb is not None:
            self._wandb.finish()
            self._wandb = None
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def is_run(path: str | os.PathLike[str]) -> bool:
    """Tell whether a folder holds a run."""
    return (Path(path) / "config.yaml").is_file() and (Path(path) / "meta.json").is_file()
