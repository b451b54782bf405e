"""Let a trained policy drive an arm: through gate, timeline, controller and limiter."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import torch
from omegaconf import OmegaConf

from robofb.build import build
from robofb.deploy.arms.sim import SimArm
from robofb.deploy.controller import Controller
from robofb.deploy.planner import Planner
from robofb.deploy.rehearsal import Rehearsed, rehearse
from robofb.deploy.timeline import Timeline
from robofb.deploy.tool_target import ACTION_NAMES
from robofb.errors import UserError, check_at_least, check_seeds, check_threads
from robofb.files import append_line
from robofb.loading import cameras_of, load_agent, make_sim_env
from robofb.run import Run
from robofb.stats import SuccessRate
from robofb.store.checks import check_same_spec


@dataclass
class DeployConfig:
    """What `robofb deploy` reads.

    Attributes:
        run: run folder of a chunk policy, a residual or a student.
        arm: what it drives, with its limits.
        limits: where the tool may be and how fast it may move; see `deploy/limits.py`.
        watch: when something is wrong with the arm; see `deploy/watch.py`.
        checkpoint: latest, best, or a checkpoint's path.
        execute: actions executed per chunk; null takes the policy's own.
        task: of a simulated arm; null takes the one that the run was trained on.
        engine: the simulator of a simulated arm.
        episodes: number of episodes; 256 or more for a figure to be quoted.
        seed: of the episodes of a simulated arm; choose another than training's.
        latency_s: of a simulated arm: how much later a plan is there than what it was made from was seen, to
            the nearest set-point.
        fade_s: in which the gap between one plan and the next is worked off. More than a control step delays
            what a policy corrects at each step.
        patience_s: how long after a plan was due the one before it is still followed.
        threads: torch's CPU threads.
    """

    run: str = "???"
    arm: Any = field(default_factory=dict)
    limits: Any = field(default_factory=dict)
    watch: Any = field(default_factory=dict)
    checkpoint: str = "best"
    execute: int | None = None
    task: Any = None
    engine: Any = field(default_factory=dict)
    episodes: int = 16
    seed: int = 20_000
    latency_s: float = 0.0
    fade_s: float = 0.1
    patience_s: float = 0.5
    threads: int = 1

    def __post_init__(self) -> None:
        check_at_least(self, 1, "episodes", "threads")
        check_at_least(self, 0, "latency_s", "fade_s", "patience_s")
        check_threads(self.threads)
        check_seeds(self, "seed")


def deploy(cfg: DeployConfig) -> Rehearsed:
    """Run episodes, print what became of them, and add them to the run's summary and `deployments.jsonl`.

    Raises:
        UserError: the run holds no policy of tool poses, or the task is another one than it knows.
    """
    torch.set_num_threads(cfg.threads)
    run = Run.open(cfg.run)
    agent: Any = load_agent(run, 1, cfg.checkpoint, cfg.execute)
    spec = agent.policy.spec
    if spec.action.names != ACTION_NAMES:
        raise UserError(f"{run.path} does not drive an arm: its action is not {', '.join(ACTION_NAMES)}")
    task = cfg.task or OmegaConf.create(run.config.get("task"))
    if not task:
        raise UserError(f"{run.path} was trained on data alone: say which task=... its arm is in")
    env = make_sim_env(task, cfg.engine, 1, cameras_of(spec), autoreset=False)
    with closing(build(cfg.arm, env)) as arm:
        check_same_spec(spec, env.spec.only(spec.obs), f"the policy in {run.path}")
        started = time.monotonic()
        found = _rehearsed(cfg, arm, agent)
    rate = SuccessRate(sum(found.success), len(found.success))
    facts = {
        **rate.to_dict(),
        "task": env.spec.task,
        "seed": cfg.seed,
        "latency_s": cfg.latency_s,
        "mean_steps": sum(found.steps) / len(found.steps),
        "gave_up": found.ended,
        "counts": dict(found.counts),
        "seconds": time.monotonic() - started,
    }
    append_line(run.path / "deployments.jsonl", json.dumps(facts))
    run.write_summary({"deploy": facts})
    print(f"success {rate}")
    for name, count in sorted(found.counts.items()):
        print(f"{name}: {count}")
    for why in dict.fromkeys(found.ended):
        print(f"gave up {found.ended.count(why)} times, {why}")
    return found


def _rehearsed(cfg: DeployConfig, arm: SimArm, agent: Any) -> Rehearsed:
    """Run the episodes in simulated time."""
    limits, watch = build(cfg.limits), build(cfg.watch)

    def controller() -> Controller:
        timeline = Timeline(1, fade_s=cfg.fade_s, patience_s=cfg.patience_s)  # a planner plans at every step
        return Controller(arm, limits, arm.dt_s, arm.env.spec.control_dt, timeline, watch)

    late = round(cfg.latency_s / arm.dt_s)
    return rehearse(Planner(agent), arm, controller, cfg.episodes, cfg.seed, late_parts=late)
