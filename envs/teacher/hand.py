"""What the robots with a teacher share: a hand that looks down, moved by small steps of a commanded place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robofb.envs.furniture.task import FurnitureTask
from robofb.envs.robots import franka
from robofb.errors import UserError
from robofb.interfaces import Engine
from robofb.sim.engine import sensor_columns
from robofb.sim.ik import solve_differential_ik
from robofb.types import ArraySpec

IK_ROUNDS = 4  # from the middle of the room to anywhere in it: leaves some micrometres
HAND_SENSORS = ("tcp_pos_w", "tcp_linvel_w")
ACTION_SPEC = ArraySpec(
    (3,),
    unit="1: of a step",
    low=(-1.0,) * 3,
    high=(1.0,) * 3,
    names=tuple(f"command_step_base_{axis}" for axis in "xyz"),
)


@dataclass(frozen=True)
class Room:
    """Where a hand may be sent, and how fast.

    Attributes:
        origin_m: what observed positions are relative to, in the base frame.
        low_m, high_m: corners of the room of commanded TCP positions, relative to `origin_m`.
        step_m: of the command along each axis, for an action of 1.
        lead_m: along each axis, how far the command may be from where the hand is: bounds the forces.
    """

    origin_m: tuple[float, float, float]
    low_m: tuple[float, float, float]
    high_m: tuple[float, float, float]
    step_m: float
    lead_m: float


def hand_names(frame: str) -> tuple[str, ...]:
    """Return the names of the nine values of `HandTask.hand_state`."""
    return (
        *(f"ee_pos_{frame}_{axis}" for axis in "xyz"),
        *(f"ee_linvel_base_{axis}" for axis in "xyz"),
        *(f"command_ahead_base_{axis}" for axis in "xyz"),
    )


class HandTask(FurnitureTask):
    """Base of the tasks in which an action steps the commanded place of the hand.

    The command is the forward kinematics of the commanded joint angles, which the simulator keeps in `act`;
    no state is held here. Orientation and gripper stay as they are at home.

    Args:
        room: where the hand may be sent.
        max_steps: actions before truncation.
        width_m: opening of the gripper.

    Raises:
        UserError: `max_steps` is below 1.
    """

    def __init__(self, room: Room, max_steps: int, width_m: float) -> None:
        if max_steps < 1:
            raise UserError(f"max_steps={max_steps}: needs at least 1")
        self.room, self.width_m = room, width_m
        super().__init__("low", (), 0.0, "primitive")
        self.meta = {"robot": "franka", "frame": "robot base"}
        self._origin = torch.tensor(room.origin_m, dtype=torch.float64)
        self._room_low = self._origin + torch.tensor(room.low_m, dtype=torch.float64)
        self._room_high = self._origin + torch.tensor(room.high_m, dtype=torch.float64)
        self._turn = self._arm.forward(self._home[None])[0][0, :3, :3]
        self._hand_columns = sensor_columns(self.model, *HAND_SENSORS)
        self._middle_rad = self._home
        for _ in range(IK_ROUNDS):
            self._middle_rad = self._joints_at((self._room_low + self._room_high)[None] / 2)[0]

    def _joints_at(self, position: Tensor) -> Tensor:
        """Return joint angles (n, 7) that bring the TCP to positions (n, 3) [m] in the base frame."""
        joints = self._middle_rad.expand(len(position), -1)
        turn = self._turn.expand(len(position), -1, -1)
        for _ in range(IK_ROUNDS):
            joints = solve_differential_ik(self._arm, joints, position, turn)
        return joints

    def place_hand(self, engine: Engine, ids: Tensor, position: Tensor) -> None:
        """Put the TCP of the worlds `ids` at positions (n, 3) [m] from the origin, at rest."""
        self.place_arm(engine, ids, self._joints_at(self._origin + position.double()), self.width_m)

    def _command(self, engine: Engine) -> Tensor:
        """Return the commanded TCP position (B, 3) [m] in the base frame."""
        tool, _ = self._arm.forward(engine.field("act")[:, : franka.NUM_JOINTS].double())
        return tool[:, :3, 3]

    def apply(self, engine: Engine, action: Tensor) -> None:
        """Step the command by actions (B, 3) in [-1, 1]; larger ones count as these."""
        step = action.to(engine.device, torch.float64).clamp(-1.0, 1.0) * self.room.step_m
        position = engine.field("sensordata")[:, self._hand_columns[:3]].double()
        wanted = torch.minimum(torch.maximum(self._command(engine) + step, self._room_low), self._room_high)
        ahead = (wanted - position).clamp(-self.room.lead_m, self.room.lead_m)
        self.command_pose(engine, position + ahead, self._turn.expand(len(action), -1, -1))

    def hand_state(self, engine: Engine) -> Tensor:
        """Return (B, 9): TCP position from the origin [m], velocity [m/s], the command ahead of it [m]."""
        position, velocity = engine.field("sensordata")[:, self._hand_columns].double().split(3, -1)
        return torch.cat([position - self._origin, velocity, self._command(engine) - position], -1)


def steps_towards(room: Room, state: Tensor, wanted: Tensor) -> Tensor:
    """Return actions (B, 3) that bring the command of states (B, 9 or more) to places (B, 3) [m]."""
    command = state[:, :3] + state[:, 6:9]
    return ((wanted - command) / room.step_m).clamp(-1.0, 1.0)
