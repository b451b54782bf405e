"""The `robofb assets` verbs: take meshes of other projects for looks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robofb.errors import UserError

app = typer.Typer(
    help="Take meshes of other projects for looks: the arm's and the parts'. They are never required.",
    no_args_is_help=True,
)
OUT = typer.Option(help="Folder of all assets; by default $ROBOFB_ASSETS, or ~/.local/share/robofb/assets.")
DRY_RUN = typer.Option("--dry-run", help="Read and check everything, write nothing.")


@app.command("furniture-bench")
def furniture_bench(
    path: Annotated[Path, typer.Argument(help="A furniture-bench wheel, an unpacked one, or a checkout.")],
    out: Annotated[Path | None, OUT] = None,
    dry_run: Annotated[bool, DRY_RUN] = False,
) -> None:
    """Compare our parts with furniture-bench's meshes, and take the meshes for task.looks=parts."""
    from robofb.config import load_object

    folder = _folder(out)
    imported = load_object("robofb.envs.looks.furniture_bench:import_furniture_bench")(path, folder, dry_run)
    typer.echo(load_object("robofb.envs.looks.dimension_check:format_dimensions")(imported.dimensions))
    typer.echo(load_object("robofb.envs.looks.dimension_check:summarise")(imported.dimensions))
    if not imported.sound:
        typer.echo("nothing is taken: these are not the meshes of our parts")
        raise typer.Exit(1)
    if imported.pack is not None:
        typer.echo(_taken(len(imported.pack.meshes), imported.pack.folder, "parts", out))


@app.command()
def menagerie(
    path: Annotated[
        Path,
        typer.Argument(help="MuJoCo Menagerie, its franka_emika_panda, or robot_descriptions' cache."),
    ],
    out: Annotated[Path | None, OUT] = None,
    dry_run: Annotated[bool, DRY_RUN] = False,
) -> None:
    """Check that Menagerie's Franka stands as ours does, and take its meshes for task.looks=arm."""
    from robofb.config import load_object

    folder = _folder(out)
    count, pack = load_object("robofb.envs.looks.menagerie:import_menagerie")(path, folder, dry_run)
    typer.echo(f"all links stand where ours do; {count} meshes")
    if pack is not None:
        typer.echo(_taken(count, pack.folder, "arm", out))


def _folder(out: Path | None) -> Path:
    from robofb.config import load_object

    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is no folder")
    folder: Path = load_object("robofb.envs.looks.asset_folder:asset_folder")() if out is None else out
    return folder


def _taken(count: int, folder: Path, looks: str, out: Path | None) -> str:
    shown = f"task.looks={looks} (or meshes, with the other) shows them"
    where = "" if out is None else f" where ROBOFB_ASSETS={out.absolute()}"
    return f"{count} meshes in {folder}; {shown}{where}"
