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
    import torch

    from robofb.errors import UserError
    from robofb.families import build_family
    from robofb.loading import task_node
    from robofb.progress import progress_bar
    from robofb.store.agent_logs import (
        EPISODES_PER_TRIAL,
        PARAM_NAMES,
        PARAMS,
        START,
        AgentLogs,
        write_agent_log,
    )
    from robofb.store.batch_data import find_agents, read_agent

    family = build_family(task_node(task))
    spec = family.spec.only(["state"])
    agents = find_agents(src, family.params.shape[0])
    if out.exists():
        raise UserError(f"{out} exists: choose another place")
    facts = {
        PARAM_NAMES: list(family.params.names),
        EPISODES_PER_TRIAL: episodes_per_trial,
        START: family.start_distribution,
        "source": str(src),
    }
    length = horizon or spec.max_steps
    for number, agent in enumerate(agents):  # all of them are sound before anything is written
        read_agent(agent, number, spec, length)
    otherwise = steps = 0
    with progress_bar(len(agents), "import", "agent", delay_s=2.0) as bar:
        for number, agent in enumerate(agents):
            episodes = read_agent(agent, number, spec, length)
            params = torch.tensor(agent.params)
            for episode in episodes:
                states = torch.from_numpy(episode.obs["state"])
                told = family.relabel(params, states[:-1], torch.from_numpy(episode.action), states[1:])
                otherwise += int((told - torch.from_numpy(episode.reward)).abs().gt(1e-4).sum())
                steps += len(episode.reward)
            own = {**facts, PARAMS: list(agent.params), "seed": agent.seed}
            write_agent_log(out, number, spec, own, episodes)
            bar.update()
    with AgentLogs(out) as logs:
        typer.echo(f"imported {len(logs)} agents, {steps} steps, to {out}")
    if otherwise:
        typer.echo(
            f"warning: {otherwise} of {steps} steps are paid otherwise than {task} pays them: mixtures"
            " (mixed, fresh_trials) would not be of the same task"
        )
