"""`robofb data rollouts`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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

    from robofb.errors import check_seed
    from robofb.loading import load_agent
    from robofb.run import Run
    from robofb.sim.record import record_episodes
    from robofb.store.checks import check_same_spec
    from robofb.store.continuation import open_or_create, same_settings
    from robofb.types import SOURCE_POLICY
    from robofb.worlds import env_of_run

    check_seed("--seed", seed)
    torch.set_num_threads(1)
    source = Run.open(run)
    agent = load_agent(source, num_envs, checkpoint)
    facts = {"policy": str(run), "policy_kind": source.kind, "checkpoint": checkpoint}
    with closing(env_of_run(source, num_envs, agent.policy.spec)) as env:
        check_same_spec(agent.policy.spec, env.spec.only(agent.policy.spec.obs), f"the policy in {run}")
        meta = {**getattr(env.task, "meta", {}), **facts, "seed": seed, "success_only": success_only}
        if dry_run:
            typer.echo(f"would record episodes of {run} ({checkpoint}) until {out} holds {episodes}")
            return
        same = {key: meta[key] for key in ("policy", "checkpoint", "success_only")}
        with open_or_create(out, env.spec, meta, same_settings(out, "holds", same)) as store:
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
