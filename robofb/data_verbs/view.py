"""`robofb data view` and `robofb data annotate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robofb.errors import UserError

_Dataset = Annotated[Path, typer.Argument(help="Folder of the dataset.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("view")(view)
    app.command("annotate")(annotate)


def view(
    path: _Dataset,
    episode: Annotated[int, typer.Option(help="Number of the episode to show first.")] = 0,
    port: Annotated[int, typer.Option(help="Port of the page; a free one near it where it is taken.")] = 8080,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="Mark bottlenecks; Save writes them into this dataset.")
    ] = False,
) -> None:
    """Play a dataset's episodes in the browser: scene, pictures, curves, bottleneck marks."""
    from robofb.store.episodes import EpisodeStore
    from robofb.viewer.session import Session
    from robofb.worlds import scene_of_dataset

    with EpisodeStore.open(path, "a" if annotate else "r") as store:
        scene, reason = scene_of_dataset(store)
        session = Session(store, episode, can_mark=annotate)
        from robofb.viewer.serve import serve

        serve(session, scene, reason, port, typer.echo)


def annotate(
    path: _Dataset,
    rule: Annotated[str, typer.Option(help="gripper, contact, approach, or auto: all that apply.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="New folder for a copy with the marks.")] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Write the marks into PATH itself.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the marks.")] = False,
) -> None:
    """Mark bottlenecks by rule; marks that a person set stay."""
    from robofb.augment.annotate import proposed_marks, write_marked_copy, write_marks
    from robofb.store.episodes import EpisodeStore
    from robofb.worlds import scene_of_dataset

    if dry_run + in_place + (out is not None) != 1:
        raise UserError("annotate needs one of --dry-run, --out FOLDER and --in-place")
    with EpisodeStore.open(path) as store:
        scene, reason = scene_of_dataset(store)
        marks = proposed_marks(store, rule, scene)
    for number, found in marks.items() if dry_run else ():
        words = "; ".join(f"{mark.step} {mark.why} ({mark.by})" for mark in found)
        typer.echo(f"episode {number}: {words or 'none'}")
    if out is not None:
        write_marked_copy(path, out, marks)
    elif in_place:
        write_marks(path, marks)
    if reason:
        typer.echo(f"contacts could not be recomputed: {reason}")
    count = sum(map(len, marks.values()))
    typer.echo(f"{count} bottlenecks in {len(marks)} episodes {'found' if dry_run else f'in {out or path}'}")
