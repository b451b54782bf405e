"""A controller that drives an arm in real time, tick by tick, from a test."""

from __future__ import annotations

import time
from collections.abc import Callable

from robofb.deploy.arms.arm import RobotArm
from robofb.deploy.controller import Controller
from robofb.deploy.limits import Limits
from robofb.deploy.modes import Ask, Mode
from robofb.deploy.tick import Arrived, Tick
from robofb.deploy.timeline import Timeline
from robofb.deploy.watch import Watch

DT_S, PATIENCE_S = 0.01, 60.0


class Driven:
    """The controller of an arm that is connected."""

    def __init__(self, arm: RobotArm, limits: Limits, watch: Watch) -> None:
        self.arm, self.controller = arm, Controller(arm, limits, DT_S, 0.1, Timeline(execute=8), watch)

    @property
    def mode(self) -> Mode:
        return self.controller.mode

    @property
    def reason(self) -> str:
        return self.controller.modes.reason

    def tick(self, *asks: Ask) -> Tick:
        """Do one period, and wait for the next."""
        tick = self.controller.tick(time.monotonic(), Arrived(asks=asks))
        time.sleep(DT_S)
        return tick

    def ticks(self, number: int) -> list[Tick]:
        return [self.tick() for _ in range(number)]

    def until(self, holds: Callable[[Tick], bool]) -> Tick:
        """Tick until something holds; return that tick."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds(tick := self.tick()):
            assert time.monotonic() < deadline, f"{tick.mode}: {tick.reason}"
        return tick

    def going_home(self) -> Driven:
        """Arm, and be on the way home."""
        assert self.tick(Ask.ARM).mode is Mode.READY, self.reason
        assert self.tick(Ask.HOME).mode is Mode.HOMING
        self.ticks(10)
        assert self.mode is Mode.HOMING, self.reason
        return self
