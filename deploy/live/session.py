"""A deployment in real time: processes around shared memory, and one that watches over them."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

from robofb.deploy.live.arm_process import ArmSetup, run_arm
from robofb.deploy.live.conductor import EVENTS, Conductor, Ended, Stage
from robofb.deploy.live.crew import Crew, CrewError, Job
from robofb.deploy.live.device_processes import CameraSetup, TeleopSetup, run_camera, run_teleop
from robofb.deploy.live.policy_process import PolicySetup, run_policy
from robofb.deploy.live.process import Life, Pace, in_order, shielded, unheeded
from robofb.deploy.live.recorder_process import RecordSetup, run_recorder
from robofb.deploy.live.records import SUPERVISOR, Addresses, Order, Rings, Seen, said, text
from robofb.deploy.live.rescue import PRESS, run_rescue
from robofb.errors import UserError

LOG = logging.getLogger(__name__)
LOOK_S = 0.01
UNDO = "undo"  # of `types.TELEOP_EVENTS` the one that only a simulation can do


class Operator(Protocol):
    """A person at the supervisor: says what shall happen, and sees what does."""

    def attach(self, addresses: Addresses, parts: Parts) -> None:
        """Know where the processes will tell of themselves, for who wants to see more than `show` shows."""
        ...

    def events(self) -> Sequence[str]:
        """Return what was said since the last call; see `conductor.EVENTS`."""
        ...

    def show(self, status: Mapping[str, str]) -> None:
        """Show short facts by name."""
        ...


@dataclass(frozen=True)
class Parts:
    """What a deployment consists of; None and nothing for what is not there.

    Attributes:
        arm, policy, recorder, teleop: setups of the processes; without a policy a person alone drives.
        num_state: numbers that the policy sees, or that are recorded, beside pictures.
        cameras: by name.
        arm_hung_s: the arm's process is taken for dead that showed no life for longer; but see `ArmSetup`.
        most_restarts: of one of the other processes in a minute.
    """

    arm: ArmSetup
    policy: PolicySetup | None
    num_state: int
    cameras: Mapping[str, CameraSetup] = field(default_factory=dict)
    teleop: TeleopSetup | None = None
    recorder: RecordSetup | None = None
    arm_hung_s: float = 1.0
    most_restarts: int = 5

    def jobs(self) -> dict[str, Job]:
        """Return the processes by name. The arm's is never started again: nobody knows how it was left."""
        jobs = {"arm": Job(run_arm, self.arm, hung_s=self.arm_hung_s, again=False, leave_s=self.arm.busy_s)}
        if self.policy is not None:
            jobs["policy"] = Job(run_policy, self.policy, 5.0)
        jobs |= {f"camera {name}": Job(run_camera, setup, 10.0) for name, setup in self.cameras.items()}
        if self.teleop is not None:
            jobs["teleop"] = Job(run_teleop, self.teleop, 5.0)
        if self.recorder is not None:
            jobs["recorder"] = Job(run_recorder, self.recorder, 10.0, leave_s=60.0)
        return jobs


@dataclass
class Outcome:
    """What became of a session.

    Attributes:
        ended: of each episode.
        counts: of the controller: what was clamped, refused and so on.
        restarts: of processes, by name.
        saved: episodes in the dataset, by number.
        dropped: why others are not.
    """

    ended: list[Ended]
    counts: dict[str, int] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    saved: list[int] = field(default_factory=list)
    dropped: dict[int, str] = field(default_factory=dict)


