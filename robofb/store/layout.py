"""Names, attributes and first creation of a dataset folder; data/README.md is the schema in words."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robofb.errors import DamagedError, UserError
from robofb.normalize import is_image
from robofb.store.atomic import STAGING, replace_file, sync_tree
from robofb.store.flat_array import CHUNK_ROWS, IMAGE_CHUNK_ROWS, create_array
from robofb.store.index import INDEX_FILE, dump_index, load_index
from robofb.store.lock import LOCK_FILE, WriterLock
from robofb.types import SOURCE_NAMES, ArraySpec, EnvSpec

FORMAT = "robofb-episodes"
SCHEMA_VERSION = 1
ENDS = "meta/episode_ends"
ATTRIBUTES_FILE = ".zattrs"
UNFINISHED = "unfinished"  # attribute: the edit that is still writing the dataset, or was stopped
EDITS = "edits"  # key of the meta: the edits that led to the dataset, oldest first

_CREATING = ".creating"
_STEP_ARRAYS = {
    "reward": ArraySpec((), "float32", "1"),
    "source": ArraySpec((), "uint8", "index into 'sources'"),
    "timestamp": ArraySpec((), "float64", "s"),
}


def array_specs(spec: EnvSpec) -> dict[str, ArraySpec]:
    """Return the arrays of a dataset by their zarr path, without their row axis."""
    steps = {**spec.obs, "action": spec.action, **_STEP_ARRAYS}
    finals = {**spec.obs, "timestamp": _STEP_ARRAYS["timestamp"]}
    return {
        **{f"data/{key}": array for key, array in steps.items()},
        **{f"final/{key}": array for key, array in finals.items()},
        ENDS: ArraySpec((), "int64", "row"),
    }


def create_layout(
    root: Path, spec: EnvSpec, meta: dict[str, Any], unfinished: Mapping[str, Any] | None = None
) -> None:
    """Make an empty dataset in a vacant folder; interrupted, it leaves one that counts as vacant.

    Args:
        root: the folder.
        spec: what it holds.
        meta: what holds for all of it.
        unfinished: marks it so until `mark_finished`: "verb" and "episodes" to come.
    """
    try:
        check_keys(spec)
    except ValueError as error:
        raise UserError(str(error)) from None
    attributes = _attributes(spec, meta)
    if unfinished is not None:
        attributes[UNFINISHED] = dict(unfinished)
    check_vacant(root)
    root.mkdir(parents=True, exist_ok=True)
    lock = WriterLock(root)
    try:
        check_vacant(root)  # again, now that nobody else creates here
        (root / _CREATING).touch()
        _write_layout(root, spec, attributes)
        (root / _CREATING).unlink()
    finally:
        lock.release()


def check_dataset(root: Path) -> None:
    """Raise UserError, saying what is there instead, unless a folder is a dataset.

    Raises:
        DamagedError: it says that it is one, but its index is gone.
    """
    if not root.exists():
        raise UserError(f"{root}: no such dataset folder")
    if not root.is_dir():
        raise UserError(f"{root} is a file, not a dataset folder")
    if not any(root.iterdir()):
        raise UserError(f"{root} is an empty folder, not a dataset")
    if not (root / INDEX_FILE).exists() or not (root / ATTRIBUTES_FILE).exists():
        if is_begun(root):
            raise UserError(
                f"{root} is not a robofb dataset (making it was interrupted; it can be made again)"
            )
        if says_ours(root):
            raise DamagedError(f"{root / INDEX_FILE} is missing")
        missing = INDEX_FILE if (root / ATTRIBUTES_FILE).exists() else ATTRIBUTES_FILE
        raise UserError(f"{root} is not a robofb dataset ({missing} is missing)")


def says_ours(root: Path) -> bool:
    """Return whether the attributes of a folder say that it is a dataset of robofb, damaged or not."""
    try:
        attributes = json.loads((root / ATTRIBUTES_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(attributes, dict) and attributes.get("format") == FORMAT


def load_attributes(root: Path) -> dict[str, Any]:
    """Read a dataset's attributes and check that this version understands them."""
    path = root / ATTRIBUTES_FILE
    try:
        attributes = json.loads(path.read_bytes())
    except ValueError as error:
        raise DamagedError(f"cannot read {path} ({error})") from None
    if not isinstance(attributes, dict) or attributes.get("format") != FORMAT:
        raise UserError(f"{root} is a zarr folder but not a robofb dataset (format is not '{FORMAT}')")
    version = attributes.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UserError(f"{root} has dataset schema version {version}; this robofb reads {SCHEMA_VERSION}")
    return attributes


def stored_spec(root: Path, attributes: dict[str, Any]) -> EnvSpec:
    """Return the spec that a dataset's attributes hold, which must hold a meta too."""
    path = root / ATTRIBUTES_FILE
    if not isinstance(attributes.get("meta"), dict):
        raise DamagedError(f"{path} holds no sound meta ({attributes.get('meta')!r})")
    try:
        spec = EnvSpec.from_dict(attributes.get("spec", {}))
        check_keys(spec)
    except ValueError as error:
        raise DamagedError(f"{path} holds no sound spec ({error})") from None
    return spec


