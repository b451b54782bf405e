"""Read the metrics that a run logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's metrics.jsonl in order of step, as floats beside the int "step".

    Where a resumed run goes back to its checkpoint, the rows after that are dropped. Half a line,
    left by a kill, is skipped. Without the file there are none.
    """
    rows: list[dict[str, Any]] = []
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else []:
        try:
            row = {key: float(value) for key, value in json.loads(line).items()}
            if "resumed_at" in row:
                rows = [kept for kept in rows if kept["step"] <= row["resumed_at"]]
                continue
            row["step"] = int(row["step"])
        except (ValueError, AttributeError, KeyError, TypeError):
            continue
        if rows and rows[-1]["step"] > row["step"]:
            rows = [kept for kept in rows if kept["step"] < row["step"]]
        rows.append(row)
    return rows
