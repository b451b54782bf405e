"""Deployment's times: the controller's own, the policy's, how old a command is, and what fading is for.

python benchmarks/deploy_timing.py [--seconds 30] [--no-save]

Controller and ages are of real sessions of processes at 100 set-points a second, with an ideal arm: one whose
policy costs nothing, and one with a camera of 30 pictures a second and a policy that computes what the
quickstart's does with 4 DDIM steps. Policies are untrained, of one robot, batch 1, one thread. Seams: plans
of 8 steps, each about 1 cm beside where it should be, followed with and without a fade.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from motion_bounds import shares_of
from policy import INFERENCE_STEPS, POLICIES, make_policy
from results import save_result
from timing import percentiles

from robofb.deploy.arms.ideal import HOME
from robofb.deploy.limits import Limits
from robofb.deploy.live.bench import SEEN
from robofb.deploy.live.conductor import Conductor
from robofb.deploy.live.device_processes import CameraSetup
from robofb.deploy.live.fake import LinePlans, line_parts
from robofb.deploy.live.operators import Nobody
from robofb.deploy.live.session import LiveSession
from robofb.deploy.motion import MotionLimiter
from robofb.deploy.planner import Planner
from robofb.deploy.pose import Pose
from robofb.deploy.safety import Plan
from robofb.deploy.timeline import TimedPlan, Timeline
from robofb.policies.executor import ChunkExecutor
from robofb.types import Obs

HZ, STEP_S = 100.0, 0.1
CAMERA = {"_target_": "robofb.deploy.cameras.synthetic.SyntheticCamera", "_partial_": True}
_PLANS = 100


@dataclass
class CostlyPlans(LinePlans):
    """Go along a line, after a policy has computed what it would do. Satisfies `policy_process.Plans`."""

    def __post_init__(self) -> None:
        self._planner, self._obs = quickstart_planner()

    def plan(self, obs: Obs) -> Any:
        """Return the line's chunk."""
        self._planner.plan(self._obs)
        return super().plan(obs)


@dataclass(frozen=True)
class CostlyPolicy:
    """Makes `CostlyPlans`. Satisfies `policy_process.PolicySource`."""

    folder: Path

    def make(self) -> CostlyPlans:
        """Return them, warm."""
        torch.set_num_threads(1)
        plans = CostlyPlans(self.folder)
        plans.plan({"state": torch.zeros(1, len(SEEN))})
        return plans


class Watcher(Nobody):
    """Keep the ticks of a session."""

    def __init__(self) -> None:
        super().__init__()
        self.session: LiveSession | None = None
        self.ticks: list[np.void] = []
        self._number = 0

    def events(self) -> list[str]:
        """Return nothing; look at the ticks."""
        assert self.session is not None
        for number, tick in self.session.rings.ticks.since(self._number):
            self._number = number
            self.ticks.append(tick)
        return []

    def show(self, status: Mapping[str, str]) -> None:
        """Print nothing."""


def time_session(seconds: float, *, seeing: bool) -> dict[str, Any]:
    """Return times of ticks, of periods, and how old what was seen is when its plan is first followed.

    Args:
        seconds: of the session.
        seeing: with a camera, and a policy that computes; the age of the picture is said, too.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cameras = {"front": CameraSetup("front", CAMERA, 240, 320)} if seeing else {}
        parts = line_parts(folder, hz=HZ, source=CostlyPolicy(folder) if seeing else None, cameras=cameras)
        watcher = Watcher()
        conductor = Conductor(1, 0, attended=False, max_steps=round(seconds / STEP_S))
        watcher.session = LiveSession(parts, conductor, watcher)
        outcome = watcher.session.run()
    ticks = np.array(watcher.ticks)
    followed = np.isfinite(ticks["observed_s"])
    first = ticks[followed & (np.r_[np.nan, ticks["observed_s"][:-1]] != ticks["observed_s"])]
    ages = first["time_s"] - first["observed_s"]
    seen = ticks["frames_age_s"][np.searchsorted(ticks["time_s"], first["observed_s"])]
    return {
        "compute": percentiles(ticks["compute_s"].tolist()),
        "period": percentiles(np.diff(ticks["wall_s"]).tolist()),
        "age_when_first_followed": percentiles(ages.tolist()),
        **({"age_of_the_picture": percentiles((ages + seen).tolist())} if seeing else {}),
        "ticks": len(ticks),
        "overruns": outcome.counts.get("overrun", 0),
    }


def time_policies() -> dict[str, Any]:
    """Return how long a plan takes by policy and DDIM steps."""
    torch.set_num_threads(1)
    found = {}
    for kind in POLICIES:
        for steps in INFERENCE_STEPS:
            policy = make_policy(kind, steps)
            planner, obs = planner_of(policy)
            seconds = []
            for _ in range(_PLANS):
                began_s = time.perf_counter()
                planner.plan(obs)
                seconds.append(time.perf_counter() - began_s)
            found[f"{kind}, {steps} steps"] = percentiles(seconds[3:])
    return found


def planner_of(policy: Any) -> tuple[Planner, Obs]:
    """Return what asks a policy anew at every step, and what it may see."""
    planner = Planner(ChunkExecutor(policy, 1, execute=1, tile=1))
    planner.begin(0)
    return planner, {"state": torch.zeros(1, *policy.spec.obs["state"].shape)}


def quickstart_planner() -> tuple[Planner, Obs]:
    """Return the same of a policy such as the quickstart's, with 4 DDIM steps."""
    return planner_of(make_policy("mlp", INFERENCE_STEPS[0]))


