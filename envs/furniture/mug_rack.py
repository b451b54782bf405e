"""FurnitureBench's mug_rack: hang a standing mug by its handle on a peg of a rack."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import mujoco
import torch

from robofb.envs.contact_bits import HAND, LEG, PAD, PEG, TABLE, TOP
from robofb.envs.furniture.assembly import AssemblyTask
from robofb.envs.furniture.moves import Move
from robofb.envs.furniture.pairs import Pair, Part
from robofb.envs.furniture.plans import DOWN, carry, pick
from robofb.envs.furniture.screws import BOX, CAPSULE, CYLINDER, FRICTION, PLAIN, add_feet

HALF = math.sqrt(0.5)
UPRIGHT = (HALF, HALF, 0.0, 0.0)  # y up; z, along the hole of the handle and along the peg, towards -y
RACK_START_M = (0.52, 0.20)
MUG_START_M = (0.45, -0.14)
GRASP_M = (0.0, 0.015, 0.0)  # 25 mm below the rim: the palm stays 12 mm above it
# TCP rotations in the mug's frame: down, the fingers closing along the hole of the handle.
BESIDE_HANDLE = [torch.tensor([[sign, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, sign, 0.0]]) for sign in (1.0, -1.0)]
GLAZE = (0.24, 0.42, 0.60, 1)


@dataclass(frozen=True)
class Mug:
    """A mug with a handle. Frame: its centre; x to the handle, y up, z along the hole of the handle."""

    radius_m: float = 0.032
    height_m: float = 0.080
    handle_m: tuple[tuple[float, float], ...] = (  # middle of the handle, from top to bottom: x, y
        (0.030, 0.027),
        (0.058, 0.027),  # here the peg comes to lie: the corner that is farthest from the centre
        (0.058, 0.010),
        (0.050, -0.020),
        (0.030, -0.026),
    )
    handle_radius_m: float = 0.004
    mass_kg: float = 0.25


@dataclass(frozen=True)
class Rack:
    """A stand with pegs. Frame: centre of its underside; y up, z along the peg that counts."""

    size_m: tuple[float, float, float] = (0.140, 0.406, 0.139)
    base_m: float = 0.015  # its thickness
    post_radius_m: float = 0.007
    peg_radius_m: float = 0.005
    peg_height_m: float = 0.210
    post_z_m: float = -0.025  # the post stands off the centre, so that the peg stays above the base
    mass_kg: float = 1.5

    @property
    def tip_z_m(self) -> float:
        """Middle of the rounded end of the peg that counts."""
        return self.size_m[2] / 2 - self.peg_radius_m


def shape_mug(body: mujoco.MjsBody, mug: Mug) -> None:
    """Give a body the shape of a mug: a cylinder, and a handle of capsules."""
    body.add_geom(
        type=CYLINDER,
        fromto=[0, -mug.height_m / 2, 0, 0, mug.height_m / 2, 0],
        size=[mug.radius_m, 0, 0],
        contype=LEG,
        conaffinity=TABLE | TOP | PAD | HAND,
        rgba=GLAZE,
        mass=mug.mass_kg,
        **FRICTION,
    )
    for start, end in zip(mug.handle_m, mug.handle_m[1:], strict=False):
        body.add_geom(
            type=CAPSULE,
            fromto=[*start, 0, *end, 0],
            size=[mug.handle_radius_m, 0, 0],
            contype=PEG,
            conaffinity=TABLE | TOP | HAND,
            rgba=GLAZE,
            mass=0,
            **FRICTION,
        )


def shape_rack(body: mujoco.MjsBody, rack: Rack) -> None:
    """Give a body the shape of a rack: a base on four feet, a post and two pegs."""
    surface = {"contype": TOP, "conaffinity": 0, "rgba": PLAIN, **FRICTION}
    width, height, depth = rack.size_m
    foot_m = 0.005
    body.add_geom(
        type=BOX,
        pos=[0, (rack.base_m + 0.002) / 2, 0],
        size=[width / 2, (rack.base_m - 0.002) / 2, depth / 2],
        mass=0.8 * rack.mass_kg,
        **surface,
    )
    body.add_geom(
        type=CYLINDER,
        fromto=[0, rack.base_m, rack.post_z_m, 0, height, rack.post_z_m],
        size=[rack.post_radius_m, 0, 0],
        mass=0.2 * rack.mass_kg,
        **surface,
    )
    level, aside = rack.peg_height_m - 0.03, width / 2 - rack.peg_radius_m
    for start, end in (
        ((0, rack.peg_height_m, rack.post_z_m), (0, rack.peg_height_m, rack.tip_z_m)),
        ((0, level, rack.post_z_m), (aside, level, rack.post_z_m)),
    ):
        body.add_geom(type=CAPSULE, fromto=[*start, *end], size=[rack.peg_radius_m, 0, 0], mass=0, **surface)
    sides = (
        (x, z)
        for x in (foot_m - width / 2, width / 2 - foot_m)
        for z in (foot_m - depth / 2, depth / 2 - foot_m)
    )
    add_feet(body, ((x, foot_m, z) for x, z in sides), radius_m=foot_m, friction=0.6)


MUG, RACK = Mug(), Rack()
TIP_M = 0.030  # of the peg beyond the place where the mug hangs
# Where the peg's axis is in the mug's frame: when the mug hangs free, ...
INSET_M = MUG.handle_radius_m + RACK.peg_radius_m
HUNG_M = (MUG.handle_m[1][0] - INSET_M, MUG.handle_m[1][1] - INSET_M, 0.0)
LAID_M = (0.047, HUNG_M[1], 0.0)  # ... when the hand has laid it on the peg, ...
OPENING_M = (0.045, 0.004, 0.0)  # ... and in the middle of the handle's opening


class MugRack(AssemblyTask):
    """Hang a mug on a peg: position and the axis of the handle's hole count, not the turn about it.

    It is to hang 30 mm from the peg's tip, the peg in the upper corner of the handle, where it stays when it
    is let go; as in ResiP the hand may still hold it. See `AssemblyTask` for the arguments.
    """

    def __init__(self, randomness: str = "low", max_steps: int = 400, **limits: float) -> None:
        peg_m = (0.0, RACK.peg_height_m, RACK.tip_z_m - TIP_M)
        self.pair = Pair("mug", "rack", HUNG_M, peg_m, tip_m=TIP_M)
        super().__init__(
            "mug_rack",
            (
                Part("rack", partial(shape_rack, rack=RACK), (*RACK_START_M, 0.0), UPRIGHT, yaw_share=0.3),
                Part("mug", partial(shape_mug, mug=MUG), (*MUG_START_M, MUG.height_m / 2), UPRIGHT, GRASP_M),
            ),
            (self.pair,),
            None,
            randomness,
            max_steps,
            **limits,
        )

    def plan(self) -> Sequence[Move]:
        """Return the scripted expert's moves."""
        slip, hang = (carry(replace(self.pair, plug_seat_m=place)) for place in (OPENING_M, LAID_M))
        return [
            *pick("mug", GRASP_M, BESIDE_HANDLE, DOWN),
            slip(above_m=TIP_M + 0.07, tolerance_m=0.015, most=60),
            slip(above_m=TIP_M + 0.015, speed_m_s=0.12, tolerance_m=0.005, most=30),
            slip(above_m=0.0, speed_m_s=0.10, tolerance_m=0.004, most=20, wander=0.7),
            hang(speed_m_s=0.05, tolerance_m=0.0, most=15, wander=0.5),
        ]
