"""An arm without a body: it is where it was sent one period ago. For dry runs and tests."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from robofb.deploy.arms.arm import ArmError, ArmState, ArmTarget, LinkLostError
from robofb.deploy.pose import Pose, Vector

HOME = Pose((0.48, 0.0, 0.22), (0.0, 1.0, 0.0, 0.0))


@dataclass
class IdealArm:
    """Stand where the last set-point said. Implements `arms.arm.RobotArm`; its faults are there to be set.

    Attributes:
        home: where it goes before an episode.
        pose, gripper: where it is.
        commands: that it was sent, oldest first.
        stops: how often it was stopped.
        fault: it says so, and refuses commands.
        lost: nobody answers.
        frozen: its stamp stands still.
        stuck: it goes nowhere.
        force_n: it feels.
        heals: recovering clears its fault.
    """

    home: Pose = HOME
    pose: Pose = HOME
    gripper: float = -1.0
    commands: list[ArmTarget] = field(default_factory=list)
    stops: int = 0
    fault: str = ""
    lost: bool = False
    frozen: bool = False
    stuck: bool = False
    force_n: Vector | None = None
    heals: bool = True
    _stamp: float = 0.0

    def connect(self) -> None:
        """Answer again."""
        self.lost = False

    def enable(self) -> None:
        """It always is."""

    def state(self) -> ArmState:
        """Return where it is."""
        if self.lost:
            raise LinkLostError("the arm does not answer")
        self._stamp += 0.0 if self.frozen else 1.0
        return ArmState(time.monotonic(), self._stamp, self.pose, (), self.gripper, self.force_n, self.fault)

    def command(self, target: ArmTarget) -> ArmTarget:
        """Be there."""
        if self.lost:
            raise LinkLostError("the arm does not answer")
        if self.fault:
            raise ArmError(self.fault)
        self.commands.append(target)
        if not self.stuck:
            self.pose, self.gripper = target.pose, target.gripper
        return target

    def stop(self) -> None:
        """Count it; it is at rest."""
        self.stops += 1

    def recover(self) -> None:
        """Clear the fault, where it `heals`."""
        if self.fault and not self.heals:
            raise ArmError(f"{self.fault} stays")
        self.fault = ""

    def close(self) -> None:
        """Nothing is to be let go."""
