"""Wall time of a loop, divided among named parts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Add up the wall time spent in named parts.

    Attributes:
        seconds: by part, in order of first use.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count the time in the `with` block towards `part`; parts must not nest."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - start

    @contextmanager
    def iteration(self, metrics: dict[str, float]) -> Iterator[None]:
        """Add the seconds that the `with` block spends on each part to `metrics`, the rest as "other"."""
        start, before = time.perf_counter(), dict(self.seconds)
        yield
        spent = {part: total - before.get(part, 0.0) for part, total in self.seconds.items()}
        spent.pop("other", None)
        spent["other"] = time.perf_counter() - start - sum(spent.values())
        self.seconds["other"] = self.seconds.get("other", 0.0) + spent["other"]
        metrics |= {f"seconds/{part}": seconds for part, seconds in spent.items()}
