"""Statistics as LeRobotDataset v3.0 keeps them, by episode and merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robofb.store.lerobot import PICTURES

Stats = dict[str, dict[str, np.ndarray]]
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
IMAGE_SAMPLES = 50  # frames of an episode that its image statistics are taken of


def episode_stats(columns: Mapping[str, np.ndarray], features: Mapping[str, Any]) -> Stats:
    """Return min, max, mean, std, count and quantiles of each feature.

    Numbers: by element. Images (T, H, W, C): by channel, (C, 1, 1), scaled to 0..1, of some frames.
    """
    result: Stats = {}
    for name, rows in columns.items():
        if features[name]["dtype"] not in PICTURES:
            result[name] = _stats(rows.astype(np.float64), len(rows))
            continue
        chosen = np.unique(np.linspace(0, len(rows) - 1, IMAGE_SAMPLES).round().astype(int))
        pixels = rows[chosen].reshape(-1, rows.shape[-1]) / 255.0
        stats = _stats(pixels, len(chosen))
        result[name] = {
            kind: value if kind == "count" else value[:, None, None] for kind, value in stats.items()
        }
    return result


def merged_stats(episodes: Sequence[Stats]) -> Stats:
    """Return the statistics of several episodes together.

    Exact but for the quantiles, which are averages of the episodes' quantiles weighted by count.
    """
    return {
        name: _merged([episode[name] for episode in episodes]) for name in (episodes[0] if episodes else ())
    }


def _stats(rows: np.ndarray, count: int) -> dict[str, np.ndarray]:
    stats = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    quantiles = {name: np.quantile(rows, share, axis=0) for name, share in QUANTILES.items()}
    return {**stats, "count": np.array([count]), **quantiles}


def _merged(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    counts = np.array([part["count"][0] for part in parts])
    total = counts.sum()

    def average(values: list[np.ndarray]) -> np.ndarray:
        return np.tensordot(counts / total, np.stack(values), 1)

    mean = average([part["mean"] for part in parts])
    variance = average([part["std"] ** 2 + (part["mean"] - mean) ** 2 for part in parts])
    return {
        "min": np.min([part["min"] for part in parts], 0),
        "max": np.max([part["max"] for part in parts], 0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": np.array([total]),
        **{name: average([part[name] for part in parts]) for name in QUANTILES},
    }