def seams(fade_s: float, noise_m: float = 0.01, plans: int = 40) -> dict[str, float]:
    """Return what plans that do not meet come to: jumps of the target, and shares of the limits behind it."""
    generator, limits = np.random.default_rng(0), Limits()
    timeline, limiter = Timeline(4, fade_s=fade_s), MotionLimiter(limits, 1 / HZ, HOME)
    targets, poses = [], []
    x, y, z = HOME.position_m
    for number in range(plans):
        beside = generator.normal(size=3) * noise_m / np.sqrt(3)
        ways = [y + beside[1] + _fold(0.005 * (4 * number + step)) for step in range(1, 9)]
        rows = [Pose((x + beside[0], way, z + beside[2]), HOME.turn) for way in ways]
        now_s = 4 * number * STEP_S
        timeline.take(TimedPlan(0, now_s, STEP_S, rows[0], Plan(tuple(rows), (-1.0,) * 8)), now_s)
        for tick in range(round(4 * STEP_S * HZ)):
            target = timeline.target(now_s + tick / HZ)
            assert target is not None
            targets.append(target.pose)
            poses.append(limiter.step(target.pose))
    places = np.array([pose.position_m for pose in targets])
    shares = shares_of(poses, limits, 1 / HZ)
    return {
        "largest_jump_of_target_mm": float(1000 * np.linalg.norm(np.diff(places, axis=0), axis=1).max()),
        "rms_jerk_of_target_m_s3": _rms_jerk(targets),
        "rms_jerk_of_set_points_m_s3": _rms_jerk(poses),
        "share_of_jerk_bound": shares["jerk"],
    }


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="of the session")
    parser.add_argument("--no-save", action="store_true", help="leave results as they are")
    args = parser.parse_args()
    found: dict[str, Any] = {
        "policies": time_policies(),
        "seams": {"without a fade": seams(0.0), "with a fade of 0.1 s": seams(0.1)},
        "session": time_session(args.seconds, seeing=False),
        "session that sees": time_session(args.seconds, seeing=True),
    }
    for group in ("policies", "session", "session that sees"):
        for name, facts in found[group].items():
            if isinstance(facts, dict):
                times = f"median {facts['p50_us'] / 1000:.2f} ms, 99 % below {facts['p99_us'] / 1000:.2f} ms"
                print(f"{group}, {name}: {times}")
    for name, facts in found["seams"].items():
        print(name, ", ".join(f"{what} {value:.3g}" for what, value in facts.items()))
    if not args.no_save:
        save_result("deploy_timing", found)


def _fold(value: float) -> float:
    """Return a place in 0..0.2 m that goes to and fro as `value` grows."""
    phase = value % 0.4
    return phase if phase < 0.2 else 0.4 - phase


def _rms_jerk(poses: list[Pose]) -> float:
    jerk = np.diff(np.array([pose.position_m for pose in poses]), n=3, axis=0) * HZ**3
    return float(np.sqrt((jerk**2).sum(1).mean()))


if __name__ == "__main__":
    main()
