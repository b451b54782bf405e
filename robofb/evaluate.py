"""Measure how often an agent succeeds: one code path for every policy, exactly repeatable."""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from robofb.errors import UserError, check_at_least, check_seeds, check_threads
from robofb.evaluate_belief import evaluate_run
from robofb.evaluate_trials import TrialEvaluation
from robofb.evaluation import Evaluation
from robofb.files import append_line
from robofb.interfaces import Agent, VecEnv
from robofb.loading import load_agent, make_env, task_node
from robofb.policies.executor import ChunkExecutor
from robofb.progress import progress_bar
from robofb.provenance import describe, origin
from robofb.report import PolicyResult, ReportData, write_report
from robofb.run import Run, plain
from robofb.sim.film import film_episodes
from robofb.sim.render import cameras_of
from robofb.stats import SuccessRate
from robofb.store.checks import check_same_spec

LOG = logging.getLogger(__name__)


@runtime_checkable
class Drifting(Protocol):
    """An agent that knows how far it has come from the policy it was fine-tuned from."""

    @property
    def kl_to_base(self) -> Tensor:
        """(B,) KL of the last action's distribution from the base's, in nats."""
        ...


def evaluate(
    agent: Agent, env: VecEnv, episodes: int, seed: int, *, progress: str | None = None
) -> Evaluation:
    """Run episodes 0..N-1 of `seed`, whatever the number of envs, and judge each at its end.

    Args:
        agent: chooses the actions; reset whenever an env starts an episode.
        env: its size changes the speed, never the result.
        progress: label of a progress bar, or None for no bar.

    Raises:
        UserError: fewer than one episode is asked for.
    """
    if episodes < 1:
        raise UserError(f"episodes must be at least 1, not {episodes}")
    started = time.monotonic()
    obs = env.reset(seed)
    agent.reset(torch.ones(env.num_envs, dtype=torch.bool, device=env.device), env.episode_seed)
    results: dict[str, Tensor] = {}
    drift = torch.zeros(env.num_envs, device=env.device)  # (B,) of each running episode
    finished = 0
    with progress_bar(episodes, progress, "episode") as bar:
        while finished < episodes:
            step = env.step(agent.next(obs))
            obs = step.obs
            if isinstance(agent, Drifting):
                drift = drift + agent.kl_to_base
            if not step.done.any():
                continue
            counted = step.done & (step.info["episode"] < episodes)
            info = dict(step.info)
            if isinstance(agent, Drifting):
                info["kl_to_base"] = drift / info["length"]
                drift = drift.masked_fill(step.done, 0.0)
            for name, values in info.items():
                results.setdefault(name, values.new_zeros(episodes))[step.info["episode"][counted]] = values[
                    counted
                ]
            finished += int(counted.sum())
            bar.update(int(counted.sum()))
            agent.reset(step.done, env.episode_seed)
    arrays = {name: values.cpu().numpy() for name, values in results.items()}
    return Evaluation(
        task=env.spec.task,
        seed=seed,
        success=arrays.pop("success"),
        stage=arrays.pop("stage"),
        length=arrays.pop("length"),
        metrics={name: values for name, values in arrays.items() if name != "episode"},
        stages=env.spec.stages,
        control_dt_s=env.spec.control_dt,
        seconds=time.monotonic() - started,
    )


