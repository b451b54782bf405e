"""What every arm does for the controller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from robofb.deploy.pose import Pose, Vector


class ArmError(Exception):
    """The arm did not do what it was asked, and says why. The controller takes it for a fault."""


class LinkLostError(ArmError):
    """Nobody answers any more. The arm must be connected anew, and armed anew."""


@dataclass(frozen=True)
class ArmState:
    """What an arm says of itself.

    Attributes:
        received_s: when that arrived, by `time.monotonic`.
        stamp: the arm's own clock or counter, which stands still where its stream does.
        pose: of the tool, measured, in the base frame.
        joints_rad: measured joint angles; empty where it does not say.
        gripper: -1 (open) .. 1 (closed), measured where the gripper says so, else commanded.
        force_n: force on the tool in the base frame; None where it does not say.
        fault: why it refuses to move, such as a reflex or its user stop; empty where it does not.
    """

    received_s: float
    stamp: float
    pose: Pose
    joints_rad: tuple[float, ...] = ()
    gripper: float = -1.0
    force_n: Vector | None = None
    fault: str = ""


@dataclass(frozen=True)
class ArmTarget:
    """A set-point.

    Attributes:
        pose: of the tool in the base frame.
        gripper: -1 (open) .. 1 (closed).
    """

    pose: Pose
    gripper: float


@runtime_checkable
class RobotArm(Protocol):
    """An arm that is sent set-points of its tool, by one process alone.

    Nothing but `connect`, `enable` and `recover` may block for long.
    """

    home: Pose  # where it goes before an episode

    def connect(self) -> None:
        """Open the link to read alone; nothing moves, and what else drives the arm is left alone.

        Raises:
            UserError: nobody answers, or a package is missing; says what to do.
        """
        ...

    def enable(self) -> None:
        """Make ready for set-points, each time that a person arms it; nothing moves. May take seconds.

        Raises:
            ArmError: it is not ready; says what to do.
        """
        ...

    def state(self) -> ArmState:
        """Return the newest state there is.

        Raises:
            LinkLostError: the link is gone.
        """
        ...

    def command(self, target: ArmTarget) -> ArmTarget:
        """Send a set-point for now; return what was really sent.

        Raises:
            ArmError: it is refused.
        """
        ...

    def stop(self) -> None:
        """Come to rest by the arm's own means, and stay; safe in any state, even twice."""
        ...

    def recover(self) -> None:
        """Clear the arm's own error, once a person has acknowledged it.

        Raises:
            ArmError: it stays in error.
        """
        ...

    def close(self) -> None:
        """Let the arm go, at rest; safe twice."""
        ...
