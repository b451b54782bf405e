"""Sequences of moves that several tasks share."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from robofb.envs.furniture.moves import (
    OPEN,
    Carry,
    GoTo,
    Move,
    Reach,
    Relax,
    Scene,
    Screw,
    Shift,
    Wait,
    about_z,
)
from robofb.envs.furniture.pairs import Pair

DOWN = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # the TCP looks down, its fingers open along y
QUARTERS_DEG = (0, 90, 180, 270)
# TCP rotations in a part's frame: on a part that lies, its plug's end towards the TCP's x, ...
LYING = [turn @ torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]) for turn in about_z(QUARTERS_DEG)]
STANDING = [turn @ DOWN for turn in about_z(QUARTERS_DEG)]  # ... and on one that stands
STROKE_DEG = 90.0  # of a screwing hand, from half of it to the left to half of it to the right
CARRY_HEIGHT_M = 0.20
LOST_M = 0.06  # below the hand that lifted it: a part that slipped away


def rise(pair: Pair) -> Callable[[Scene], Tensor]:
    """Return how high (n,) [m] above assembled a pair's plug is, along the socket's axis."""

    def measure(scene: Scene) -> Tensor:
        plug, socket = scene.parts[pair.plug], scene.parts[pair.socket]
        offset = plug.at(torch.tensor(pair.plug_seat_m)) - socket.at(torch.tensor(pair.socket_seat_m))
        return (offset * socket.rotation[:, :, 2]).sum(-1)

    return measure


def carry(pair: Pair, symmetry: int | None = None) -> Callable[..., Carry]:
    """Return the move that brings a pair's plug above its socket; `symmetry` replaces the pair's."""
    return partial(
        Carry,
        part=pair.plug,
        to=pair.socket,
        seat_m=pair.plug_seat_m,
        goal_m=pair.socket_seat_m,
        symmetry=pair.symmetry if symmetry is None else symmetry,
    )


def pick(
    part: str,
    grasp_m: tuple[float, float, float],
    headings: list[Tensor],
    like: Tensor | None,
    care: float = 1.0,
    height_m: float = CARRY_HEIGHT_M,
) -> list[Move]:
    """Return the moves that grip a part and lift it, again until it comes along; see `Move.care`."""

    def in_hand(scene: Scene) -> Tensor:
        return scene.parts[part].at(torch.tensor(grasp_m))[:, 2] > height_m - LOST_M

    reach = partial(Reach, part=part, grasp_m=grasp_m, headings=headings, like=like, care=care)
    return [
        reach(stand_off_m=0.08, tolerance_m=0.012),
        reach(speed_m_s=0.15, tolerance_m=0.004 * care, most=25),
        Wait(),
        Shift(to_height_m=height_m, tolerance_m=0.02, most=25, check=in_hand, back=3),
    ]


def insert(
    pair: Pair,
    depth_m: float,
    slack_m: float = 0.0012,
    care: float = 1.0,
    align_steps: int = 3,
    symmetry: int | None = None,
    wander: float = 0.5,
) -> list[Move]:
    """Return the moves that bring a held plug over its socket and push it in, again until it is in.

    Args:
        pair: plug and socket.
        depth_m: height of the seat above assembled at which the plug is in far enough.
        slack_m: by which it may miss that height.
        care: see `Move.care`.
        align_steps: control steps that aligning over the hole takes at least.
        symmetry: headings a turn at which the hand may bring it, where that is not the pair's.
        wander: of the hand at the hole; twice that on the way down.
    """
    bring, height = partial(carry(pair, symmetry), care=care), rise(pair)
    return [
        bring(above_m=0.10, tolerance_m=0.012, most=60),
        bring(above_m=pair.tip_m + 0.012, speed_m_s=0.12, tolerance_m=0.004, most=30, wander=2 * wander),
        bring(
            above_m=pair.tip_m + 0.004,
            speed_m_s=0.06,
            tolerance_m=0.0015,
            least=align_steps,
            most=20,
            wander=wander,
        ),
        bring(
            above_m=depth_m - 0.003,
            speed_m_s=0.05,
            tolerance_m=0.0,
            most=10,
            wander=wander,
            check=lambda scene: height(scene) < depth_m + slack_m,
            back=1,
        ),
    ]


def let_go(along_tcp_m: float, up_m: float) -> list[Move]:
    """Return the moves that release a part and leave it backwards, then upwards."""
    return [
        Relax(wander=0.3),
        Wait(gripper=OPEN, wander=0.3),
        Shift(gripper=OPEN, along_tcp_m=-along_tcp_m, tolerance_m=0.01, most=15, wander=0.3),
        Shift(gripper=OPEN, by_m=(0.0, 0.0, up_m), tolerance_m=0.02, most=15),
    ]


def screw_in(pair: Pair, grasp_m: tuple[float, float, float], headings: list[Tensor]) -> list[Move]:
    """Return the moves that grip an inserted plug from above and turn it in, stroke by stroke.

    Args:
        pair: with a thread.
        grasp_m: where to grip, in the plug's frame.
        headings: TCP rotations in the plug's frame that serve.
    """
    like = about_z([STROKE_DEG / 2])[0] @ DOWN
    reach = partial(Reach, part=pair.plug, grasp_m=grasp_m, headings=headings, like=like)
    turn = partial(Screw, part=pair.plug, to=pair.socket, seat_m=pair.plug_seat_m, goal_m=pair.socket_seat_m)
    height = rise(pair)
    return [
        reach(stand_off_m=0.05, tolerance_m=0.006),
        reach(speed_m_s=0.12, tolerance_m=0.004, least=12, most=30, wander=0.3),
        Wait(wander=0.3),
        turn(angle_rad=-math.radians(STROKE_DEG), turn_rad_s=1.2, tolerance_m=0.003, most=25),
        Wait(gripper=OPEN, check=lambda scene: height(scene) < 0.0005, back=3),
        Shift(gripper=OPEN, by_m=(0.0, 0.0, 0.06), tolerance_m=0.02, most=15),
    ]


def over(place_m: tuple[float, float, float], heading_deg: float = 0.0, least: int = 14) -> GoTo:
    """Return the move to a free place, hand open, looking down."""
    rotation = about_z([heading_deg])[0] @ DOWN
    return GoTo(gripper=OPEN, place_m=place_m, rotation=rotation, tolerance_m=0.03, least=least)
