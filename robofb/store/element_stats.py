"""What `robofb data stats` prints: the statistics of every element by name and unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from robofb.normalize import low_dim_specs
from robofb.store.episodes import EpisodeStore
from robofb.types import ArraySpec

_NUMBERS = ("min", "max", "mean", "std")


def element_stats(path: str | Path) -> dict[str, Any]:
    """Return the statistics of a dataset's low-dimensional arrays and its lengths, JSON-ready.

    Taken over the steps at which an action was chosen; lengths are actions in an episode.

    Returns:
        "elements": for each one key, name, unit, min, max, mean, std; "lengths": the same four in steps,
        and "episodes", "steps".

    Raises:
        UserError: no sound dataset there, or one without episodes.
    """
    with EpisodeStore.open(path) as store:
        stats, lengths = store.stats(), store.episode_lengths
        elements = [
            {
                "key": key,
                "name": name,
                "unit": array.unit,
                **{number: float(stats[key][number].flat[index]) for number in _NUMBERS},
            }
            for key, array in low_dim_specs(store.spec).items()
            for index, name in enumerate(_names(key, array))
        ]
    return {
        "path": str(path),
        "episodes": len(lengths),
        "steps": int(lengths.sum()),
        "lengths": {name: float(getattr(lengths, name)()) for name in _NUMBERS},
        "elements": elements,
    }


def _names(key: str, array: ArraySpec) -> list[str]:
    """Return the elements' names; where there are none, the key and the element's number."""
    return list(array.names) or [f"{key}[{index}]" for index in range(int(np.prod(array.shape)))]


def format_stats(found: dict[str, Any]) -> str:
    """Return the output of `element_stats` as a table, one line for each element."""
    lengths = found["lengths"]
    rows = [("length", "steps", lengths)] + [(row["name"], row["unit"], row) for row in found["elements"]]
    width = max(len(name) for name, _, _ in rows)
    lines = [f"{found['path']}: {found['episodes']} episodes, {found['steps']} steps"]
    lines.append(f"{'name':<{width}}" + "".join(f"  {number:>10}" for number in _NUMBERS) + "  unit")
    for name, unit, row in rows:
        values = "".join(f"  {row[number]:>10.4g}" for number in _NUMBERS)
        lines.append(f"{name:<{width}}{values}  {unit}")
    return "\n".join(lines)
