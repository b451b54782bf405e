"""The process that alone owns the arm: it runs the controller at its rate, whatever becomes of the others."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robofb.deploy.arms.arm import ArmError
from robofb.deploy.controller import Controller
from robofb.deploy.limits import Limits
from robofb.deploy.live.arrivals import Arrivals
from robofb.deploy.live.bench import Bench, set_points_in
from robofb.deploy.live.judged import NotedGate
from robofb.deploy.live.process import Life, Pace, attacher
from robofb.deploy.live.records import MODES, MOST_JOINTS, VERDICTS, Addresses, row_of, text
from robofb.deploy.modes import COMMANDING, Ask, Mode
from robofb.deploy.ring import Ring
from robofb.deploy.scene import tell
from robofb.deploy.tick import Arrived, Tick
from robofb.deploy.timeline import Timeline
from robofb.deploy.watch import Watch
from robofb.errors import UserError

BRAKE_S = 3.0  # in which the arm must have come to rest when all ends
RECONNECT_S = 1.0
_COUNTS_EVERY = 10  # ticks


class Place(Protocol):
    """Makes a bench, in the process that will own its arm."""

    def make(self) -> Bench:
        """Return it, its arm not connected."""
        ...


@dataclass(frozen=True)
class ArmSetup:
    """What the arm's process makes its parts from.

    Attributes:
        place: of the arm.
        limits, watch: of what it may be asked, and when something is wrong.
        action_dt_s: a control step: between the actions of a policy.
        fade_s, patience_s: see `Timeline`.
        busy_s: what connecting, arming and recovering may take, in which the process is not dead.
    """

    place: Place
    limits: Limits
    watch: Watch
    action_dt_s: float
    fade_s: float = 0.1
    patience_s: float = 0.5
    busy_s: float = 30.0

    def controller(self, bench: Bench, gate: NotedGate) -> Controller:
        """Return a controller of the bench's arm, whose chunks a gate judges."""
        timeline = Timeline(1, fade_s=self.fade_s, patience_s=self.patience_s)  # one plan each control step
        return Controller(bench.arm, self.limits, bench.dt_s, self.action_dt_s, timeline, self.watch, gate)


def run_arm(setup: ArmSetup, addresses: Addresses, parent: int) -> None:
    """Own the arm until told to quit, or the parent is gone; the process's main function."""
    with ExitStack() as stack:
        life = Life(stack.enter_context(closing(Ring.attach(addresses.beats["arm"]))), parent)
        life.begin(by_order=True)
        try:
            bench = setup.place.make()
            stack.enter_context(closing(bench.arm))
            bench.arm.connect()
            loop = ArmLoop(bench, setup, addresses, stack, life)
        except (ArmError, UserError) as error:
            life.last_word(str(error))
            return
        pace = Pace(bench.dt_s)
        while not (life.over or loop.quit):
            loop.tick()
            life.beat()
            pace.wait()
        with life.busy(setup.busy_s):
            loop.stop()
            bench.arm.close()


