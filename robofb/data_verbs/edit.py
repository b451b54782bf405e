"""`robofb data merge`, `split`, `trim`, `relabel`, `drop`, `stats` and `repair`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robofb.errors import UserError, check_seed

if TYPE_CHECKING:
    from robofb.store.edit.plan import Plan

_Dataset = Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of the dataset.")]
_Out = Annotated[Path, typer.Option("--out", help="Folder of the new dataset.")]
_MaybeOut = Annotated[Path | None, typer.Option("--out", help="Folder of the new dataset.")]
_Episodes = Annotated[str | None, typer.Option("--episodes", metavar="3,5-7", help="Numbers of episodes.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (merge, split, trim, relabel, drop, stats, repair):
        app.command(command.__name__)(command)


def merge(
    paths: Annotated[list[Path], typer.Argument(metavar="DATASET DATASET...", help="Folders, in order.")],
    out: _Out,
    dry_run: _DryRun = False,
) -> None:
    """Put the episodes of several datasets into a new one."""
    from robofb.store.edit import select
    from robofb.store.episodes import EpisodeStore

    _carry_out([select.merge([EpisodeStore.open(path) for path in paths], out)], dry_run)


def split(
    path: _Dataset,
    out_dir: Annotated[Path, typer.Option("--out-dir", help="Folder for the new datasets.")],
    fractions: Annotated[str, typer.Option(metavar="0.9,0.1", help="Share of the episodes for each.")],
    names: Annotated[
        str | None, typer.Option(metavar="A,B", help="Folder of each; else train, validation, test.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which episode goes where.")] = 0,
    dry_run: _DryRun = False,
) -> None:
    """Share a dataset's episodes out to new ones, at random."""
    from robofb.store.edit import select
    from robofb.store.episodes import EpisodeStore

    check_seed("--seed", seed)
    folders = names.split(",") if names is not None else []
    store = EpisodeStore.open(path)
    _carry_out(select.split(store, out_dir, _parse_fractions(fractions), folders, seed), dry_run)


def _parse_fractions(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise UserError(f"--fractions {text}: needs numbers such as 0.9,0.1") from None


def trim(
    path: _Dataset,
    out: _Out,
    head: Annotated[int, typer.Option(help="Steps to cut at the beginning of each episode.")] = 0,
    tail: Annotated[int, typer.Option(help="Steps to cut at the end of each.")] = 0,
    idle: Annotated[
        float | None,
        typer.Option(metavar="M_PER_S", help="Cut steps at both ends in which the hand moves no faster."),
    ] = None,
    dry_run: _DryRun = False,
) -> None:
    """Cut steps off both ends of every episode."""
    from robofb.store.edit import trim as trimming
    from robofb.store.episodes import EpisodeStore

    _carry_out([trimming.trim(EpisodeStore.open(path), out, head, tail, idle)], dry_run)


def relabel(
    path: _Dataset,
    episodes: _Episodes = None,
    success: Annotated[str | None, typer.Option(metavar="true|false", help="Verdict.")] = None,
    task: Annotated[str | None, typer.Option(help="Name of the task of the whole dataset.")] = None,
    source: Annotated[str | None, typer.Option(help="Who chose the actions, such as human.")] = None,
    meta: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Fact to set; null removes it. Repeatable.")
    ] = None,
    out: _MaybeOut = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Change DATASET itself.")] = False,
    dry_run: _DryRun = False,
) -> None:
    """Change what a dataset says of its episodes; all of them without --episodes."""
    from robofb.store.edit import relabel as labelling
    from robofb.store.edit.numbers import parse_numbers
    from robofb.store.episodes import EpisodeStore

    if in_place == (out is not None):
        raise UserError("relabel needs either --out FOLDER or --in-place")
    labels = labelling.Labels(_parse_verdict(success), source, labelling.parse_meta(meta or []), task)
    store = EpisodeStore.open(path)
    numbers = None if episodes is None else parse_numbers(episodes, store)
    if out is not None:
        _carry_out([labelling.relabel(store, out, labels, numbers)], dry_run)
        return
    labelling.relabel_in_place(path, labels, numbers, dry_run)
    _say(labelling.notes(store, labels, numbers), dry_run)


def _parse_verdict(text: str | None) -> bool | None:
    if text not in (None, "true", "false"):
        raise UserError(f"--success {text}: valid: true, false")
    return None if text is None else text == "true"


def drop(
    path: _Dataset,
    out: _Out,
    episodes: _Episodes = None,
    failed: Annotated[bool, typer.Option("--failed", help="Those without success.")] = False,
    shorter_than: Annotated[int | None, typer.Option(help="Those of fewer steps.")] = None,
    longer_than: Annotated[int | None, typer.Option(help="Those of more steps.")] = None,
    dry_run: _DryRun = False,
) -> None:
    """Leave out episodes that fit one condition or more."""
    from robofb.store.edit import select
    from robofb.store.edit.numbers import parse_numbers
    from robofb.store.episodes import EpisodeStore

    store = EpisodeStore.open(path)
    numbers = [] if episodes is None else parse_numbers(episodes, store)
    _carry_out([select.drop(store, out, numbers, failed, shorter_than, longer_than)], dry_run)


def stats(
    path: _Dataset, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Show least, largest, mean and deviation of every element, and of the lengths."""
    from robofb.store.element_stats import element_stats, format_stats

    found = element_stats(path)
    typer.echo(json.dumps(found, indent=1) if as_json else format_stats(found))


def repair(path: _Dataset, dry_run: _DryRun = False) -> None:
    """Remove what a killed writer left in a dataset; saved episodes stay."""
    from robofb.store import repair as mending

    lines = mending.find_remains(path) if dry_run else mending.repair(path)
    if lines:
        _say(lines, dry_run, "removed or put right" if not dry_run else "to mend")
    else:
        typer.echo(f"{path}: nothing to mend; damage inside files is not looked for: see robofb data doctor")


def _carry_out(plans: Sequence[Plan], dry_run: bool) -> None:
    """Say what the plans make, and make it unless this is a dry run; refuses before the first write."""
    from robofb.store.edit.plan import describe, write

    lines = [line for plan in plans for line in describe(plan)]
    if not dry_run:
        for plan in plans:
            write(plan)
    _say(lines, dry_run)


def _say(lines: Sequence[str], dry_run: bool, heading: str = "") -> None:
    for line in [f"{heading}:", *lines] if heading else lines:
        typer.echo(line)
    if dry_run:
        typer.echo("dry run: nothing is written")
