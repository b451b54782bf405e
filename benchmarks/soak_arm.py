"""An arm of Universal Robots that writes down what it is told, and what of that came to its box."""

from __future__ import annotations

import math
import struct
import time
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from motion_bounds import shares_of
from peers import HEARD

from robofb.deploy.arms.arm import ArmTarget
from robofb.deploy.arms.ur import UrArm, pose_of, tool_of
from robofb.deploy.limits import Limits
from robofb.deploy.live.bench import SEEN, RealBench

TOLD, CAME = "told", "came"
_NUMBERS = struct.calcsize(HEARD) // 8


class WrittenUr(UrArm):
    """Appends every set-point to a file, and a row of NaN for each stop.

    Args:
        folder: of the file.
        settings: of a `UrArm`.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(**settings)
        self._told = (folder / TOLD).open("ab", buffering=0)

    def command(self, target: ArmTarget) -> ArmTarget:
        """Write it down, then send it."""
        self._told.write(struct.pack(HEARD, time.monotonic(), *tool_of(target.pose)))
        return super().command(target)

    def stop(self) -> None:
        """What was sent before it and after it do not hang together."""
        self._told.write(struct.pack(HEARD, *[math.nan] * _NUMBERS))
        super().stop()


@dataclass(frozen=True)
class WrittenUrPlace:
    """Makes the bench of a `WrittenUr`.

    Attributes:
        folder: of the files.
        settings: of the arm, but for its gripper: it has none.
        hz: set-points a second.
    """

    folder: Path
    settings: dict[str, Any]
    hz: float

    def make(self) -> RealBench:
        """Return it."""
        return RealBench(WrittenUr(self.folder, **self.settings), self.hz, SEEN)


def read(folder: Path, name: str) -> np.ndarray:
    """Return the rows (n, 7) of a file: time of this machine [s], then x, y, z [m] and a rotation vector."""
    data = (folder / name).read_bytes()
    size = struct.calcsize(HEARD)
    return np.frombuffer(data[: len(data) // size * size], "<f8").reshape(-1, _NUMBERS)


def matched(told: np.ndarray, came: np.ndarray) -> tuple[list[int], int, int]:
    """Find what came among what was told before, in the same order, to the last bit.

    Returns:
        For each set-point that came its row in `told`, -1 where it is that before it once more or no such
        thing was told; how many came once more; of how many nothing is known.
    """
    places: dict[bytes, list[int]] = {}
    for row, numbers in enumerate(told):
        places.setdefault(numbers[1:].tobytes(), []).append(row)
    newest, rows, again, foreign = -1, [], 0, 0
    for numbers in came:
        where = places.get(numbers[1:].tobytes(), [])
        following = bisect_right(where, newest)
        if following < len(where) and told[where[following], 0] <= numbers[0]:
            newest = where[following]
            rows.append(newest)
            continue
        rows.append(-1)
        repeated = following > 0 and where[following - 1] == newest
        again, foreign = again + repeated, foreign + (not repeated)
    return rows, again, foreign


def judged(folder: Path, limits: Limits, dt_s: float) -> dict[str, Any]:
    """Return how what came to the box holds the limits, from one stop to the next."""
    told, came = read(folder, TOLD), read(folder, CAME)
    rows, again, foreign = matched(told, came)
    stretch = np.isnan(told[:, 0]).cumsum()
    known = np.array([row for row in rows if row >= 0])
    worst: dict[str, float] = {}
    for part in np.split(known, np.flatnonzero(np.diff(stretch[known])) + 1):
        if len(part) > 4:
            poses = [pose_of(told[row, 1:].tolist()) for row in part]
            for name, share in shares_of(poses, limits, dt_s, part.tolist()).items():
                worst[name] = max(worst.get(name, 0.0), share)
    ages_s = came[np.array(rows) >= 0, 0] - told[known, 0]
    return {
        "set_points": {
            "told": int(np.isfinite(told[:, 0]).sum()),
            "came": len(came),
            "once_more": again,
            "unknown": foreign,
            "age_ms": {f"p{share}": 1e3 * float(np.percentile(ages_s, share)) for share in (50, 99)},
        },
        "shares_of_bounds": worst,
        "violations": foreign + sum(share > 1 + 1e-6 for share in worst.values()),
    }
