"""What `robofb data info` prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robofb.normalize import is_image
from robofb.provenance import MADE_WITH
from robofb.store.episodes import EpisodeStore
from robofb.store.layout import EDITS
from robofb.types import SOURCE_NAMES, ArraySpec


def describe(path: str | Path) -> dict[str, Any]:
    """Return the facts of a dataset, JSON-ready.

    Raises:
        UserError: no sound dataset there.
    """
    with EpisodeStore.open(path) as store:
        source = store.read("source")
        seconds = _seconds(store)
        steps = int(store.episode_lengths.sum())
        return {
            "path": str(path),
            "task": store.spec.task,
            "episodes": len(store),
            "successes": int(store.successes.sum()),
            "steps": steps,
            "seconds": seconds,
            "control_rate_hz": 1.0 / store.spec.control_dt,
            "measured_rate_hz": steps / seconds if seconds > 0 else None,
            "lengths": _lengths(store),
            "arrays": {
                key: {
                    "shape": list(array.shape),
                    "dtype": array.dtype,
                    "unit": array.unit,
                    **_range(store, key, array),
                }
                for key, array in {**store.spec.obs, "action": store.spec.action}.items()
            },
            "sources": {
                name: int((source == flag).sum()) for flag, name in enumerate(SOURCE_NAMES) if flag in source
            },
            "bytes": folder_bytes(Path(path)),
            "recorded_with": _recorded_with(store.meta),
            "meta": store.meta,
        }


def format_info(info: dict[str, Any]) -> str:
    """Return the output of `describe` as aligned lines."""
    rate = f"{info['control_rate_hz']:g} Hz declared"
    if info["measured_rate_hz"] is not None:
        rate += f", {info['measured_rate_hz']:.2f} Hz by timestamps"
    share = {name: f"{count / info['steps']:.1%} {name}" for name, count in info["sources"].items()}
    rows = [
        ("dataset", info["path"]),
        ("task", info["task"]),
        ("episodes", f"{info['episodes']} ({info['successes']} successful)"),
        ("steps", f"{info['steps']} ({info['seconds']:.1f} s)"),
        ("episode length", _format_lengths(info["lengths"])),
        ("control rate", rate),
        ("sources", ", ".join(share.values()) or "none"),
        ("size on disk", format_bytes(info["bytes"])),
    ]
    for key, array in info["arrays"].items():
        shape = "x".join(map(str, array["shape"])) or "scalar"
        text = f"{shape} {array['dtype']} [{array['unit'] or 'unit not given'}]"
        if "min" in array:
            text += f", {min(array['min']):.4g} to {max(array['max']):.4g}"
        rows.append((key, text))
    rows += [("made by", _format_edit(edit)) for edit in info["meta"].get(EDITS, [])]
    if EDITS in info["meta"]:
        rows += [("recorded with", _format_versions(versions)) for versions in info["recorded_with"]]
    rows += _format_meta("meta", {key: value for key, value in info["meta"].items() if key != EDITS})
    width = max(len(label) for label, _ in rows)
    return "\n".join(f"{label:<{width}}  {text}" for label, text in rows)


def _format_edit(edit: dict[str, Any]) -> str:
    """Return one line such as "merge of data/a, data/b: 20 episodes"."""
    datasets = ", ".join(origin["dataset"] for origin in edit["from"])
    return f"{edit['verb']} of {datasets}: {edit['episodes']} episodes"


def _recorded_with(meta: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return, each once, the versions that recorded a dataset: of an edited one, its first sources'."""
    if not meta.get(EDITS):
        return [meta[MADE_WITH]] if MADE_WITH in meta else []
    found: list[dict[str, Any]] = []
    for origin in meta[EDITS][0]["from"]:
        found += [versions for versions in _recorded_with(origin["meta"]) if versions not in found]
    return found


def _format_versions(versions: Mapping[str, Any]) -> str:
    """Return one line such as "robofb 0.1, commit 1a2b, with changes"."""
    words = [f"{name} {value}" for name, value in versions.items() if name != "dirty"]
    return ", ".join([*words, "with changes"] if versions.get("dirty") else words)


def _lengths(store: EpisodeStore) -> dict[str, float]:
    """Return the shortest, middle and longest episode in steps."""
    lengths = store.episode_lengths
    if not len(lengths):
        return {}
    return {"min": int(lengths.min()), "median": float(np.median(lengths)), "max": int(lengths.max())}


def _format_lengths(lengths: dict[str, float]) -> str:
    if not lengths:
        return "no episodes"
    return f"{lengths['min']:g} to {lengths['max']:g} steps, median {lengths['median']:g}"


def _range(store: EpisodeStore, key: str, array: ArraySpec) -> dict[str, list[float]]:
    """Return the least and the largest value of each element (flattened); nothing for images."""
    if is_image(array) or not len(store):
        return {}
    rows = store.read(key).reshape(int(store.episode_lengths.sum()), -1)
    return {"min": rows.min(0).tolist(), "max": rows.max(0).tolist()}


def _format_meta(name: str, value: Any) -> list[tuple[str, str]]:
    """Return one row for each plain value, named by its path."""
    if not isinstance(value, dict):
        return [(name, str(value))]
    return [row for key, inner in value.items() for row in _format_meta(f"{name} {key}", inner)]


def _seconds(store: EpisodeStore) -> float:
    if not len(store):
        return 0.0
    first = store.read("timestamp")[store.episode_ends - store.episode_lengths]
    return float(np.sum(store.finals("timestamp") - first))


def folder_bytes(path: Path) -> int:
    """Return the size of all files below a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def format_bytes(count: int) -> str:
    """Return a size with three digits or so and its decimal unit."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000.0:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000.0
    return f"{size:.1f} TB"
