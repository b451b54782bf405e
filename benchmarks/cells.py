"""What the benchmarks of many trainings share: cells that are done once, and their figures together."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from results import stamp

from robofb import cli
from robofb.files import write_atomically
from robofb.run import Run
from robofb.stats import SuccessRate


def call(*words: Any) -> None:
    """Run a robofb command, and stop where it fails."""
    if code := cli.run([str(word) for word in words]):
        raise SystemExit(code)


def kept(path: Path, facts: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return a cell's figures with its `facts`, made now unless the file at `path` holds them.

    Raises:
        SystemExit: they are there but were made with other facts.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({**make(), **facts, **stamp()}))
    figures: dict[str, Any] = json.loads(path.read_text())
    for key, value in facts.items():
        if figures[key] != value:
            raise SystemExit(f"{path} was made with {key}={figures[key]}, not {value}: choose another --work")
    return figures


def levels(run: Path, of_interest: Iterable[float]) -> dict[str, dict[str, float]]:
    """Return env steps and minutes at which the selection of a run first reached each level `of_interest`."""
    reached: dict[str, dict[str, float]] = {}
    for row in Run.open(run).metrics():
        for level in of_interest:
            if row.get("select/success", -1.0) >= level and f"{level:g}" not in reached:
                reached[f"{level:g}"] = {"env_steps": row["step"], "minutes": row["seconds"] / 60}
    return reached


def pooled(cells: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> dict[tuple[Any, ...], SuccessRate]:
    """Return the success of the cells that agree in `keys`, all their episodes together."""
    counts: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    for cell in cells:
        total = counts[tuple(cell[key] for key in keys)]
        total[0] += cell["successes"]
        total[1] += cell["episodes"]
    return {key: SuccessRate(*total) for key, total in counts.items()}


def percent(rate: SuccessRate) -> str:
    """Return "50.7 [47.1, 54.2]": the rate and its interval in percent."""
    return f"{100 * rate.rate:.1f} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