class ArmLoop:
    """Run a bench's controller between the rings.

    Args:
        bench: whose arm is connected.
        setup: see there.
        addresses: of all rings.
        stack: lets them go.
        life: of the process.

    Raises:
        UserError: the control step is no whole number of set-points.
    """

    def __init__(
        self, bench: Bench, setup: ArmSetup, addresses: Addresses, stack: ExitStack, life: Life
    ) -> None:
        self.bench, self.setup = bench, setup
        self._gate = NotedGate(setup.limits, setup.action_dt_s)
        self.controller = setup.controller(bench, self._gate)
        self._life = life
        self._steps_every = set_points_in(setup.action_dt_s, bench.dt_s)
        attach = attacher(stack)
        self._ticks, self._counts = attach(addresses.ticks), attach(addresses.counts)
        self._arrivals = Arrivals(addresses, attach, setup.watch.silent_s)
        self._orders, self._scene = attach(addresses.orders), attach(addresses.scene)
        self._order_number = self._sent = self._ticked = self._steps = 0
        self._episode = self._coming = -1
        self._state: np.ndarray | None = None
        self._begun_s = self._connected_s = float("-inf")
        self.quit = False

    def tick(self) -> Tick:
        """Do one control period."""
        began_s = time.monotonic()
        asks = self._obey()
        if self.controller.mode is Mode.DISARMED:
            self._reconnect(began_s)
        if self._coming != self._episode and self._is_seen(began_s):
            self._episode = self._coming
        now_s = self.bench.now_s()
        is_step = self._sent % self._steps_every == 0
        arrived = self._arrivals.since(asks, began_s)
        with self._patience(asks):
            tick = self.controller.tick(now_s, arrived)
        is_step = is_step and tick.sent is not None
        self._sent += tick.sent is not None
        self._steps += is_step and tick.mode in (Mode.POLICY, Mode.HUMAN)
        self._publish(tick, arrived, is_step, began_s)
        return tick

    def stop(self) -> None:
        """Brake to rest, then leave the arm to itself."""
        pace, until_s = Pace(self.bench.dt_s), time.monotonic() + BRAKE_S
        asks: tuple[Ask, ...] = (Ask.STOP,)
        while time.monotonic() < until_s:
            tick = self.controller.tick(self.bench.now_s(), Arrived(asks=asks))
            asks = ()
            if tick.mode in (Mode.FAULT, Mode.DISARMED):
                break
            pace.wait()
        self.bench.arm.stop()

    def _patience(self, asks: Sequence[Ask]) -> AbstractContextManager[None]:
        """Say so where a tick may take long: who begins anew waits for the arm, which is at rest."""
        begins = asks and self.controller.mode not in COMMANDING
        return self._life.busy(self.setup.busy_s) if begins else nullcontext()

    def _obey(self) -> list[Ask]:
        """Return what is asked of the controller; begin and end episodes."""
        asks = []
        for number, order in self._orders.since(self._order_number):
            self._order_number = number
            kind, what = order["kind"].decode(), order["what"].decode()
            if kind == "ask":
                asks.append(Ask(what))
            elif kind == "begin":
                self._coming, self._sent, self._steps = int(order["episode"]), 0, 0
                self.bench.begin(int(order["seed"]))
                self._begun_s = time.monotonic()
            elif kind == "end":
                self._episode = self._coming = -1
            elif kind == "quit":
                self.quit = True
        return asks

    def _is_seen(self, now_s: float) -> bool:
        """Return whether every camera has shown the scene as it was set up for the episode that begins.

        What shows the one before it would be taken for this one's. A camera that is late is judged as any is.
        """
        return self._arrivals.shown_since(self._begun_s) or now_s - self._begun_s > self.setup.watch.frozen_s

    def _reconnect(self, now_s: float) -> None:
        """Open a lost link again; nobody arms the arm but a person."""
        if now_s - self._connected_s < RECONNECT_S:
            return
        self._connected_s = now_s
        try:
            self.bench.arm.state()
        except ArmError:
            try:
                with self._life.busy(self.setup.busy_s):
                    self.bench.arm.connect()
            except (ArmError, UserError) as error:
                self.controller.modes.reason = str(error)

    def _publish(self, tick: Tick, arrived: Arrived, is_step: bool, began_s: float) -> None:
        """Say what happened, and how a simulated scene stands now."""
        if len(numbers := self.bench.scene()):
            tell(self._scene, numbers, time.monotonic())
        state = tick.state
        if state is not None and (is_step or self._state is None):
            self._state = self.bench.observe(state)
        num_state = self._ticks.dtype["state"].shape[0]
        seen = self._state if self._state is not None else np.zeros(num_state, np.float32)
        sent = tick.sent
        self._ticks.write(
            time_s=tick.time_s,
            wall_s=began_s,
            compute_s=time.monotonic() - began_s,
            mode=MODES.index(tick.mode),
            verdict=VERDICTS.index(self.bench.verdict() if self._episode >= 0 else ""),
            is_step=is_step,
            blind=arrived.frames_age_s > self.setup.watch.frozen_s,
            linked=state is not None,
            at_home=self.controller.is_home,
            at_rest=self.controller.at_rest,
            epoch=tick.epoch,
            episode=self._episode,
            steps=self._steps,
            gate=self._gate.totals,
            judged=self._gate.newest,
            frames_age_s=arrived.frames_age_s,
            pictures=self._arrivals.pictures,
            observed_s=self.controller.timeline.observed_s,
            state=seen,
            pose=row_of(None, 0.0) if state is None else row_of(state.pose, state.gripper),
            joints=_padded(() if state is None else state.joints_rad),
            force=(state.force_n if state is not None else None) or (0.0, 0.0, 0.0),
            sent=row_of(None, 0.0) if sent is None else row_of(sent.pose, sent.gripper),
            reason=text(tick.reason),
        )
        if is_step:
            self._gate.forget()
        self._ticked += 1
        if self._ticked % _COUNTS_EVERY == 1:
            self._counts.write(json=json.dumps(self.controller.counts).encode()[:4000])


def _padded(joints: tuple[float, ...]) -> list[float]:
    return [*joints[:MOST_JOINTS], *([0.0] * (MOST_JOINTS - len(joints)))]
