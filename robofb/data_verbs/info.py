"""`robofb data info`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("info")(info)


def info(
    path: Annotated[Path, typer.Argument(help="Folder of the dataset.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a dataset holds: episodes, successes, lengths, keys, units, ranges."""
    from robofb.store.info import describe, format_info

    facts = describe(path)
    typer.echo(json.dumps(facts, indent=1) if as_json else format_info(facts))
