"""A device and a cell for tests: what is said and how the arm answers is known to the last number."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from robofb.deploy.cell import CellState
from robofb.deploy.tool_target import ACTION_NAMES
from robofb.errors import DeviceLostError
from robofb.types import ArraySpec, EnvSpec, TeleopCommand

FAKE_SPEC = EnvSpec(
    task="fake",
    obs={"state": ArraySpec((9,), unit="m, 1", names=ACTION_NAMES[:9])},
    action=ArraySpec((10,), low=(-1.0,) * 10, high=(1.0,) * 10, names=ACTION_NAMES),
    control_dt=0.1,
    max_steps=100,
)


class FakeTeleop:
    """Say a list of commands, one each read, then quit for ever; an exception in the list is raised.

    Attributes:
        shown: the status of every `show`.
    """

    def __init__(self, commands: Iterable[TeleopCommand | BaseException] = ()) -> None:
        self._commands = deque(commands)
        self._connected = False
        self.shown: list[dict[str, str]] = []

    def connect(self) -> None:
        """Open."""
        self._connected = True

    def read(self) -> TeleopCommand:
        """Return the next command of the list, or raise the next exception."""
        if not self._connected:
            raise DeviceLostError("the fake device is not connected")
        said = self._commands.popleft() if self._commands else TeleopCommand(np.zeros(6), 0.0, False, "quit")
        if isinstance(said, BaseException):
            raise said
        return said

    def show(self, frames: Mapping[str, np.ndarray], status: Mapping[str, str]) -> None:
        """Keep the status."""
        self.shown.append(dict(status))

    def close(self) -> None:
        """Close; safe twice."""
        self._connected = False


class FakeCell:
    """A tool that goes a share of the way to its target in each step, and only in `step`.

    Like an arm it returns from a step when the control period has passed.

    Args:
        now, sleep: the clock [s], which also gives the time stamps.
        follow: share of the way that a step covers; 0 is a blocked arm.
        goal_x_m: success where the tool is beyond this.
        rewinds: whether it can go back.

    Attributes:
        actions: every action commanded.
    """

    spec = FAKE_SPEC

    def __init__(
        self,
        now: Callable[[], float],
        sleep: Callable[[float], None],
        follow: float = 1.0,
        goal_x_m: float = np.inf,
        rewinds: bool = True,
    ) -> None:
        self.rewinds = rewinds
        self.goal_x_m, self.follow = goal_x_m, follow
        self.actions: list[np.ndarray] = []
        self.position_m = np.zeros(3)
        self._now, self._sleep = now, sleep
        self._seed, self._gripper = 0, -1.0

    def reset(self, seed: int) -> CellState:
        """Put the tool to the origin."""
        self.position_m, self._seed, self._gripper = np.zeros(3), seed, -1.0
        return self.hold()

    def step(self, action: np.ndarray) -> CellState:
        """Go `follow` of the way to the action's position."""
        self.actions.append(action)
        self.position_m = self.position_m + self.follow * (action[:3].astype(float) - self.position_m)
        self._gripper = float(action[9])
        self._sleep(self.spec.control_dt)
        return self.hold()

    def hold(self) -> CellState:
        """Return where the tool is."""
        pose = np.array([*self.position_m, 1, 0, 0, 0, 1, 0], np.float32)
        success = bool(self.position_m[0] > self.goal_x_m)
        return CellState(
            {"state": pose}, self._now(), self.position_m, np.eye(3), self._gripper, float(success), success
        )

    def snapshot(self) -> Any:
        """Return the tool's position and gripper."""
        return self.position_m.copy(), self._gripper

    def restore(self, snapshot: Any) -> CellState:
        """Put the tool back; the clock runs on."""
        self.position_m, self._gripper = snapshot[0].copy(), snapshot[1]
        return self.hold()

    def frames(self) -> Mapping[str, np.ndarray]:
        """Return one grey picture."""
        return {"front": np.full((4, 6, 3), 128, np.uint8)}

    def facts(self) -> Mapping[str, Any]:
        """Return the seed of the episode."""
        return {"episode_seed": self._seed}

    def close(self) -> None:
        """Do nothing."""
