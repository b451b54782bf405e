"""What a scripted expert can do with its gripper: each move says where the TCP should be.

A move is asked for the rows of the batch that are in it. Poses are in the robot's base frame, float32.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robofb.geometry import rotvec_to_matrix

OPEN, CLOSED = -1.0, 1.0


@dataclass(frozen=True)
class Pose:
    """Positions (n, 3) [m] and rotations (n, 3, 3)."""

    position: Tensor
    rotation: Tensor

    def at(self, offset: Tensor) -> Tensor:
        """Return the place (n, 3) of points `offset` (n, 3) or (3,) given in this frame."""
        return self.position + (self.rotation @ offset.expand_as(self.position).unsqueeze(-1)).squeeze(-1)


@dataclass(frozen=True)
class Scene:
    """What the expert sees in n rows.

    Attributes:
        tcp: measured.
        command: last commanded TCP pose, without the hand's noise.
        start: commanded TCP pose when the move began.
        parts: measured, by name.
        grasp_error: (n, 3) where along the grasp the hand errs [m], in the TCP's frame.
        aim_error: (n, 2) by which it misses a hole [m].
    """

    tcp: Pose
    command: Pose
    start: Pose
    parts: dict[str, Pose]
    grasp_error: Tensor
    aim_error: Tensor


@dataclass(frozen=True)
class Target:
    """Where the TCP should go, and how far that is (n,) [m]."""

    pose: Pose
    distance: Tensor


@dataclass(frozen=True, kw_only=True)
class Move(ABC):
    """One move of a plan; a subclass says where to.

    Attributes:
        gripper: OPEN or CLOSED.
        speed_m_s: of the commanded position.
        turn_rad_s: of the commanded rotation.
        tolerance_m: the move ends when the target is nearer than this.
        least: control steps that it takes at least.
        most: and at most; it ends then, reached or not.
        wander: share of the hand's usual wander: people are steadier where they take care.
        care: share of the usual errors of grasping and aiming: smaller parts are met more closely.
        check: whether rows (n,) bool may go on; others go back `back` moves.
        back: see `check`.
    """

    gripper: float = CLOSED
    speed_m_s: float = 0.2
    turn_rad_s: float = 1.6
    tolerance_m: float = 0.004
    least: int = 1
    most: int = 40
    wander: float = 1.0
    care: float = 1.0
    check: Callable[[Scene], Tensor] | None = None
    back: int = 0

    @abstractmethod
    def target(self, scene: Scene) -> Target:
        """Return where to go from here."""


@dataclass(frozen=True, kw_only=True)
class Wait(Move):
    """Stay, while the gripper opens or closes."""

    least: int = 4
    most: int = 4

    def target(self, scene: Scene) -> Target:
        """Return where the move began."""
        return Target(scene.start, torch.zeros(len(scene.start.position)))


@dataclass(frozen=True, kw_only=True)
class Reach(Move):
    """Go to a grasp of a part.

    Attributes:
        part: to grasp.
        grasp_m: place of the TCP in the part's frame.
        headings: rotations of the TCP in the part's frame that serve; the nearest to `like` is taken.
        like: rotation of the TCP in the base frame that is liked best; None: the present command.
        stand_off_m: how far before the grasp to stop, against the TCP's z.
    """

    part: str
    grasp_m: tuple[float, float, float]
    headings: Sequence[Tensor]
    like: Tensor | None = None
    stand_off_m: float = 0.0
    gripper: float = OPEN

    def target(self, scene: Scene) -> Target:
        """Return the grasp, or the place before it."""
        part = scene.parts[self.part]
        wanted = scene.command.rotation if self.like is None else self.like.expand_as(part.rotation)
        rotation = nearest(part.rotation, self.headings, wanted)
        place = Pose(part.at(torch.tensor(self.grasp_m)), rotation).at(self.care * scene.grasp_error)
        place = place - self.stand_off_m * rotation[:, :, 2]
        return Target(Pose(place, rotation), (place - scene.tcp.position).norm(dim=-1))


@dataclass(frozen=True, kw_only=True)
class Shift(Move):
    """Go by a vector from where the move began.

    Attributes:
        by_m: in the base frame.
        along_tcp_m: further, along the TCP's z.
        turn: rotation in the base frame applied to the hand, (3, 3); None: none.
        to_height_m: height of the TCP to end at, or None.
    """

    by_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    along_tcp_m: float = 0.0
    turn: Tensor | None = None
    to_height_m: float | None = None

    def target(self, scene: Scene) -> Target:
        """Return the place reached by the vector."""
        start = scene.start
        place = start.position + torch.tensor(self.by_m) + self.along_tcp_m * start.rotation[:, :, 2]
        if self.to_height_m is not None:
            place = torch.cat([place[:, :2], torch.full_like(place[:, 2:], self.to_height_m)], -1)
        rotation = start.rotation if self.turn is None else self.turn @ start.rotation
        return Target(Pose(place, rotation), (place - scene.tcp.position).norm(dim=-1))


@dataclass(frozen=True, kw_only=True)
class GoTo(Move):
    """Go to a fixed place with a fixed rotation."""

    place_m: tuple[float, float, float]
    rotation: Tensor

    def target(self, scene: Scene) -> Target:
        """Return that pose."""
        place = torch.tensor(self.place_m).expand_as(scene.tcp.position)
        pose = Pose(place, self.rotation.expand_as(scene.tcp.rotation))
        return Target(pose, (place - scene.tcp.position).norm(dim=-1))


@dataclass(frozen=True, kw_only=True)
class Carry(Move):
    """Bring the held part to a pose relative to another part.

    Attributes:
        part: held.
        to: name of the part whose frame counts.
        seat_m: place in the held part's frame that is to meet ...
        goal_m: ... this place in the other's frame,
        above_m: this far above it along the other's z, which the held part's z shall have too.
        symmetry: headings a turn that serve; 0: any.
    """

    part: str
    to: str
    seat_m: tuple[float, float, float]
    goal_m: tuple[float, float, float]
    above_m: float = 0.0
    symmetry: int = 0

    def target(self, scene: Scene) -> Target:
        """Return the TCP pose that brings the part there as it lies in the hand now."""
        part, other, tcp = scene.parts[self.part], scene.parts[self.to], scene.tcp
        goal = torch.tensor(self.goal_m).repeat(len(tcp.position), 1)
        goal[:, :2] += self.care * scene.aim_error
        goal[:, 2] += self.above_m
        place, normal = other.at(goal), other.rotation[:, :, 2]
        seat = part.at(torch.tensor(self.seat_m))
        turn = turn_between(part.rotation[:, :, 2], normal)
        if self.symmetry:
            turn = self._to_heading(turn @ part.rotation, other) @ turn
        moved = place + (turn @ (tcp.position - seat).unsqueeze(-1)).squeeze(-1)
        tilt = (turn @ part.rotation[:, :, 0].unsqueeze(-1)).squeeze(-1) - part.rotation[:, :, 0]
        lean = normal - part.rotation[:, :, 2]
        gap = (seat - place).norm(dim=-1) + 0.02 * (tilt.norm(dim=-1) + lean.norm(dim=-1))
        return Target(Pose(moved, turn @ tcp.rotation), gap)

    def _to_heading(self, rotation: Tensor, other: Pose) -> Tensor:
        """Return the least turn about the other's z after which a heading that serves is met."""
        inside = other.rotation.transpose(1, 2) @ rotation
        heading = torch.atan2(inside[:, 1, 0], inside[:, 0, 0])
        step = 2 * math.pi / self.symmetry
        angle = torch.round(heading / step) * step - heading
        return rotvec_to_matrix(angle.unsqueeze(-1) * other.rotation[:, :, 2])


