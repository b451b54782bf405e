"""Deployment in simulated time: the same planner, gate, controller and limiter, in one process.

What a policy loses between simulation and an arm through limits, latency and set-points can be seen before
there is an arm; and so can what it gains from a person who takes over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from robofb.deploy.arms.sim import SimArm
from robofb.deploy.controller import Controller
from robofb.deploy.modes import COMMANDING, Ask, Mode
from robofb.deploy.planner import Planner
from robofb.deploy.tick import Arrived, Chunk, Tick
from robofb.progress import progress_bar
from robofb.rng import derive_seeds
from robofb.sim.record import Recorder
from robofb.store.episodes import EpisodeStore
from robofb.types import SOURCE_INTERVENTION, SOURCE_POLICY, Episode, TeleopCommand


class Person(Protocol):
    """Somebody who watches a rehearsal, and may take over and let the policy go on."""

    def begin(self, seed: int) -> None:
        """Start to watch an episode."""
        ...

    def act(self, arm: SimArm, last: Tick | None) -> tuple[tuple[Ask, ...], TeleopCommand | None]:
        """Return what they ask for and command at a tick, having seen the one before it, if there was one."""
        ...


@dataclass
class Rehearsed:
    """What became of the episodes of a rehearsal.

    Attributes:
        success: of each.
        steps: control steps of each.
        ended: mode and reason in which the controller gave up, of those that it did not finish.
        driven_steps: control steps of each in which a person drove.
        counts: of the controllers, together.
    """

    success: list[bool] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    driven_steps: list[int] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, run: _Rehearsal) -> None:
        """Take in an episode that has been played."""
        self.success.append(run.has_succeeded)
        self.steps.append(len(run.sources))
        self.driven_steps.append(run.sources.count(SOURCE_INTERVENTION))
        if not run.is_over:
            self.ended.append(f"{run.controller.mode.value}: {run.controller.modes.reason}")
        self.counts += run.controller.counts


def rehearse(
    planner: Planner,
    arm: SimArm,
    make_controller: Callable[[], Controller],
    episodes: int,
    seed: int,
    *,
    late_parts: int = 0,
    watch: Callable[[Tick], None] | None = None,
    person: Person | None = None,
    store: EpisodeStore | None = None,
) -> Rehearsed:
    """Run episodes 0..N-1 of `seed`, each with a controller of its own.

    Args:
        planner: plans at each control step of the policy's.
        arm: whose world they are in.
        make_controller: of `arm`, disarmed.
        episodes: N.
        seed: of their starts, as in an evaluation.
        late_parts: set-points by which a plan is later than what it was made from.
        watch: sees every tick.
        person: may take over; without one, an episode ends where the policy does not drive.
        store: of the spec of the arm's world; every episode with a control step is added. Its actions are
            the last set-points of the steps, its sources say who drove.
    """
    found = Rehearsed()
    with progress_bar(episodes, "rehearse", "episode") as bar:
        for number in range(episodes):
            run = _Rehearsal(planner, arm, make_controller(), late_parts, person)
            for tick in run.play(int(derive_seeds(seed, number))):
                if watch is not None:
                    watch(tick)
            found.add(run)
            if store is not None and run.sources:
                store.append(run.episode())
            bar.update()
    return found


class _Rehearsal:
    """One episode, to its end or until the controller gives up.

    Args:
        controller: disarmed.

    Attributes:
        sources: of each control step so far: an intervention where a person drove as it began.
    """

    def __init__(
        self,
        planner: Planner,
        arm: SimArm,
        controller: Controller,
        late_parts: int,
        person: Person | None,
    ) -> None:
        self.planner, self.arm, self.controller, self.person = planner, arm, controller, person
        self.sources: list[int] = []
        self._late_s = late_parts * arm.dt_s
        self._coming: list[tuple[float, Chunk]] = []  # when, and what

    def play(self, seed: int) -> Iterator[Tick]:
        """Run the episode that a seed gives, tick by tick."""
        self._seed = seed
        self.arm.begin(seed)
        self.planner.begin(seed)
        if self.person is not None:
            self.person.begin(seed)
        self._recorder = Recorder(self.arm.env, self.arm.obs, SOURCE_POLICY)
        tick: Tick | None = None
        asks: tuple[Ask, ...] = (Ask.ARM, Ask.RUN)
        while not self.is_over:
            said, command = self.person.act(self.arm, tick) if self.person is not None else ((), None)
            tick, asks = self._tick((*asks, *said), command), ()
            yield tick
            stopped = tick.mode not in COMMANDING  # then no time passes any more
            if stopped or (self.person is None and tick.mode is not Mode.POLICY):
                return

    @property
    def is_over(self) -> bool:
        """Whether the episode ended as one of the task does."""
        return self.arm.step is not None and bool(self.arm.step.done[0])

    @property
    def has_succeeded(self) -> bool:
        """Whether it ended in success."""
        return self.arm.step is not None and self.is_over and bool(self.arm.step.info["success"][0])

    def episode(self) -> Episode:
        """Return what was recorded; at least one control step has passed."""
        assert self.arm.step is not None
        terminated = bool(self.arm.step.terminated[0])
        cut = self._recorder.cut(0, self.has_succeeded, terminated, {"episode_seed": self._seed})
        return replace(cut, source=np.array(self.sources, np.uint8))

    def _tick(self, asks: tuple[Ask, ...], command: TeleopCommand | None) -> Tick:
        """Do one control period."""
        arm, now_s, begins = self.arm, self.arm.time_s, self.arm.part == 0
        due = self._plans(asks, command is not None and command.engaged)
        tick = self.controller.tick(now_s, Arrived(asks=asks, chunks=due, command=command))
        if begins:
            self._source = SOURCE_INTERVENTION if tick.mode is Mode.HUMAN else SOURCE_POLICY
        if arm.part == 0 and arm.time_s > now_s and arm.step is not None and arm.action is not None:
            self.sources.append(self._source)
            self._recorder.add(arm.action, arm.step.reward, arm.step.final_obs)
        return tick

    def _plans(self, asks: tuple[Ask, ...], is_taken: bool) -> list[Chunk]:
        """Plan where a control step of the policy's begins; return the plans that are there by now."""
        now_s, epoch, runs = self.arm.time_s, self.controller.timeline.epoch, Ask.RUN in asks
        if runs and epoch:
            self.planner.begin(int(derive_seeds(self._seed, epoch)))  # what it meant to do is past
        if self.arm.part == 0 and not is_taken and (runs or self.controller.mode is Mode.POLICY):
            chunk = Chunk(epoch + len(asks), now_s, self.planner.plan(self.arm.obs))  # each ask begins one
            self._coming.append((now_s + self._late_s, chunk))
        due = [chunk for when_s, chunk in self._coming if when_s <= now_s + 1e-9]
        self._coming = [each for each in self._coming if each[0] > now_s + 1e-9]
        return due
