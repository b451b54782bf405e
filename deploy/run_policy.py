"""Let a trained policy drive an arm: through gate, timeline, controller and limiter."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from omegaconf import OmegaConf

from robofb.build import build, build_whole
from robofb.deploy.arms.sim import SimArm
from robofb.deploy.controller import Controller
from robofb.deploy.live.bench import CONTROL_HZ
from robofb.deploy.planner import Planner
from robofb.deploy.rehearsal import Rehearsed, rehearse
from robofb.deploy.timeline import Timeline
from robofb.deploy.tool_target import ACTION_NAMES
from robofb.errors import UserError, check_at_least, check_between, check_positive, check_seeds, check_threads
from robofb.files import append_line
from robofb.loading import cameras_of, load_agent, make_sim_env
from robofb.run import Run
from robofb.stats import SuccessRate
from robofb.store.checks import check_same_spec

_MOST_LATE_S = 10.0
_OFF_RATE = 1e-6  # share by which a rate may be off for rounding


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
        simulated: the arm is a task in a simulator.
        realtime: in processes of their own, by the clock on the wall. A simulated arm can do without.
        rate: control steps a second, where one wants to be sure: the policy's own is taken in any case.
        control_hz: set-points a second of a real arm: a whole number of them in a control step.
        cameras: by name, one for each `image_<name>` that the policy sees; see configs/camera.
            camera=sim for a simulated arm by the clock; in simulated time it has them by itself.
        teleop: device by which a person takes over, such as teleop=gamepad.
        data: dataset folder that every episode is added to; null records nothing. In real time alone.
        attended: a person at the terminal starts, judges and ends episodes; null: with a real arm.
        page: show what happens in a browser, with buttons that stop it, let it go on and judge. In real time
            alone; needs robofb[view].
        page_host: address that the page listens on; 127.0.0.1 is this machine only. Whoever reaches it can
            press the buttons.
        page_port: of the page; 0 takes a free one, and its address is printed.
        dry: compute everything, command nothing: the arm stays where it is.
        max_steps: control steps of an episode; null takes the task's.
        abort_s: an episode is aborted where a camera shows nothing new for longer.
        episodes: number of episodes; 256 or more for a figure to be quoted.
        seed: of the episodes of a simulated arm; choose another than training's.
        latency_s: of a simulated arm: how much later a plan is there than what it was made from was seen, to
            the nearest set-point.
        fade_s: in which the gap between one plan and the next is worked off. More than a control step delays
            what a policy corrects at each step.
        patience_s: how long after a plan was due the one before it is still followed.
        threads: torch's CPU threads.
        policy_server: host:port of a `robofb deploy server` that plans instead of this machine, with the
            same checkpoint of the same run: `run` stays needed here, says what the policy sees, and
            keeps what came of it. In real time alone.
        policy_token: file with the server's token.
        policy_certificate: the server's server_cert.pem, the only one that is trusted; null for a server on
            this machine that speaks without TLS.
    """

    run: str = "???"
    arm: Any = field(default_factory=dict)
    limits: Any = field(default_factory=dict)
    watch: Any = field(default_factory=dict)
    checkpoint: str = "best"
    execute: int | None = None
    task: Any = None
    engine: Any = field(default_factory=dict)
    simulated: bool = False
    realtime: bool = True
    rate: float | None = None
    control_hz: float = 100.0
    cameras: Any = field(default_factory=dict)
    teleop: Any = None
    data: str | None = None
    attended: bool | None = None
    page: bool = False
    page_host: str = "127.0.0.1"
    page_port: int = 0
    dry: bool = False
    max_steps: int | None = None
    abort_s: float = 1.0
    episodes: int = 16
    seed: int = 20_000
    latency_s: float = 0.0
    fade_s: float = 0.1
    patience_s: float = 0.5
    threads: int = 1
    policy_server: str | None = None
    policy_token: str | None = None
    policy_certificate: str | None = None

    def __post_init__(self) -> None:
        check_at_least(self, 1, "episodes", "threads")
        check_between(self, 0.0, _MOST_LATE_S, "latency_s", "fade_s")
        check_positive(self, "abort_s", "patience_s")
        check_between(self, *CONTROL_HZ, "control_hz")
        check_threads(self.threads)
        check_seeds(self, "seed")
        if self.max_steps is not None:
            check_at_least(self, 1, "max_steps")


@dataclass
class Deployed:
    """What became of all episodes.

    Attributes:
        success: of each.
        steps: control steps of each.
        ended: why some were given up.
        counts: of clamps, refusals and so on.
    """

    success: list[bool]
    steps: list[int]
    ended: list[str]
    counts: Mapping[str, int]


