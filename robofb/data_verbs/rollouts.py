"""`robofb data rollouts`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robofb.errors import UserError

if TYPE_CHECKING:
    from robofb.run import Run
    from robofb.sim.vec_env import SimVecEnv
    from robofb.store.episodes import EpisodeStore


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rollouts")(rollouts)


def rollouts(
    run: Annotated[Path, typer.Argument(help="Run folder of a bc or residual policy.")],
    out: Annotated[Path, typer.Option(help="Folder of the dataset; what it holds already is gone on from.")],
    episodes: Annotated[int, typer.Option(min=1, help="Episodes that it shall hold in the end.")],
    success_only: Annotated[
        bool, typer.Option(help="Throw failures away; what is kept leans towards short episodes.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of start states and the policy's noise.")] = 0,
    checkpoint: Annotated[str, typer.Option(help="latest, best, or a checkpoint's path.")] = "best",
    num_envs: Annotated[int, typer.Option(min=1, help="Simulated together.")] = 32,
    max_attempts: Annotated[
        int, typer.Option(min=1, help="Give up after so many failures per wanted episode.")
    ] = 50,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, write nothing.")
    ] = False,
) -> None:
    """Record what a trained policy does, to train on beside the demonstrations (JUICER's collect-infer)."""
    from contextlib import closing

    import torch

    from robofb.loading import load_agent
    from robofb.run import Run
    from robofb.sim.record import record_episodes
    from robofb.store.checks import check_same_spec
    from robofb.types import SOURCE_POLICY

    torch.set_num_threads(1)
    source = Run.open(run)
    agent = load_agent(source, num_envs, checkpoint)
    facts = {"policy": str(run), "policy_kind": source.kind, "checkpoint": checkpoint}
    with closing(_make_env(source, num_envs)) as env:
        check_same_spec(agent.policy.spec, env.spec.only(agent.policy.spec.obs), f"the policy in {run}")
        meta = {**getattr(env.task, "meta", {}), **facts, "seed": seed, "success_only": success_only}
        if dry_run:
            typer.echo(f"would record episodes of {run} ({checkpoint}) until {out} holds {episodes}")
            return
        with _open_or_create(out, env, meta) as store:
            outcome = record_episodes(
                agent,
                env,
                store,
                episodes,
                seed,
                meta,
                source=SOURCE_POLICY,
                max_attempts=max_attempts,
                advice="train the policy further or raise --max-attempts",
                success_only=success_only,
            )
    typer.echo(
        f"episodes in {out}: {outcome.total}; now kept {outcome.kept}, failures discarded {outcome.discarded}"
    )


def _make_env(run: Run, num_envs: int) -> SimVecEnv:
    """Make the env that a run was trained for, simulated by the default engine."""
    from robofb.config import compose
    from robofb.loading import make_env

    task = run.config.get("task")
    if not task:
        raise UserError(f"{run.path} was trained on data alone, without a task to roll it out in")
    engine = compose("collect").engine
    return make_env(task, engine, num_envs, sim_state=True)


def _open_or_create(out: Path, env: SimVecEnv, meta: dict[str, Any]) -> EpisodeStore:
    """Open the folder of the rollouts, refusing those of another policy."""
    from robofb.store.episodes import EpisodeStore
    from robofb.store.index import INDEX_FILE

    if not (out / INDEX_FILE).is_file():
        return EpisodeStore.create(out, env.spec, meta)
    store = EpisodeStore.open(out, "a", spec=env.spec)
    for key in ("policy", "checkpoint", "success_only"):
        if store.meta.get(key) != meta[key]:
            store.close()
            raise UserError(f"{out} holds {key} {store.meta.get(key)}, not {meta[key]}: choose another --out")
    return store