@dataclass
class EvalConfig:
    """What `robofb eval` reads.

    Attributes:
        run: run folder of any `robofb train`.
        checkpoint: latest, best, or a checkpoint's path.
        episodes: number of episodes; 256 or more for a figure to be quoted. Of a borel run, of trials.
        seed: of the episodes; choose another than training's.
        num_envs: simulated together; changes the speed, not the result. Of a borel run, all trials are.
        execute: actions executed per chunk; null takes the policy's own.
        task: the task; null takes the one that the run was trained on.
        compare_base: also evaluate what a residual or ppo run began with, on the same episodes.
        also: further tasks to evaluate on, which show the policy the same: what fine-tuning forgot there. By
            names of one's own, what differs from the run's task, as {hard:{randomness:high}}; "task" names
            another one's config. With compare_base=true, the base as well.
        engine: the simulator.
        visuals: how far light, colours, cameras and textures of an episode go from the scene's own in what
            an image policy sees; varied, or null for not at all.
        video: also film the first episodes.
        threads: torch's CPU threads.
    """

    run: str = "???"
    checkpoint: str = "best"
    episodes: int = 256
    seed: int = 10_000
    num_envs: int = 64
    execute: int | None = None
    task: Any = None
    compare_base: bool = False
    also: dict[str, Any] = field(default_factory=dict)
    engine: Any = field(default_factory=dict)
    visuals: Any = None
    video: bool = True
    threads: int = 1

    def __post_init__(self) -> None:
        check_at_least(self, 1, "episodes", "num_envs", "threads")
        check_threads(self.threads)
        check_seeds(self, "seed")


def main(cfg: EvalConfig) -> Evaluation | TrialEvaluation:
    """Evaluate a run, write outcome and report into its folder, and print the rate.

    summary.json and report.html hold the last evaluation, evaluations.jsonl one line for each.
    """
    torch.set_num_threads(cfg.threads)
    run = Run.open(cfg.run)
    if run.config.get("select_seed") == cfg.seed:
        LOG.warning("seed=%d chose this run's best checkpoint: its success there is flattered", cfg.seed)
    if run.kind == "borel":
        return evaluate_run(cfg, run)
    agent = load_agent(run, cfg.num_envs, cfg.checkpoint, cfg.execute)
    task = cfg.task or OmegaConf.create(run.config.get("task"))
    if not task:
        raise UserError(f"{run.path} was trained on data alone: say which task=... to evaluate it in")
    agents: dict[str, Any] = {
        "": agent,
        **({"base": _base_agent(run, agent, cfg)} if cfg.compare_base else {}),
    }
    results = _evaluate_all(cfg, run, agents, task)
    variants = {name: _variant(task, name, changes) for name, changes in cfg.also.items()}
    others = {name: _evaluate_all(cfg, run, agents, node, name) for name, node in variants.items()}
    facts = {**_facts(results), "checkpoint": cfg.checkpoint, "execute": agent.execute}
    if cfg.visuals:
        facts["visuals"] = cfg.visuals
    if others:
        facts["also"] = {name: _facts(theirs) for name, theirs in others.items()}
    append_line(run.path / "evaluations.jsonl", json.dumps(plain(facts)))
    run.write_summary({"eval": facts})
    result = results[""]
    print(f"success {result.rate}")
    if len(result.failures) > 1:
        print("failed at " + ", ".join(f"{stage} {count}" for stage, count in result.failures.items()))
    further = _further_facts(results)
    for name, theirs in others.items():
        further |= {f"on {name}: {key}": value for key, value in _further_facts(theirs).items()}
        further[f"on {name}: success"] = f"{theirs[''].rate}"
    for key, value in further.items():
        print(f"{key} {value}")
    rollout = film(run, task, cfg.engine, cfg.checkpoint, cfg.execute, seed=cfg.seed) if cfg.video else None
    print(f"report {write_report(run.path / 'report.html', _report_data(run, result, rollout, further))}")
    return result


def _base_agent(run: Run, agent: Any, cfg: EvalConfig) -> ChunkExecutor:
    """Return the policy that a run began with, replanning as often as its own does."""
    base = getattr(agent, "base", None) or getattr(agent.policy, "base", None)
    if base is None:
        raise UserError(f"compare_base=true: {run.path} is {run.sort}, which keeps no base; leave it out")
    return ChunkExecutor(base, cfg.num_envs, execute=agent.execute)