def rename_task(root: Path, task: str) -> None:
    """Change the task that a dataset's attributes name, atomically; its writer's lock must be held."""
    attributes = load_attributes(root)
    attributes["task"] = attributes["spec"]["task"] = task
    _replace_attributes(root, attributes)


def check_finished(root: Path, attributes: Mapping[str, Any], count: int) -> None:
    """Raise UserError where an edit has not finished a dataset that has `count` episodes by now."""
    mark = attributes.get(UNFINISHED)
    if mark is None:
        return
    if not isinstance(mark, dict) or not {"verb", "episodes"} <= mark.keys():
        raise DamagedError(f"{root / ATTRIBUTES_FILE} holds no sound mark '{UNFINISHED}' ({mark!r})")
    raise UserError(
        f"{root} is unfinished, with {count} of {mark['episodes']} episodes: "
        f"the same robofb data {mark['verb']} as before goes on with it"
    )


def mark_finished(root: Path) -> None:
    """Take the mark of an unfinished dataset away, atomically; its writer's lock must be held."""
    attributes = load_attributes(root)
    if attributes.pop(UNFINISHED, None) is not None:
        _replace_attributes(root, attributes)


def _replace_attributes(root: Path, attributes: Mapping[str, Any]) -> None:
    replace_file(root / ATTRIBUTES_FILE, json.dumps(attributes, indent=2).encode())


def is_begun(root: Path) -> bool:
    """Return whether the creation of a dataset in a folder was begun and not finished."""
    return (root / _CREATING).exists()


def vacate(root: Path) -> bool:
    """Let the folder of a dataset without episodes count as vacant; return whether it does now.

    It does not where it holds anything else than the dataset, which a new one would remove.

    Raises:
        UserError: another process writes it.
    """
    try:
        lock = WriterLock(root)
    except OSError:
        return False  # whoever opens it to append says why
    try:
        own = {_CREATING, STAGING, LOCK_FILE, INDEX_FILE, ATTRIBUTES_FILE, ".zgroup", "data", "final", "meta"}
        if load_index(root) or {entry.name for entry in root.iterdir()} - own:
            return False
        (root / _CREATING).touch()
        return True
    finally:
        lock.release()


def finish_creation(root: Path) -> None:
    """Forget that a folder was being created, so that `create_layout` leaves it alone."""
    (root / _CREATING).unlink(missing_ok=True)


def _attributes(spec: EnvSpec, meta: dict[str, Any]) -> dict[str, Any]:
    units = {name: array.unit for name, array in array_specs(spec).items()}
    attributes = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "task": spec.task,
        "spec": spec.to_dict(),
        "units": units,
        "frames": meta.get("frames", "the name of each element in spec carries its frame"),
        "rotation": "quaternions wxyz; 6D rotations are the first two columns of the matrix",
        "control_rate_hz": 1.0 / spec.control_dt,
        "sources": list(SOURCE_NAMES),
        "meta": meta,
    }
    try:
        json.dumps(attributes, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(f"dataset meta or spec is not JSON-ready ({error})") from None
    return attributes


def check_keys(spec: EnvSpec) -> None:
    """Raise ValueError unless every observation may be the name of an array, which no path out of it is."""
    for key in spec.obs:
        if key in _STEP_ARRAYS or key == "action":
            taken = ", ".join(["action", *_STEP_ARRAYS])
            raise ValueError(f"observation key '{key}' is taken; choose another than {taken}")
        if not re.fullmatch(r"\w[\w.-]*", key):
            raise ValueError(f"observation key '{key}' may hold only letters, digits, '_', '-' and '.'")


def check_vacant(root: Path) -> None:
    """Raise UserError unless a dataset can be created in a folder: it is absent, empty or was begun."""
    if not root.exists():
        return
    if not root.is_dir():
        raise UserError(f"{root} is a file: cannot create a dataset there")
    names = {entry.name for entry in root.iterdir()} - {LOCK_FILE}
    if _CREATING in names or not names:
        return
    if INDEX_FILE in names:
        raise UserError(f"{root} already holds a dataset: open it for append or choose another folder")
    raise UserError(f"{root} is not empty: choose another folder for the dataset")


def _write_layout(root: Path, spec: EnvSpec, attributes: dict[str, Any]) -> None:
    import zarr  # slow to import, needed only here

    for entry in root.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name not in (_CREATING, LOCK_FILE):
            entry.unlink()
    group = zarr.open_group(root, mode="a", zarr_format=2, attributes=attributes)
    for name, array in array_specs(spec).items():
        rows = IMAGE_CHUNK_ROWS if is_image(array) else CHUNK_ROWS
        create_array(group, name, array.shape, array.dtype, rows)
    sync_tree(root)
    replace_file(root / INDEX_FILE, dump_index([]))
