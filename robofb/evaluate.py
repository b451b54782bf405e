"""Measure how often an agent succeeds: one code path for every policy, exactly repeatable."""

from __future__ import annotations

import json
import logging
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from robofb.errors import UserError, check_at_least
from robofb.files import append_line
from robofb.interfaces import Agent, VecEnv
from robofb.loading import load_agent, make_env
from robofb.progress import progress_bar
from robofb.provenance import describe, origin
from robofb.report import PolicyResult, ReportData, write_report
from robofb.run import Run, plain
from robofb.sim.film import film_episodes
from robofb.stats import SuccessRate
from robofb.store.checks import check_same_spec

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """Outcome of N numbered episodes; entry n belongs to episode n of `seed`.

    Attributes:
        task: name of the task.
        seed: of the episodes' start states and of every random draw in them.
        success: (N,) bool.
        stage: (N,) int64, how many of `stages` each episode reached at its best.
        length: (N,) int64, control steps.
        metrics: further (N,) values read at each episode's last step.
        stages: names of the task's stages.
        control_dt_s: time of one control step.
        seconds: wall time of the evaluation.
    """

    task: str
    seed: int
    success: np.ndarray
    stage: np.ndarray
    length: np.ndarray
    metrics: dict[str, np.ndarray]
    stages: tuple[str, ...]
    control_dt_s: float
    seconds: float

    @property
    def rate(self) -> SuccessRate:
        """Successes with their Wilson interval."""
        return SuccessRate(int(self.success.sum()), len(self.success))

    @property
    def failures(self) -> dict[str, int]:
        """Return how many episodes failed at each stage: the first one they did not reach."""
        missed = self.stage[~self.success]
        return {name: int((missed == index).sum()) for index, name in enumerate(self.stages)}

    @property
    def successes_per_10_min(self) -> float:
        """Return the rate of successes per ten minutes of robot time, resets not counted."""
        return float(self.success.sum()) * 600.0 / (float(self.length.sum()) * self.control_dt_s)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready facts: {successes, episodes, low, high} and what explains them."""
        return {
            **self.rate.to_dict(),
            "task": self.task,
            "seed": self.seed,
            "failures": self.failures,
            "mean_steps_of_success": float(self.length[self.success].mean()) if self.success.any() else None,
            "successes_per_10_min": self.successes_per_10_min,
            "means": {name: float(values.mean()) for name, values in self.metrics.items()},
            "seconds": self.seconds,
        }


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
    finished = 0
    with progress_bar(episodes, progress, "episode") as bar:
        while finished < episodes:
            step = env.step(agent.next(obs))
            obs = step.obs
            if not step.done.any():
                continue
            counted = step.done & (step.info["episode"] < episodes)
            for name, values in step.info.items():
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
        episodes: number of episodes; 256 or more for a figure to be quoted.
        seed: of the episodes; choose another than training's.
        num_envs: simulated together; changes the speed, not the result.
        execute: actions executed per chunk; null takes the policy's own.
        task: the task; null takes the one that the run was trained on.
        engine: the simulator.
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
    engine: Any = field(default_factory=dict)
    video: bool = True
    threads: int = 1

    def __post_init__(self) -> None:
        check_at_least(self, 1, "episodes", "num_envs", "threads")


def main(cfg: EvalConfig) -> Evaluation:
    """Evaluate a run, write outcome and report into its folder, and print the rate.

    summary.json and report.html hold the last evaluation, evaluations.jsonl one line for each.
    """
    torch.set_num_threads(cfg.threads)
    run = Run.open(cfg.run)
    agent = load_agent(run, cfg.num_envs, cfg.checkpoint, cfg.execute)
    if run.config.get("select_seed") == cfg.seed:
        LOG.warning("seed=%d chose this run's best checkpoint: its success there is flattered", cfg.seed)
    task = cfg.task or OmegaConf.create(run.config.get("task"))
    if not task:
        raise UserError(f"{run.path} was trained on data alone: say which task=... to evaluate it in")
    with closing(make_env(task, cfg.engine, cfg.num_envs)) as env:
        seen = agent.policy.spec
        check_same_spec(seen, env.spec.only(seen.obs), f"the policy in {run.path}")
        result = evaluate(agent, env, cfg.episodes, cfg.seed, progress="evaluate")
    facts = plain({**result.to_dict(), "checkpoint": cfg.checkpoint, "execute": agent.execute})
    append_line(run.path / "evaluations.jsonl", json.dumps(facts))
    run.write_summary({"eval": facts})
    print(f"success {result.rate}")
    print("failed at " + ", ".join(f"{stage} {count}" for stage, count in result.failures.items()))
    rollout = film(run, task, cfg.engine, cfg.checkpoint, cfg.execute, seed=cfg.seed) if cfg.video else None
    print(f"report {write_report(run.path / 'report.html', _report_data(run, result, rollout))}")
    return result


def _report_data(run: Run, result: Evaluation, rollout: Film | None) -> ReportData:
    return ReportData(
        title=f"{run.kind} policy on {result.task}",
        policies=[policy_result(run.kind, result, rollout)],
        seconds={"evaluation": result.seconds},
        facts={
            "run": str(run.path),
            "successes per 10 min of robot time": f"{result.successes_per_10_min:.1f}",
        },
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
    with closing(make_env(task, engine, num_episodes)) as env:
        try:
            path = run.videos / f"{Path(which).stem}-seed{seed}.mp4"
            return Film(film_episodes(agent, env, seed, path))
        except UserError as error:
            LOG.warning("no video: %s", error)
            return Film(missing=str(error))
