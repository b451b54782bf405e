"""What a gripper does for an arm that has none of its own."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Gripper(Protocol):
    """Opens and closes. Nothing but `connect`, `recover` and `close` may wait for the device.

    Attributes:
        position: -1 (open) .. 1 (closed); 1 as well while it holds something.
        fault: why it does not move; empty where it does.
    """

    @property
    def position(self) -> float: ...

    @property
    def fault(self) -> str: ...

    def connect(self, host: str) -> None:
        """Open the link by way of an arm's control box; nothing moves.

        Raises:
            UserError: nobody answers, or the gripper is not ready; says what to do.
        """
        ...

    def command(self, gripper: float) -> None:
        """Open (negative) or close (positive); the same again changes nothing."""
        ...

    def recover(self) -> None:
        """Go on after a fault, once a person has acknowledged it.

        Raises:
            ArmError: it stays at fault.
        """
        ...

    def close(self) -> None:
        """Let it go as it is; safe twice."""
        ...


class NoGripper:
    """Nothing at the tool: says what it was told. Satisfies `Gripper`."""

    fault = ""

    def __init__(self) -> None:
        self.position = -1.0

    def connect(self, host: str) -> None:
        """Nothing is to be opened."""

    def command(self, gripper: float) -> None:
        """Remember it."""
        self.position = gripper

    def recover(self) -> None:
        """Nothing is to be cleared."""

    def close(self) -> None:
        """Nothing is to be let go."""
