"""`robofb data augment`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robofb.errors import UserError

if TYPE_CHECKING:
    from robofb.augment.demonstrations import Bottleneck
    from robofb.sim.vec_env import SimVecEnv
    from robofb.store.episodes import EpisodeStore


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

    from robofb.augment.backward import BackwardAugmenter, draw_attempts
    from robofb.augment.demonstrations import find_bottlenecks
    from robofb.augment.poses import action_columns
    from robofb.store.episodes import EpisodeStore

    if not 0 < distance_m[0] <= distance_m[1]:
        raise UserError(f"--distance-m {distance_m[0]:g} {distance_m[1]:g}: needs 0 < least <= greatest")
    torch.set_num_threads(1)
    with EpisodeStore.open(path) as source, closing(_make_env(source, num_envs)) as env:
        gripper = action_columns(source.spec.action).gripper
        bottlenecks = find_bottlenecks(source, env, gripper, after_change)
        augmenter = BackwardAugmenter(str(path), bottlenecks, env, seed, distance_m, need_success)
        if dry_run:
            attempts = draw_attempts(0, seed, [0] * len(bottlenecks), distance_m)
            arrived = sum(snippet is not None for snippet in augmenter.try_round(attempts))
            typer.echo(f"bottlenecks in {path}: {_counts(bottlenecks)}")
            typer.echo(f"of {len(attempts)} attempts {arrived} arrive; nothing is written")
            return
        settings: dict[str, Any] = {
            "method": "backward",
            "source": str(path),
            "source_index_sha256": _digest(source),
            "seed": seed,
            "after_change": after_change,
            "distance_m": list(distance_m),
            "need_success": need_success,
        }
        with _open_or_create(out, env, {**source.meta, "augmentation": settings}) as store:
            outcome = augmenter.fill(store, snippets)
            steps, share = int(store.episode_lengths.sum()), outcome.kept / max(outcome.attempts, 1)
            typer.echo(
                f"snippets in {out}: {outcome.total}, {steps} steps; "
                f"now kept {outcome.kept} of {outcome.attempts} attempts ({100 * share:.0f} %)"
            )


def _make_env(source: EpisodeStore, num_envs: int) -> SimVecEnv:
    """Make the env of a dataset's task, randomness and cameras."""
    from robofb.config import compose
    from robofb.loading import make_env
    from robofb.normalize import is_image

    words = [f"task={source.spec.task}"]
    if "randomness" in source.meta:
        words.append(f"task.randomness={source.meta['randomness']}")
    cfg = compose("collect", words)
    cameras = {
        key.removeprefix("image_"): (array.shape[1], array.shape[2])
        for key, array in source.spec.obs.items()
        if is_image(array)
    }
    return make_env(cfg.task, cfg.engine, num_envs, cameras, sim_state=True, autoreset=False)


def _open_or_create(out: Path, env: SimVecEnv, meta: dict[str, Any]) -> EpisodeStore:
    """Open the folder of the snippets, refusing what was made otherwise."""
    from robofb.store.episodes import EpisodeStore
    from robofb.store.index import INDEX_FILE

    if not (out / INDEX_FILE).is_file():
        return EpisodeStore.create(out, env.spec, meta)
    store = EpisodeStore.open(out, "a", spec=env.spec)
    held, wanted = store.meta.get("augmentation", {}), meta["augmentation"]
    for key, value in wanted.items():
        if held.get(key) != value:
            store.close()
            raise UserError(f"{out} was made with {key} {held.get(key)}, not {value}: choose another --out")
    return store


def _digest(source: EpisodeStore) -> str:
    """Return a fingerprint of a dataset's episodes and their marks."""
    import hashlib

    from robofb.store.index import INDEX_FILE

    return hashlib.sha256((source.path / INDEX_FILE).read_bytes()).hexdigest()


def _counts(bottlenecks: list[Bottleneck]) -> str:
    counts = Counter(f"{place.why} (by {place.by})" for place in bottlenecks)
    return ", ".join(f"{count} {name}" for name, count in counts.items())