def deploy(cfg: DeployConfig) -> Deployed:
    """Run episodes, print what became of them, and add them to the run's summary and `deployments.jsonl`.

    Raises:
        UserError: the run holds no policy of tool poses, the task is another one than it knows, or the arm
            or a device cannot be had.
    """
    _check(cfg)
    if cfg.realtime:
        from robofb.deploy.live.deployment import check_contacts, run_live  # need more than simulated time

        check_contacts(cfg)
    torch.set_num_threads(cfg.threads)
    run = Run.open(cfg.run)
    agent: Any = load_agent(run, 1, cfg.checkpoint, cfg.execute)
    spec = agent.policy.spec
    if spec.action.names != ACTION_NAMES:
        raise UserError(f"{run.path} does not drive an arm: its action is not {', '.join(ACTION_NAMES)}")
    if cfg.rate is not None and abs(cfg.rate * spec.control_dt - 1.0) > _OFF_RATE:
        raise UserError(f"rate={cfg.rate:g}: {run.path} acts {1 / spec.control_dt:g} times a second")
    if cfg.simulated and not cfg.task:
        cfg.task = OmegaConf.create(run.config.get("task"))
        if not cfg.task:
            raise UserError(f"{run.path} was trained on data alone: say which task=... its arm is in")
    started = time.monotonic()
    if cfg.realtime:
        found = Deployed(*run_live(cfg, run.path, spec))
    else:
        found = _rehearsed(cfg, run, agent)
    _tell(cfg, run, spec.task, found, time.monotonic() - started)
    return found


def _check(cfg: DeployConfig) -> None:
    """Refuse settings that do not go together."""
    if not (cfg.realtime or cfg.simulated):
        raise UserError("realtime=false: only a simulated arm waits for a policy")
    for name, devices in (("camera", cfg.cameras), ("teleop", cfg.teleop)):
        if devices and not cfg.realtime:
            raise UserError(f"{name}: needs realtime=true")
    for name in ("data", "attended", "page", "dry", "policy_server"):
        if (value := getattr(cfg, name)) and not cfg.realtime:
            raise UserError(f"{name}={'true' if value is True else value}: needs realtime=true")
    if cfg.realtime and cfg.latency_s:
        raise UserError(f"latency_s={cfg.latency_s:g}: only simulated time has one; leave it out")
    if cfg.policy_server is None and (cfg.policy_token or cfg.policy_certificate):
        raise UserError("policy_token and policy_certificate: need policy_server=host:port")
    if cfg.policy_server is not None and cfg.policy_token is None:
        raise UserError(f"policy_server={cfg.policy_server}: say policy_token=FILE too")
    if cfg.policy_server is not None and cfg.execute is not None:
        raise UserError(f"execute={cfg.execute}: the policy server says how many; leave it out here")
    if cfg.simulated and cfg.dry:
        raise UserError("dry=true: a simulated arm needs no protection")


def _tell(cfg: DeployConfig, run: Run, task: str, found: Deployed, seconds: float) -> None:
    """Print what became of a deployment, and keep it in the run."""
    rate = SuccessRate(sum(found.success), len(found.success))
    facts = {
        **rate.to_dict(),
        "task": task,
        "seed": cfg.seed,
        "realtime": cfg.realtime,
        "latency_s": cfg.latency_s,
        "mean_steps": sum(found.steps) / max(1, len(found.steps)),
        "gave_up": found.ended,
        "counts": dict(found.counts),
        "seconds": seconds,
    }
    append_line(run.path / "deployments.jsonl", json.dumps(facts))
    run.write_summary({"deploy": facts})
    with suppress(OSError):  # the terminal is gone
        print(f"success {rate}")
        for name, count in sorted(found.counts.items()):
            print(f"{name}: {count}")
        for why, count in Counter(found.ended).items():
            print(f"gave up {count} times, {why}")
        print(f"added to {run.path / 'deployments.jsonl'}{f', episodes to {cfg.data}' if cfg.data else ''}")


def _rehearsed(cfg: DeployConfig, run: Run, agent: Any) -> Deployed:
    """Run the episodes in simulated time."""
    spec = agent.policy.spec
    env = make_sim_env(cfg.task, cfg.engine, 1, cameras_of(spec), autoreset=False)
    limits, watch = build_whole("limits", cfg.limits), build_whole("watch", cfg.watch)
    with closing(build(cfg.arm, env)) as arm:
        check_same_spec(spec, env.spec.only(spec.obs), f"the policy in {run.path}")
        found = _in_simulated_time(cfg, arm, agent, limits, watch)
    return Deployed(found.success, found.steps, found.ended, found.counts)


def _in_simulated_time(cfg: DeployConfig, arm: SimArm, agent: Any, limits: Any, watch: Any) -> Rehearsed:
    def controller() -> Controller:
        timeline = Timeline(1, fade_s=cfg.fade_s, patience_s=cfg.patience_s)  # a planner plans at every step
        return Controller(arm, limits, arm.dt_s, arm.env.spec.control_dt, timeline, watch)

    late = round(cfg.latency_s / arm.dt_s)
    planner = Planner(agent)
    found = rehearse(planner, arm, controller, cfg.episodes, cfg.seed, late_parts=late)
    if planner.cut:
        found.counts["cut: residual"] = planner.cut
    return found