class LiveSession:
    """Run episodes with an arm, in processes of their own for everything that could stall.

    Args:
        parts: of the deployment.
        conductor: says what comes next.
        operator: a person, or nobody.
    """

    def __init__(self, parts: Parts, conductor: Conductor, operator: Operator) -> None:
        self.parts, self.conductor, self.operator = parts, conductor, operator
        self.outcome = Outcome(conductor.ended)
        self._command_number = self._recorded_number = 0
        self._told_of_undo = False

    def run(self) -> Outcome:
        """Run until the last episode, or the person, or a fault ends it; Ctrl-C ends it as the person does,
        and so do SIGTERM and a terminal that is closed.

        Raises:
            UserError: a process cannot begin, or the arm's is gone; it says what is seen of the arm.
        """
        jobs = self.parts.jobs()
        sizes = {name: (setup.height, setup.width) for name, setup in self.parts.cameras.items()}
        with in_order(), closing(Rings(self.parts.num_state, sizes, list(jobs))) as rings:
            self._life = Life(rings.beats[SUPERVISOR], os.getppid())
            self.rings, self.crew = rings, Crew(jobs, rings.beats, rings.addresses, self.parts.most_restarts)
            self.operator.attach(rings.addresses, self.parts)
            try:
                self._start()
                self._conduct()
            except CrewError as error:
                with unheeded():
                    self._end()
                    raise UserError(f"{error}; {self._rescue()}") from None
            finally:
                with unheeded():
                    self._end()
                    self._take_stock()
        return self.outcome

    def _start(self) -> None:
        """Start the processes; Ctrl-C waits until all are."""
        with shielded():
            self.crew.start()

    def _end(self) -> None:
        """Let all processes leave."""
        self._order(Order("quit"))
        self.crew.end()

    def _conduct(self) -> None:
        """Look, decide and order, over and over."""
        pace, interrupted = Pace(LOOK_S), False
        while self.conductor.stage is not Stage.OVER:
            try:
                for order in self._decide(["quit"] if interrupted else []):
                    self._order(order)
                pace.wait()
            except KeyboardInterrupt:
                if interrupted:
                    raise
                LOG.warning(
                    "ending: an episode that runs is left unjudged, and the arm comes to rest; "
                    "Ctrl-C again ends at once"
                )
                interrupted = True

    def _decide(self, events: list[str]) -> list[Order]:
        """Return what the conductor orders, of all that is seen and said."""
        self._life.beat()
        for what in self.crew.check():
            LOG.warning("the process of the %s: started again", what)
        tick = self.rings.ticks.latest()
        events = [*events, *self.operator.events(), *self._device_events()]
        self._take_stock()
        if tick is None:
            return self.conductor.wait_for_arm(events)
        seen = Seen.of(tick)
        self.operator.show(self._status(seen))
        return self.conductor.step(time.monotonic(), seen, self._ready(), events)

    def _ready(self) -> bool:
        """Return whether every process works, and all cameras show something."""
        working = all(self.crew.lives(name) for name in self.parts.jobs())
        return working and all(ring.latest() is not None for ring in self.rings.glances.values())

    def _device_events(self) -> list[str]:
        """Return what the person said at their device since the last look."""
        found = []
        for number, command in self.rings.commands.since(self._command_number):
            self._command_number = number
            event = command["event"].decode()
            if event in EVENTS:
                found.append(event)
            elif event == UNDO and not self._told_of_undo:
                self._told_of_undo = True
                LOG.warning("undo: an arm cannot go back to what was; drive on, or discard the episode")
        return found

    def _take_stock(self) -> None:
        """Keep what the recorder and the controller say."""
        for number, record in self.rings.recorded.since(self._recorded_number):
            self._recorded_number = number
            episode = int(record["episode"])
            if record["saved"]:
                self.outcome.saved.append(episode)
            else:
                self.outcome.dropped[episode] = said(bytes(record["word"]))
                self.conductor.lost.add(episode)
                LOG.warning("episode %d is not recorded: %s", episode, self.outcome.dropped[episode])
        counts = self.rings.counts.latest()
        if counts is not None:
            self.outcome.counts = json.loads(counts.value["json"])
        self.outcome.restarts = dict(self.crew.restarts)

    def _order(self, order: Order) -> None:
        self.rings.orders.write(
            kind=order.kind.encode(),
            what=order.what.encode(),
            episode=order.episode,
            seed=order.seed,
            reason=text(order.reason),
        )

    def _rescue(self) -> str:
        """Let a fresh process stop an arm whose own is gone, and watch it; return what that one says."""
        rings = Rings(1, {}, ["arm"])
        with closing(rings):
            crew = Crew(
                {"arm": Job(run_rescue, self.parts.arm, 10.0, leave_s=60.0)}, rings.beats, rings.addresses
            )
            crew.start()
            crew.end()
            word = rings.beats["arm"].latest()
        return f"nobody could stop the arm: {PRESS}" if word is None else said(bytes(word.value["word"]))

    def _status(self, seen: Seen) -> dict[str, str]:
        """Return what a person reads."""
        outcome = self.outcome
        return {
            "session": self.conductor.stage.value,
            "episode": f"{self.conductor.number} of {self.conductor.episodes}",
            "arm": seen.mode.value,
            "why": seen.reason,
            "steps": str(seen.steps),
            "successes": f"{self.conductor.successes} of {self.conductor.number}",
            "restarts": ", ".join(f"{name} {count} times" for name, count in outcome.restarts.items()),
            "recorded": f"{len(outcome.saved)} episodes" if self.parts.recorder is not None else "",
            "dropped": "; ".join(f"episode {number}: {why}" for number, why in outcome.dropped.items()),
        }
