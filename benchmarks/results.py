"""Save a benchmark's figures with the machine they were taken on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from robofb.provenance import git_state, machine, versions

FOLDER = Path(__file__).parent / "results"


def stamp() -> dict[str, Any]:
    """Return when and at which commit something is measured now: a file says so of its newest row alone."""
    return {"measured": {"date": f"{date.today()}", "commit": git_state()["commit"]}}


def save_result(name: str, figures: dict[str, Any]) -> None:
    """Write benchmarks/results/<name>.json and print the same as one JSON line."""
    result = {**figures, "date": f"{date.today()}", "machine": machine(), "versions": versions()}
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def add_row(name: str, rows_name: str, row: dict[str, Any], keys: Sequence[str]) -> None:
    """Put a row into the list `rows_name` of results/<name>.json, in the place of one of equal keys."""
    save_result(name, {rows_name: with_known(name, rows_name, [row | stamp()], keys)})


def with_known(
    name: str, rows_name: str, rows: Sequence[dict[str, Any]], keys: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the list `rows_name` of results/<name>.json, rows in the place of those of equal keys."""
    path = FOLDER / f"{name}.json"
    known = json.loads(path.read_text())[rows_name] if path.is_file() else []
    by_keys = {tuple(each[key] for key in keys): each for each in [*known, *rows]}
    return [by_keys[key] for key in sorted(by_keys)]
