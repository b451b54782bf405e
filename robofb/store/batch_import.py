"""Make agents' logs of the training histories that BOReL's own code writes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from robofb.errors import UserError
from robofb.meta_interfaces import FiniteFamily, MetaTask
from robofb.progress import progress_bar
from robofb.store.agent_logs import AGENTS, EPISODES_PER_TRIAL, PARAM_NAMES, PARAMS, START, write_agent_log
from robofb.store.batch_data import BatchAgent, find_agents, read_agent
from robofb.types import Episode


class Imported(NamedTuple):
    """What was imported.

    Attributes:
        agents: how many.
        steps: of all of them.
        paid_otherwise: steps that the task's own rule pays by more than 1e-4 otherwise.
    """

    agents: int
    steps: int
    paid_otherwise: int


def import_agents(
    src: Path, out: Path, family: MetaTask, episodes_per_trial: int, horizon: int | None
) -> Imported:
    """Write the logs of all agents in a folder, once all of them are found to be sound.

    Args:
        src: BOReL's `batch_data/<env>`.
        out: folder of the logs, which does not exist yet.
        family: that the agents' tasks are of.
        episodes_per_trial: K, kept with the logs.
        horizon: steps of an episode; the family's where None.

    Raises:
        UserError: `out` exists, an agent's arrays do not fit, or its task is none of a finite family's;
            nothing was written then.
    """
    spec = family.spec.only(["state"])
    agents = find_agents(src, family.params.shape[0])
    if out.exists():
        raise UserError(f"{out} exists: choose another place")
    _check_tasks(agents, family)
    facts = {
        AGENTS: len(agents),
        PARAM_NAMES: list(family.params.names),
        EPISODES_PER_TRIAL: episodes_per_trial,
        START: family.start_distribution,
        "source": str(src),
    }
    length = horizon or spec.max_steps
    for number, agent in enumerate(agents):
        read_agent(agent, number, spec, length)
    otherwise = steps = 0
    with progress_bar(len(agents), "import", "agent", delay_s=2.0) as bar:
        for number, agent in enumerate(agents):
            episodes = read_agent(agent, number, spec, length)
            otherwise += _paid_otherwise(family, agent, episodes)
            steps += sum(len(episode.reward) for episode in episodes)
            own = {**facts, PARAMS: list(agent.params), "seed": agent.seed}
            write_agent_log(out, number, spec, own, episodes)
            bar.update()
    return Imported(len(agents), steps, otherwise)


def _check_tasks(agents: list[BatchAgent], family: MetaTask) -> None:
    if not isinstance(family, FiniteFamily):
        return
    every = family.all_params()
    for agent in agents:
        if not bool((every == torch.tensor(agent.params)).all(1).any()):
            words = ", ".join(f"{value:g}" for value in agent.params)
            raise UserError(f"{agent.folder}: {family.spec.task} has no task ({words})")


def _paid_otherwise(family: MetaTask, agent: BatchAgent, episodes: list[Episode]) -> int:
    params, count = torch.tensor(agent.params), 0
    for episode in episodes:
        states = torch.from_numpy(episode.obs["state"])
        told = family.relabel(params, states[:-1], torch.from_numpy(episode.action), states[1:])
        count += int((told - torch.from_numpy(episode.reward)).abs().gt(1e-4).sum())
    return count
