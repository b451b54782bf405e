"""What a collection session drives: one workplace with an arm, simulated or real."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from robofb.types import EnvSpec


@dataclass(frozen=True)
class CellState:
    """What a cell shows at one moment.

    Attributes:
        obs: observations by key, without a batch axis; the receiver may keep them.
        time_s: when they were captured, on the cell's own clock, which never goes back but by `restore`.
        tool_pos_base_m: (3,) float64, measured tool position in the robot's base frame.
        tool_rotation_base: (3, 3) float64, measured rotation of the tool in the base frame.
        gripper: -1 where the gripper was told to open, 1 where it was told to close.
        reward: of the step that led here.
        success: the task's own test says that the goal is reached; False where it has none.
        failed: the task can no longer be solved.
    """

    obs: Mapping[str, np.ndarray]
    time_s: float
    tool_pos_base_m: np.ndarray
    tool_rotation_base: np.ndarray
    gripper: float = -1.0
    reward: float = 0.0
    success: bool = False
    failed: bool = False


@runtime_checkable
class Cell(Protocol):
    """An arm and its scene, driven by absolute tool poses at the rate of `spec.control_dt`."""

    spec: EnvSpec
    rewinds: bool  # whether `snapshot` and `restore` work

    def reset(self, seed: int) -> CellState:
        """Bring the scene to a start state; a simulation draws it from `seed`."""
        ...

    def step(self, action: np.ndarray) -> CellState:
        """Command one action (A,) float32 and return the state at the end of its control period.

        An arm returns when the period has passed, a simulation at once: the session keeps the pace.
        """
        ...

    def hold(self) -> CellState:
        """Keep the arm where it is for this control period; a simulation stands still."""
        ...

    def snapshot(self) -> Any:
        """Return the whole present state for `restore`; only where the cell `rewinds`."""
        ...

    def restore(self, snapshot: Any) -> CellState:
        """Go back to a snapshot, clock included; only where the cell `rewinds`."""
        ...

    def frames(self) -> Mapping[str, np.ndarray]:
        """Return what the person should see: (H, W, 3) uint8 RGB by the camera's name."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """Return JSON-ready facts of the present episode, such as its seed."""
        ...

    def close(self) -> None:
        """Let everything go; safe twice."""
        ...
