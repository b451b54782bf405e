"""`robofb data convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("convert")(convert)


def convert(
    src: Annotated[Path, typer.Argument(help="File or folder of the dataset; it is not changed.")],
    out: Annotated[Path, typer.Option("--out", help="Where to write; must not exist yet.")],
    source_format: Annotated[
        str,
        typer.Option("--from", help="Format of SRC: auto looks; another word than a known one lists them."),
    ] = "auto",
    target_format: Annotated[str, typer.Option("--to", help="Format to write.")] = "robofb",
    task: Annotated[str | None, typer.Option(help="Name of the task.")] = None,
    rate: Annotated[
        float | None, typer.Option(help="Control rate [Hz], where SRC does not say it or is wrong.")
    ] = None,
    action: Annotated[
        str | None, typer.Option(help="Which actions to take, where SRC has several kinds.")
    ] = None,
    video: Annotated[
        bool, typer.Option("--video", help="Store images as video, which loses a little.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check all, write nothing.")] = False,
) -> None:
    """Convert a dataset between formats.

    Stopped or killed on the way to robofb's own format, or out of room, the same command goes on after the
    last episode written; to other formats it starts again.
    """
    from robofb.store import convert as conversion
    from robofb.store.foreign import Wishes

    done = conversion.convert(
        src,
        out,
        source_format=source_format,
        target_format=target_format,
        wishes=Wishes(task, rate, action, video),
        dry_run=dry_run,
        tell=typer.echo,
    )
    source = done.source
    typer.echo(
        f"{'would convert' if dry_run else 'converted'} {src} ({done.source_format}) to {out}"
        f" ({target_format}): {source.num_episodes} episodes, {done.num_steps} steps"
    )
    for key, array in {**source.spec.obs, "action": source.spec.action}.items():
        typer.echo(f"  {key} {array.shape} {array.dtype}")
    for note in source.notes:
        typer.echo(f"note: {note}")
    if done.off_rate:
        typer.echo(
            f"warning: the timestamps of {len(done.off_rate)} episodes (first {done.off_rate[0]}) disagree"
            f" with the declared {1.0 / source.spec.control_dt:g} Hz: give the real rate with --rate"
        )
