"""An arm that is read and never commanded: what a policy would do can be seen before anything moves."""

from __future__ import annotations

from dataclasses import replace

from robofb.deploy.arms.arm import ArmState, ArmTarget, RobotArm


class DryArm:
    """Pretend to be where the last set-point said, beginning where the arm is. Satisfies `arms.arm.RobotArm`.

    Args:
        arm: whose state is read; the rest of it, faults and force too, is told as it is.
    """

    def __init__(self, arm: RobotArm) -> None:
        self._arm = arm
        self._target: ArmTarget | None = None
        self.home = arm.home

    def connect(self) -> None:
        """Open the link."""
        self._arm.connect()
        self._target = None

    def enable(self) -> None:
        """Do nothing: it is read alone."""

    def state(self) -> ArmState:
        """Return the arm's state, with the pose that it would have."""
        state = self._arm.state()
        if self._target is None:
            return state
        return replace(state, pose=self._target.pose, gripper=self._target.gripper)

    def command(self, target: ArmTarget) -> ArmTarget:
        """Send nothing."""
        self._target = target
        return target

    def stop(self) -> None:
        """Do nothing: nothing moves."""

    def recover(self) -> None:
        """Do nothing: the error was not of our making."""

    def close(self) -> None:
        """Close the link."""
        self._arm.close()