@dataclass(frozen=True, kw_only=True)
class Relax(Move):
    """Command where the hand is, so that it pushes no more."""

    least: int = 2
    most: int = 2

    def target(self, scene: Scene) -> Target:
        """Return the measured pose."""
        return Target(scene.tcp, torch.zeros(len(scene.tcp.position)))


@dataclass(frozen=True, kw_only=True)
class Screw(Move):
    """Turn the held part about the axis of a socket, upright in it, and follow it as it sinks.

    Attributes:
        part: held.
        to: part with the socket.
        seat_m: point of the held part on the axis of the turn, in its frame.
        goal_m: place of the socket in the other's frame; its axis is the other's z.
        angle_rad: from where the move began; negative turns to the right, seen from above.
        press_m: how far below the present height the part is commanded.
    """

    part: str
    to: str
    seat_m: tuple[float, float, float]
    goal_m: tuple[float, float, float]
    angle_rad: float = -math.pi / 2
    press_m: float = 0.002

    def target(self, scene: Scene) -> Target:
        """Return the start pose turned about the axis, at the part's present height."""
        part, other, tcp = scene.parts[self.part], scene.parts[self.to], scene.tcp
        mouth, normal = other.at(torch.tensor(self.goal_m)), other.rotation[:, :, 2]
        seat = part.at(torch.tensor(self.seat_m))
        rise = ((seat - mouth) * normal).sum(-1, keepdim=True) - self.press_m
        upright = turn_between(part.rotation[:, :, 2], normal)
        place = mouth + rise * normal + (upright @ (tcp.position - seat).unsqueeze(-1)).squeeze(-1)
        rotation = upright @ rotvec_to_matrix(self.angle_rad * normal) @ scene.start.rotation
        left = (rotation[:, :, 0] - tcp.rotation[:, :, 0]).norm(dim=-1)
        return Target(Pose(place, rotation), 0.05 * left)


def nearest(frame: Tensor, choices: Sequence[Tensor], wanted: Tensor) -> Tensor:
    """Return, of `frame` @ choice, the rotations (n, 3, 3) that agree best with `wanted`."""
    options = torch.stack([frame @ choice for choice in choices], 1)  # (n, K, 3, 3)
    best = (options * wanted.unsqueeze(1)).sum((-1, -2)).argmax(1)
    return options[torch.arange(len(frame)), best]


def turn_between(start: Tensor, end: Tensor) -> Tensor:
    """Return the least rotations (n, 3, 3) that turn unit vectors `start` (n, 3) into `end`."""
    axis = torch.linalg.cross(start, end)
    sine = axis.norm(dim=-1, keepdim=True)
    angle = torch.atan2(sine, (start * end).sum(-1, keepdim=True))
    return rotvec_to_matrix(axis / sine.clamp_min(1e-9) * angle)


def about_z(angles_deg: Sequence[float]) -> list[Tensor]:
    """Return rotations (3, 3) about z."""
    return [rotvec_to_matrix(torch.tensor([0.0, 0.0, math.radians(angle)])) for angle in angles_deg]
