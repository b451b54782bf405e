"""Judge a policy that finds out what task it is in, beside those that know, never learn, or guess."""

from __future__ import annotations

import json
from contextlib import closing
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
from robofb.run import Run, plain
from robofb.store.checks import check_same_spec
from robofb.types import num_choices

OWN = "belief"


class Asked(Protocol):
    """What of `EvalConfig` counts here."""

    checkpoint: str
    episodes: int
    seed: int
    task: Any
    engine: Any
    execute: int | None
    compare_base: bool
    also: list[str]
    visuals: Any


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

    `cfg.episodes` is the number of tasks, each of which has one trial; a family of finitely many has all.

    Raises:
        UserError: the policy is of another task.
    """
    _refuse_others(cfg, run)
    checkpoint = run.load_checkpoint(cfg.checkpoint)
    policy = policy_of(checkpoint)
    task = cfg.task or OmegaConf.create(run.config["task"])
    family = build_family(task)
    check_same_spec(policy.spec, family.spec.only(policy.spec.obs), f"the policy in {run.path}")
    params = draw_tasks(
        family, None if isinstance(family, FiniteFamily) else cfg.episodes, cfg.seed, held_out=True
    )
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
    return results[OWN]


def _refuse_others(cfg: Asked, run: Run) -> None:
    """Refuse what only other kinds of run can be asked for."""
    for key in ("execute", "compare_base", "also", "visuals"):
        if asked := getattr(cfg, key):
            raise UserError(
                f"{key}={asked}: {run.path} is a {run.kind} run, which has no such thing; leave it out"
            )


def table(results: dict[str, TrialEvaluation]) -> str:
    """Return returns by episode, mean and standard error over tasks, a line for each agent."""
    width = max(map(len, results))
    trials, episodes = results[OWN].returns.shape
    heads = "".join(f"{f'episode {number + 1}':>16}" for number in range(episodes))
    lines = [f"{f'return in {trials} tasks':{max(width, 20)}}{heads}{'together':>16}"]
    for name, each in results.items():
        facts = each.to_dict()
        pairs = [*zip(facts["returns"], facts["standard_errors"], strict=True)]
        pairs.append((facts["total"], facts["total_standard_error"]))
        cells = "".join(f"{f'{mean:.2f} +- {error:.2f}':>16}" for mean, error in pairs)
        lines.append(f"{name:{max(width, 20)}}{cells}")
    return "\n".join(lines)
