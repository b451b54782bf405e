"""Checkpoints: whole or absent on disk, plain tensors inside, refused when damaged."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from robofb.errors import UserError
from robofb.files import file_errors, sha256_of, write_atomically

FORMAT = 1
_PLAIN = (bool, int, float, str, bytes)


def save(folder: Path, content: Mapping[str, Any], step: int, *, best: bool, keep: int) -> Path:
    """Write `folder/step_<step>.pt` and the pointers, then drop all but the last `keep` and the best.

    Raises:
        TypeError: where `content` holds more than tensors and plain Python values.
        UserError: where it cannot be written; earlier checkpoints and pointers are intact then.
    """
    _check_plain(content, "checkpoint")
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    with file_errors(f"cannot make {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step_{step:09d}.pt"
    write_atomically(path, buffer.getvalue())
    if best:  # first: killed after it, a run resumes before this step and chooses it once more
        write_atomically(folder / "best", path.name + "\n")
    write_atomically(folder / "latest", path.name + "\n")
    _prune(folder, keep)
    return path


def load(folder: Path, which: str | Path = "latest") -> dict[str, Any]:
    """Read a checkpoint onto the CPU: "latest", "best", a file name in `folder`, or a path.

    Raises:
        UserError: where it is missing, cut off, foreign or of another format; names the others.
    """
    path = _resolve(folder, which)
    others = [name for name in _names(folder) if name != path.name]
    hint = (
        f"; also in {folder}: {', '.join(others)}; resume takes the one named in its file latest"
        if others
        else ""
    )
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not look at the check sums
            if archive.testzip() is not None:
                raise zipfile.BadZipFile("wrong check sum")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"no checkpoint {path}: say latest or best{hint}") from error
    except OSError as error:
        raise UserError(f"cannot read checkpoint {path}: {error.strerror or error}{hint}") from error
    except Exception as error:  # torch raises a dozen types for damaged or foreign files
        raise UserError(f"checkpoint {path} is cut off, damaged or not one of robofb's{hint}") from error
    if not isinstance(content, dict) or "format" not in content:
        raise UserError(f"{path} is not a checkpoint of robofb: it has no format number{hint}")
    if content["format"] != FORMAT:
        raise UserError(f"{path} has checkpoint format {content['format']}; this robofb reads {FORMAT}{hint}")
    return content


def digest(folder: Path, which: str | Path = "latest") -> str:
    """Return the SHA-256 of a checkpoint's file, named as for `load`: equal where two machines hold the same.

    Raises:
        UserError: where it cannot be read.
    """
    path = _resolve(folder, which)
    with file_errors(f"cannot read checkpoint {path}"):
        return sha256_of(path)


def latest_step(folder: Path) -> int:
    """Return the step of the latest checkpoint, 0 where there is none."""
    digits = (_latest(folder) or "").removeprefix("step_").removesuffix(".pt")
    return int(digits) if digits.isdecimal() else 0


def any_saved(folder: Path) -> bool:
    """Return whether a folder holds a checkpoint, or a pointer to one."""
    return _latest(folder) is not None


def _latest(folder: Path) -> str | None:
    """Return the name of the latest checkpoint; where nothing points to it (a partial copy), the furthest."""
    if (pointed := _pointed(folder, "latest")) is not None:
        return pointed
    return max(_names(folder), key=lambda name: (len(name), name), default=None)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("step_*.pt"))


def _pointed(folder: Path, pointer: str) -> str | None:
    file = folder / pointer
    return file.read_text(errors="replace").strip() if file.is_file() else None


def _resolve(folder: Path, which: str | Path) -> Path:
    if str(which) in ("latest", "best"):
        name = _latest(folder) if str(which) == "latest" else _pointed(folder, "best")
        if not name:
            have = ", ".join(_names(folder)) or "none at all"
            raise UserError(f"no {which} checkpoint in {folder}; there: {have}")
        return folder / name
    inside = folder / which
    return inside if inside.is_file() else Path(which)


def _prune(folder: Path, keep: int) -> None:
    """Drop checkpoints by age of writing, so that a run resumed at an earlier step keeps its own."""
    kept = {_pointed(folder, "latest"), _pointed(folder, "best")}
    by_age = sorted(folder.glob("step_*.pt"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    for path in by_age[: max(0, len(by_age) - max(1, keep))]:
        if path.name not in kept:
            with file_errors(f"cannot remove {path}"):
                path.unlink()


def _check_plain(value: Any, where: str) -> None:
    """Refuse what `weights_only=True` would refuse to load, and say where it is."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_plain(item, f"{where}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check_plain(item, f"{where}[{index}]")
    elif not (value is None or isinstance(value, torch.Tensor) or type(value) in _PLAIN):
        raise TypeError(f"{where} is a {type(value).__name__}: only tensors and plain values load safely")
