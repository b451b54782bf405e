"""`robofb data doctor`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(
    path: Annotated[Path, typer.Argument(help="Folder of the dataset.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with plots to this file.")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Run only this check; may be given several times.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail too.")] = False,
) -> None:
    """Find what is wrong in a dataset, with episode and frame; exit 1 where something is."""
    from robofb.store.doctor.examine import examine
    from robofb.store.doctor.text import format_diagnosis

    diagnosis = examine(path, only or ())
    if html is not None:
        from robofb.dataset_page import write_page

        write_page(html, diagnosis)
    typer.echo(json.dumps(diagnosis.to_dict(), indent=1) if as_json else format_diagnosis(diagnosis))
    if diagnosis.errors or (strict and diagnosis.findings):
        raise typer.Exit(1)
