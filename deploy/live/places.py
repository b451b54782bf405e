"""Where an arm's process finds its arm: plain values that travel to it, and make a bench there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from robofb.build import build
from robofb.deploy.arms.arm import RobotArm
from robofb.deploy.arms.dry import DryArm
from robofb.deploy.live.bench import RealBench, SimBench
from robofb.errors import UserError
from robofb.loading import make_sim_env


@dataclass(frozen=True)
class RealPlace:
    """An arm that is there.

    Attributes:
        arm: config node.
        hz: set-points a second.
        names: what a policy sees; see `bench.SEEN`.
        dry: compute everything, command nothing.
    """

    arm: Mapping[str, Any]
    hz: float
    names: tuple[str, ...]
    dry: bool = False

    def check(self) -> None:
        """Make the arm, which opens nothing yet.

        Raises:
            UserError: names the setting that no arm could work with.
        """
        try:
            build(self.arm)
        except UserError as error:
            raise UserError(f"arm: {error}") from error

    def make(self) -> RealBench:
        """Return its bench."""
        arm: RobotArm = build(self.arm)
        return RealBench(DryArm(arm) if self.dry else arm, self.hz, self.names)


@dataclass(frozen=True)
class SimPlace:
    """A simulated task in real time.

    Attributes:
        arm: config node of `arms.sim.SimArm`.
        task, engine: config nodes.
    """

    arm: Mapping[str, Any]
    task: Mapping[str, Any]
    engine: Mapping[str, Any]

    def make(self) -> SimBench:
        """Return its bench, in some start state."""
        torch.set_num_threads(1)
        arm = build(self.arm, make_sim_env(self.task, self.engine, 1, autoreset=False))
        arm.begin(0)
        return SimBench(arm)