def _variant(task: Any, name: str, changes: Any) -> Any:
    """Return the config of a task that `also` speaks of.

    Raises:
        UserError: it changes nothing, or names no task.
    """
    if not isinstance(changes, Mapping | DictConfig) or not changes:
        raise UserError(
            f"also.{name}={changes}: say what differs from the run's task, as {{randomness:high}}"
        )
    given = dict(changes)
    node = task_node(given.pop("task")) if "task" in given else copy.deepcopy(task)
    for key, value in given.items():
        node[key] = value
    return node


def _evaluate_all(
    cfg: EvalConfig, run: Run, agents: Mapping[str, Any], task: Any, other: str = ""
) -> dict[str, Evaluation]:
    """Evaluate agents on the same episodes of a task.

    Args:
        agents: by name; the first one, "", is the run's own.
        other: what another task than the policy's own is called, which must look the same to it.
    """
    seen = agents[""].policy.spec
    with closing(make_env(task, cfg.engine, cfg.num_envs, cameras_of(seen), visuals=cfg.visuals)) as env:
        expected = replace(seen, task=env.spec.task) if other else seen
        whose = f"also.{other}: the policy in {run.path}" if other else f"the policy in {run.path}"
        check_same_spec(expected, env.spec.only(seen.obs), whose)
        where = f" on {other}" if other else ""
        return {
            name: evaluate(agent, env, cfg.episodes, cfg.seed, progress=f"evaluate {name}{where}".rstrip())
            for name, agent in agents.items()
        }


def _facts(results: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Return the run's own outcome as a dictionary, in which the base's is another."""
    return {**results[""].to_dict(), **{name: each.to_dict() for name, each in results.items() if name}}


def _further_facts(results: Mapping[str, Evaluation]) -> dict[str, str]:
    """Return what is told beside success, by its name."""
    result = results[""]
    told = {"successes per 10 min of robot time": f"{result.successes_per_10_min:.1f}"}
    if result.kl_to_base is not None:
        told["KL to base"] = f"{result.kl_to_base:.4g} nats a step"
    return told | {f"{name} success": f"{each.rate}" for name, each in results.items() if name}


def _report_data(
    run: Run, result: Evaluation, rollout: Film | None, further: Mapping[str, str]
) -> ReportData:
    return ReportData(
        title=f"{run.kind} policy on {result.task}",
        policies=[policy_result(run.kind, result, rollout)],
        seconds={"evaluation": result.seconds},
        facts={"run": str(run.path), **further},
        configs={run.kind: (run.path / "config.yaml").read_text()},
        versions=origin(describe(), "evaluation") | origin(run.meta, "training"),
    )


@dataclass(frozen=True)
class Film:
    """A video of some episodes, or why there is none."""

    path: Path | None = None
    missing: str = ""


def policy_result(name: str, result: Evaluation, rollout: Film | None = None) -> PolicyResult:
    """Return an evaluation as the report shows it."""
    loose = result.metrics.get("success_loose")
    return PolicyResult(
        name=name,
        rate=result.rate,
        failures=result.failures,
        loose_rate=None if loose is None else SuccessRate(int(loose.sum()), len(loose)),
        video=rollout.path if rollout else None,
        no_video=rollout.missing if rollout else "",
        note=f"episodes 0-{len(result.success) - 1} of seed {result.seed}",
    )


def film(
    run: Run,
    task: Any,
    engine: Any,
    which: str = "best",
    execute: int | None = None,
    *,
    seed: int,
    num_episodes: int = 6,
) -> Film:
    """Film the first episodes of `seed` side by side into the run's video folder.

    Where this machine cannot render or write it, the log and the result say why.
    """
    agent = load_agent(run, num_episodes, which, execute)
    with closing(make_env(task, engine, num_episodes, cameras_of(agent.policy.spec))) as env:
        try:
            path = run.videos / f"{Path(which).stem}-seed{seed}.mp4"
            return Film(film_episodes(agent, env, seed, path))
        except UserError as error:
            LOG.warning("no video: %s", error)
            return Film(missing=str(error))
