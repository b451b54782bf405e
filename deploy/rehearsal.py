"""Deployment in simulated time: the same planner, gate, controller and limiter, in one process.

What a policy loses between simulation and an arm through limits, latency and set-points can be seen before
there is an arm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from robofb.deploy.arms.sim import SimArm
from robofb.deploy.controller import Controller
from robofb.deploy.modes import Ask, Mode
from robofb.deploy.planner import Planner
from robofb.deploy.tick import Arrived, Chunk, Tick
from robofb.progress import progress_bar
from robofb.rng import derive_seeds


@dataclass
class Rehearsed:
    """What became of the episodes of a rehearsal.

    Attributes:
        success: of each.
        steps: control steps of each.
        ended: mode and reason in which the controller gave up, of those that it did not finish.
        counts: of the controllers, together.
    """

    success: list[bool] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def rehearse(
    planner: Planner,
    arm: SimArm,
    make_controller: Callable[[], Controller],
    episodes: int,
    seed: int,
    *,
    late_parts: int = 0,
    watch: Callable[[Tick], None] | None = None,
) -> Rehearsed:
    """Run episodes 0..N-1 of `seed`, each with a controller of its own.

    Args:
        planner: plans at each control step.
        arm: whose world they are in.
        make_controller: of `arm`, disarmed.
        episodes: N.
        seed: of their starts, as in an evaluation.
        late_parts: set-points by which a plan is later than what it was made from.
        watch: sees every tick.
    """
    found = Rehearsed()
    with progress_bar(episodes, "rehearse", "episode") as bar:
        for number in range(episodes):
            controller = make_controller()
            _run_one(planner, arm, controller, int(derive_seeds(seed, number)), late_parts, watch)
            step = arm.step
            finished = step is not None and bool(step.done[0])
            found.success.append(finished and step is not None and bool(step.info["success"][0]))
            found.steps.append(int(arm.env.elapsed[0]))
            if not finished:
                found.ended.append(f"{controller.mode.value}: {controller.modes.reason}")
            found.counts += controller.counts
            bar.update()
    return found


def _run_one(
    planner: Planner,
    arm: SimArm,
    controller: Controller,
    seed: int,
    late_parts: int,
    watch: Callable[[Tick], None] | None,
) -> None:
    """Run an episode to its end, or until the controller gives up."""
    arm.begin(seed)
    planner.begin(seed)
    asks: tuple[Ask, ...] = (Ask.ARM, Ask.RUN)
    coming: list[tuple[float, Chunk]] = []  # when, and what
    while True:
        now_s = arm.time_s
        if round(now_s / arm.dt_s) % arm.parts == 0:
            if arm.step is not None and bool(arm.step.done[0]):
                return
            epoch = controller.timeline.epoch + len(asks)  # each of which begins one
            chunk = Chunk(epoch, now_s, planner.plan(arm.obs))
            coming.append((now_s + late_parts * arm.dt_s, chunk))
        due = [chunk for when_s, chunk in coming if when_s <= now_s + 1e-9]
        coming = [(when_s, chunk) for when_s, chunk in coming if when_s > now_s + 1e-9]
        tick = controller.tick(now_s, Arrived(asks=asks, chunks=due))
        asks = ()
        if watch is not None:
            watch(tick)
        if tick.mode is not Mode.POLICY:
            return
