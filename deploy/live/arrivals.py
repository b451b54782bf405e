"""What comes to the arm's process between two of its ticks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robofb.deploy.cameras.freshness import Freshness
from robofb.deploy.live.records import SUPERVISOR, Addresses, frame_in
from robofb.deploy.modes import Ask
from robofb.deploy.ring import Ring
from robofb.deploy.tick import Arrived, Chunk
from robofb.types import TeleopCommand


class Arrivals:
    """Read the rings that policy, person, cameras and supervisor write to.

    Args:
        addresses: of all rings.
        attach: opens one.
        silent_s: after which a person's device that says nothing counts as lost.

    Attributes:
        pictures: of each camera the number of its newest picture at the last call of `since`; 0 for none.
    """

    def __init__(self, addresses: Addresses, attach: Callable[[Any], Ring], silent_s: float) -> None:
        self.silent_s = silent_s
        self._plans, self._commands = attach(addresses.plans), attach(addresses.commands)
        self._supervisor = attach(addresses.beats[SUPERVISOR])
        self._glances = {name: attach(address) for name, address in addresses.glances.items()}
        self._freshness = {name: Freshness(name) for name in addresses.glances}
        self._plan_number = self._command_number = 0
        self.pictures = [0] * len(self._glances)

    def shown_since(self, time_s: float) -> bool:
        """Return whether every camera's newest picture was taken later than that."""
        newest = [ring.latest() for ring in self._glances.values()]
        return all(each is not None and each.value["captured_s"] > time_s for each in newest)

    def since(self, asks: Sequence[Ask], now_s: float) -> Arrived:
        """Return what came since the last call, with what persons ask."""
        chunks = []
        for number, plan in self._plans.since(self._plan_number):
            self._plan_number = number
            count = int(plan["count"])
            actions = plan["actions"][:count].astype(np.float64) if count >= 0 else None
            chunks.append(Chunk(int(plan["epoch"]), float(plan["observed_s"]), actions))
        beat = self._supervisor.latest()
        alone_s = 0.0 if beat is None else now_s - float(beat.value["at_s"])
        return Arrived(asks, chunks, self._command(now_s), self._frames_age_s(now_s), alone_s)

    def _command(self, now_s: float) -> TeleopCommand | None:
        """Return what the person says now; None where their device is lost or says nothing.

        A press of a gripper's button is said once: it counts though more was said since the last tick.
        """
        news = self._commands.since(self._command_number)
        record = news[-1] if news else self._commands.latest()
        if record is None or now_s - float(record.value["at_s"]) > self.silent_s:
            return None
        self._command_number, value = record.number, record.value
        said = [each.value["gripper"] for each in news if each.value["gripper"] and each.value["engaged"]]
        gripper = float(said[-1] if said else value["gripper"])
        return TeleopCommand(value["twist"].copy(), gripper, bool(value["engaged"]))

    def _frames_age_s(self, now_s: float) -> float:
        """Look at every camera; return the age of the newest picture of the one that is furthest behind."""
        ages = []
        for index, (name, freshness) in enumerate(self._freshness.items()):
            record = self._glances[name].latest()
            if record is not None:
                freshness.see(frame_in(record.value), now_s)
                self.pictures[index] = int(record.value["number"])
            ages.append(freshness.age_s(now_s))
        return max(ages, default=0.0)
