"""A controller that drives an arm in real time, tick by tick, from a test."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from robofb.deploy.arms.arm import ArmError, ArmState, RobotArm
from robofb.deploy.controller import Controller
from robofb.deploy.limits import Limits
from robofb.deploy.modes import Ask, Mode
from robofb.deploy.tick import Arrived, Tick
from robofb.deploy.timeline import Timeline
from robofb.deploy.watch import Watch

DT_S, PATIENCE_S = 0.01, 120.0
_STANDS_S = 0.1  # an arm whose time stands still is not waited for


def wait_for(arm: RobotArm, since: ArmState | None) -> None:
    """Wait one period of the arm's own time, which is slower than ours where a simulator has no time."""
    until_s = time.monotonic() + _STANDS_S
    time.sleep(DT_S)
    while since is not None and time.monotonic() < until_s:
        try:
            if arm.state().stamp - since.stamp >= DT_S:
                return
        except ArmError:
            return
        time.sleep(0.001)


class Driven:
    """The controller of an arm that is connected."""

    def __init__(self, arm: RobotArm, limits: Limits, watch: Watch) -> None:
        patient = replace(watch, stale_s=0.3, lag_m=0.2)  # a simulator on a busy machine halts and lags
        self.arm, self.controller = arm, Controller(arm, limits, DT_S, 0.1, Timeline(execute=8), patient)

    @property
    def mode(self) -> Mode:
        return self.controller.mode

    @property
    def reason(self) -> str:
        return self.controller.modes.reason

    def tick(self, *asks: Ask) -> Tick:
        """Do one period, and wait for the next."""
        tick = self.controller.tick(time.monotonic(), Arrived(asks=asks))
        wait_for(self.arm, tick.state)
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
