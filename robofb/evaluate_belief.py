"""Judge a policy that finds out what task it is in, beside those that know, never learn, or guess."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import torch
from omegaconf import OmegaConf

from robofb.errors import UserError
from robofb.evaluate_trials import TrialEvaluation, evaluate_trials
from robofb.families import build_family, draw_tasks
from robofb.files import append_line
from robofb.interfaces import TaughtTask
from robofb.loading import make_tasks_env, policy_of
from robofb.meta_interfaces import FiniteFamily, MetaTask, TrialAgent
from robofb.policies.hyper import HyperPolicy
from robofb.policies.trial_agents import BeliefAgent, SamplingAgent, ToldAgent, UnadaptedAgent
from robofb.rl.borel.candidates import Candidates
from robofb.rl.borel.decoders import Said, make_decoders
from robofb.run import Run, plain
from robofb.store.checks import check_same_spec
from robofb.trial_film import film_trials
from robofb.trial_report import TrialFilm, cells, write_trial_report
from robofb.types import num_choices

OWN = "belief"
NUM_FILMED = 4
LOG = logging.getLogger(__name__)


class Asked(Protocol):
    """What of `EvalConfig` counts here."""

    checkpoint: str
    episodes: int
    seed: int
    task: Any
    engine: Any
    execute: int | None
    compare_base: bool
    also: dict[str, Any]
    visuals: Any
    video: bool


def agents_of(policy: HyperPolicy, family: MetaTask, num_envs: int) -> dict[str, TrialAgent]:
    """Return the agents that are compared, by name; an oracle where the family brings a teacher."""
    agents: dict[str, TrialAgent] = {
        OWN: BeliefAgent(policy, num_envs),
        "posterior sampling": SamplingAgent(policy, num_envs),
        "no adaptation": UnadaptedAgent(policy, num_envs),
    }
    if isinstance(family, TaughtTask):
        agents["oracle"] = ToldAgent(family.teacher(), num_choices(policy.spec.action) is not None)
    return agents


def evaluate_run(cfg: Asked, run: Run) -> TrialEvaluation:
    """Evaluate a run of `train borel` in held-out tasks, write the outcome into its folder, and print it.

    `cfg.episodes` is the number of trials, each in a task of its own; of a finite family every task has as
    many as make at least so many.

    Raises:
        UserError: the policy is of another task.
    """
    _refuse_others(cfg, run)
    checkpoint = run.load_checkpoint(cfg.checkpoint)
    policy = policy_of(checkpoint)
    task = cfg.task or OmegaConf.create(run.config["task"])
    family = build_family(task)
    check_same_spec(policy.spec, family.spec.only(policy.spec.obs), f"the policy in {run.path}")
    params = _judged_in(family, cfg)
    count = int(checkpoint["episodes_per_trial"])
    with closing(make_tasks_env(task, cfg.engine, params)) as env, torch.no_grad():
        results = {
            name: evaluate_trials(agent, env, params, count, cfg.seed, progress=f"evaluate {name}")
            for name, agent in agents_of(policy, family, env.num_envs).items()
        }
    facts = {**results[OWN].to_dict(), "checkpoint": cfg.checkpoint}
    facts |= {name: each.to_dict() for name, each in results.items() if name != OWN}
    append_line(run.path / "evaluations.jsonl", json.dumps(plain(facts)))
    run.write_summary({"eval": facts})
    print(table(results))
    shown = show(cfg, run, checkpoint, task, family) if cfg.video else None
    tasks = "all tasks of the family" if isinstance(family, FiniteFamily) else "held-out tasks"
    print(f"report {write_trial_report(run.path / 'report.html', run, results, shown, tasks)}")
    return results[OWN]


def _judged_in(family: MetaTask, cfg: Asked) -> torch.Tensor:
    """Return the tasks (N, P) of N trials."""
    if not isinstance(family, FiniteFamily):
        return draw_tasks(family, cfg.episodes, cfg.seed, held_out=True)
    every = family.all_params()
    return every.repeat(-(-cfg.episodes // len(every)), 1)


def _refuse_others(cfg: Asked, run: Run) -> None:
    """Refuse what only other kinds of run can be asked for."""
    for key in ("execute", "compare_base", "also", "visuals"):
        if asked := getattr(cfg, key):
            raise UserError(f"{key}={asked}: {run.path} is {run.sort}, which has no such thing; leave it out")


def table(results: Mapping[str, TrialEvaluation]) -> str:
    """Return returns by episode, mean and standard error over trials, a line for each agent."""
    rows = cells(results)
    width = max(20, *(len(row[0]) for row in rows))
    return "\n".join(f"{row[0]:{width}}" + "".join(f"{cell:>16}" for cell in row[1:]) for row in rows)


def decoders_of(checkpoint: Mapping[str, Any], policy: HyperPolicy, family: MetaTask) -> list[Said]:
    """Return the decoders that a run's belief was learnt with."""
    config = checkpoint["config"]
    said = make_decoders(
        family,
        policy.encoder,
        hidden=config["decoder_hidden"],
        sees_move=config["sees_move"],
        state_weight=config["state_weight"],
    )
    states: Mapping[str, torch.Tensor] = checkpoint["belief"]["modules"]
    for one in said:
        start = f"{one.name}."
        one.decoder.load_state_dict(
            {name.removeprefix(start): value for name, value in states.items() if name.startswith(start)}
        )
    return said


def show(cfg: Asked, run: Run, checkpoint: Mapping[str, Any], task: Any, family: MetaTask) -> TrialFilm:
    """Film trials in the first held-out tasks of the seed into the run's video folder.

    Where this machine cannot render or write it, the log and the result say why.
    """
    policy = policy_of(checkpoint)
    said = decoders_of(checkpoint, policy, family)
    candidates = Candidates.from_state(checkpoint["candidates"])
    draws = torch.Generator().manual_seed(cfg.seed)
    most = len(family.all_params()) if isinstance(family, FiniteFamily) else NUM_FILMED
    params = draw_tasks(family, min(NUM_FILMED, most), cfg.seed, held_out=True)
    folder, stem = run.videos, f"{Path(cfg.checkpoint).stem}-seed{cfg.seed}"
    film, picture = folder / f"{stem}.mp4", folder / f"{stem}-beliefs.png"
    with closing(make_tasks_env(task, cfg.engine, params)) as env:
        try:
            film_trials(
                BeliefAgent(policy, env.num_envs),
                env,
                params,
                candidates.params,
                lambda belief: candidates.chances(belief, said, policy.encoder, draws),
                int(checkpoint["episodes_per_trial"]),
                cfg.seed,
                film,
                picture,
                downwards=family.params.unit == "cell",
            )
        except UserError as error:
            LOG.warning("no film: %s", error)
            return TrialFilm(missing=str(error))
    return TrialFilm(film, picture)
