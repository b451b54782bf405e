"""`robofb data rollouts`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from robofb.interfaces import Agent, TaskEnv
    from robofb.sim.record import Collected


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
    cameras: Annotated[
        str, typer.Option(help="Cameras whose images are recorded beside what the policy sees: front,wrist.")
    ] = "",
    image_size: Annotated[tuple[int, int], typer.Option(help="Height and width of these [px].")] = (240, 320),
    visuals: Annotated[
        str, typer.Option(help="Looks that differ from episode to episode: varied, or varied,texture=0.")
    ] = "",
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
    from robofb.sim.render import image_facts
    from robofb.store.checks import check_same_spec
    from robofb.worlds import env_of_run, visuals_of

    check_seed("--seed", seed)
    torch.set_num_threads(1)
    source = Run.open(run)
    agent = load_agent(source, num_envs, checkpoint)
    facts = {"policy": str(run), "policy_kind": source.kind, "checkpoint": checkpoint}
    further = dict.fromkeys([name for name in cameras.split(",") if name], image_size)
    looks = visuals_of(visuals)
    with closing(env_of_run(source, num_envs, agent.policy.spec, further, looks)) as env:
        check_same_spec(agent.policy.spec, env.spec.only(agent.policy.spec.obs), f"the policy in {run}")
        meta = {**getattr(env.task, "meta", {}), **facts, "seed": seed, "success_only": success_only}
        meta |= image_facts(env)
        if dry_run:
            typer.echo(f"would record episodes of {run} ({checkpoint}) until {out} holds {episodes}")
            return
        outcome = _record(agent, env, out, episodes, seed, meta, max_attempts)
    typer.echo(
        f"episodes in {out}: {outcome.total}; now kept {outcome.kept}, failures discarded {outcome.discarded}"
    )


def _record(
    agent: Agent, env: TaskEnv, out: Path, episodes: int, seed: int, meta: dict[str, Any], max_attempts: int
) -> Collected:
    """Go on with the dataset `out`, or begin it, until it holds `episodes`."""
    from robofb.sim.record import record_episodes
    from robofb.store.continuation import open_or_create, same_settings
    from robofb.types import SOURCE_POLICY

    same = {key: meta.get(key) for key in ("policy", "checkpoint", "success_only", "visuals")}
    with open_or_create(out, env.spec, meta, same_settings(out, "holds", same)) as store:
        return record_episodes(
            agent,
            env,
            store,
            episodes,
            seed,
            meta,
            source=SOURCE_POLICY,
            max_attempts=max_attempts,
            advice="train the policy further or raise --max-attempts",
            success_only=meta["success_only"],
        )
