"""`robofb data agent-logs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("agent-logs")(agent_logs)


def agent_logs(
    src: Annotated[Path, typer.Argument(help="BOReL's batch_data/<env>; it is not changed.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the logs, which does not exist yet.")],
    task: Annotated[str, typer.Option(help="The family here that they are of, such as grid_navi.")],
    episodes_per_trial: Annotated[int, typer.Option(min=1, help="Episodes that are tried in one task.")] = 2,
    horizon: Annotated[
        int | None, typer.Option(min=1, help="Steps of an episode, where other than the task's.")
    ] = None,
) -> None:
    """Import the training histories of BOReL's own code, for robofb train borel logs=OUT.

    What each step pays by the task's own rule is compared with what was logged.
    """
    from robofb.families import build_family
    from robofb.loading import task_node
    from robofb.store.batch_import import import_agents

    done = import_agents(src, out, build_family(task_node(task)), episodes_per_trial, horizon)
    typer.echo(f"imported {done.agents} agents, {done.steps} steps, to {out}")
    if done.paid_otherwise:
        typer.echo(
            f"warning: {done.paid_otherwise} of {done.steps} steps are paid otherwise than {task} pays them:"
            " mixtures (mixed, fresh_trials) would not be of the same task"
        )
