"""What a task says of itself so that reset banks can be made for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from robofb.interfaces import Engine, Task
from robofb.sim.ik import SerialArm

KINDS = ("reaching", "near_object", "grasped", "near_goal")
NO_KIND = -1
NEAR_GRASP_M = 0.08  # from the tool to where the part is gripped
HELD_WITHIN_M = 0.02


@dataclass(frozen=True)
class Joining:
    """How two parts are put together and where the brought one is gripped.

    Attributes:
        plug: body that is brought.
        socket: body that it goes to; its z points out of it.
        plug_seat_m: point in the plug's frame that meets ...
        socket_seat_m: ... this one in the socket's frame, z along z.
        free_m: height above that from which the plug can be pulled out, such as a thread's travel.
        tip_m: length of the plug below its seat.
        grasp_m: place of the tool in the plug's frame when it grips.
        headings: rotations (3, 3) of the tool in the plug's frame that may grip it.
        any_heading: the plug may stand in the socket at any turn about the axis; else at none.
    """

    plug: str
    socket: str
    plug_seat_m: tuple[float, ...]
    socket_seat_m: tuple[float, ...]
    free_m: float
    tip_m: float
    grasp_m: tuple[float, ...]
    headings: Sequence[Tensor]
    any_heading: bool


@runtime_checkable
class BankTask(Task, Protocol):
    """A task that reset banks can be made for; actions are absolute tool poses with a gripper."""

    @property
    def arm(self) -> SerialArm:
        """The arm's kinematics, from the world's origin to the tool."""
        ...

    @property
    def home_rad(self) -> Tensor:
        """(N,) joint angles to search others from."""
        ...

    def joinings(self) -> Sequence[Joining]:
        """Return what can be taken apart where the socket is at an episode's start."""
        ...

    def bank_kinds(self, engine: Engine) -> Tensor:
        """Return (B,) int64: index into `KINDS` of each present state, `NO_KIND` where it is none."""
        ...

    def place_arm(self, engine: Engine, ids: Tensor, joints: Tensor) -> None:
        """Write joint angles (n, N) and an open gripper, at rest and commanded to stay."""
        ...


def kinds_of(grasp_m: Tensor, lifted: Tensor, over_goal: Tensor, closed: Tensor) -> Tensor:
    """Return (B,) int64, the kind of each state, by the furthest of its P pairs.

    Args:
        grasp_m: (B, P) distance from the tool to where each plug is gripped.
        lifted: (B, P) bool, the plug is above where it started.
        over_goal: (B, P) bool, it is over or in its socket.
        closed: (B,) bool, the gripper is commanded to close.
    """
    held = closed[:, None] & (grasp_m < HELD_WITHIN_M)
    carried = torch.where(over_goal, 3, torch.where(lifted, 2, NO_KIND))
    free = (grasp_m < NEAR_GRASP_M).long()
    kind = torch.where(held, carried, torch.where(closed[:, None], NO_KIND, free))
    return kind.amax(-1)
