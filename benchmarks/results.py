"""Save a benchmark's figures with the machine they were taken on."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

from robofb.provenance import machine, versions

FOLDER = Path(__file__).parent / "results"


def save_result(name: str, figures: dict[str, Any]) -> None:
    """Write benchmarks/results/<name>.json and print the same as one JSON line."""
    result = {**figures, "date": f"{date.today()}", "machine": machine(), "versions": versions()}
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))
