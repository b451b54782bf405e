"""`robofb data augment`."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robofb.errors import UserError, check_seed

if TYPE_CHECKING:
    from robofb.augment.backward import BackwardAugmenter


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("augment")(augment)


def augment(
    path: Annotated[Path, typer.Argument(help="Folder of the demonstrations, which stay as they are.")],
    out: Annotated[Path, typer.Option(help="Folder of the snippets; what it holds already is gone on from.")],
    snippets: Annotated[int, typer.Option(min=1, help="Snippets that it shall hold in the end.")],
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    num_envs: Annotated[
        int, typer.Option(min=1, help="Simulated together; changes the speed, not the result.")
    ] = 32,
    rule: Annotated[
        str,
        typer.Option(
            help="Finds bottlenecks in demonstrations without marks: gripper, contact, approach, or auto: all"
            " that apply."
        ),
    ] = "auto",
    after_change: Annotated[
        int,
        typer.Option(min=0, help="Steps a snippet goes on after the gripper changes; JUICER's episodes: 30."),
    ] = 10,
    distance_m: Annotated[
        tuple[float, float], typer.Option(help="Least and greatest length of the way out [m].")
    ] = (0.2, 0.5),
    need_success: Annotated[
        bool, typer.Option(help="A snippet of a demonstration's success must succeed; JUICER asks less.")
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Try one round, say what arrives, write nothing.")
    ] = False,
) -> None:
    """Add corrective snippets that lead back to the demonstrations' bottlenecks (JUICER), by simulation."""
    from contextlib import closing

    import torch

    from robofb.augment.backward import BackwardAugmenter
    from robofb.augment.demonstrations import find_starts
    from robofb.store.episodes import EpisodeStore
    from robofb.store.index import fingerprint
    from robofb.worlds import env_of_dataset

    if not 0 < distance_m[0] <= distance_m[1] < math.inf:
        raise UserError(f"--distance-m {distance_m[0]:g} {distance_m[1]:g}: needs 0 < least <= greatest")
    check_seed("--seed", seed)
    torch.set_num_threads(1)
    with EpisodeStore.open(path) as source, closing(env_of_dataset(source, num_envs)) as env:
        starts = find_starts(source, env, after_change, rule)
        augmenter = BackwardAugmenter(str(path), starts, env, seed, distance_m, need_success)
        if dry_run:
            _try_one_round(augmenter)
            return
        settings: dict[str, Any] = {
            "method": "backward",
            "source": str(path),
            "source_index_sha256": fingerprint(source.entries),
            "seed": seed,
            "rule": rule,
            "after_change": after_change,
            "distance_m": list(distance_m),
            "need_success": need_success,
        }
        _fill(augmenter, out, snippets, {**source.meta, "augmentation": settings})


def _fill(augmenter: BackwardAugmenter, out: Path, snippets: int, meta: dict[str, Any]) -> None:
    """Make snippets until `out` holds so many, and say how many were kept."""
    from robofb.store.continuation import open_or_create, same_settings

    check = same_settings(out, "was made with", meta["augmentation"], part="augmentation")
    with open_or_create(out, augmenter.env.spec, meta, check) as store:
        outcome = augmenter.fill(store, snippets)
        steps, share = int(store.episode_lengths.sum()), outcome.kept / max(outcome.attempts, 1)
    typer.echo(
        f"snippets in {out}: {outcome.total}, {steps} steps; "
        f"now kept {outcome.kept} of {outcome.attempts} attempts ({100 * share:.0f} %)"
    )


def _try_one_round(augmenter: BackwardAugmenter) -> None:
    """Say what there is to start from, and how many attempts of a first round arrive."""
    from robofb.augment.backward import draw_attempts

    starts = augmenter.starts
    attempts = draw_attempts(0, augmenter.seed, [0] * len(starts), augmenter.distance_m)
    arrived = sum(snippet is not None for snippet in augmenter.try_round(attempts))
    counts = Counter(f"{start.mark.why} (by {start.mark.by})" for start in starts)
    words = ", ".join(f"{count} {name}" for name, count in counts.items())
    typer.echo(f"bottlenecks in {augmenter.source}: {words}")
    typer.echo(f"of {len(attempts)} attempts {arrived} arrive; nothing is written")
