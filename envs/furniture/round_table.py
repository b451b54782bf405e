"""FurnitureBench's round_table: screw a leg into the round top and the base onto the leg's other end.

All stands upside down, as on its workbench: the top lies on its face, the leg's lower pin goes into the
hole in the middle of it, and the base, whose hole looks down, onto the leg's upper pin. The gripper takes
the leg by its column, between the collars, and the base by its hub, above the arms of the cross.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco

from robofb.envs.contact_bits import HAND, HOLE, LEG, PAD, TABLE, TOP
from robofb.envs.furniture.assembly import AssemblyTask
from robofb.envs.furniture.moves import Move, about_z
from robofb.envs.furniture.pairs import Pair, Part
from robofb.envs.furniture.plans import DOWN, LYING, STANDING, carry, insert, let_go, over, pick, screw_in
from robofb.envs.furniture.screws import (
    BOX,
    CYLINDER,
    FRICTION,
    PALE,
    PLAIN,
    add_feet,
    add_hole,
    add_pin,
    around,
)
from robofb.envs.furniture.thread import Thread

HALF = math.sqrt(0.5)
ALONG_Y = (HALF, -HALF, 0.0, 0.0)  # the leg's axis, from its lower pin to its upper one, along +y
TOP_START_M = (0.50, 0.16)
LEG_START_M = (0.56, -0.13)
BASE_START_M = (0.38, -0.17)
OBSTACLE_GAP_M = 0.016


@dataclass(frozen=True)
class RoundTop:
    """A round top with a hole in its middle. Frame: centre of the upper face, z up."""

    radius: float = 0.100
    thickness: float = 0.0325
    hole_radius: float = 0.0080
    walled: float = 0.060  # half of the side of the square around the hole that has walls
    clearance_below: float = 0.002  # it stands on its feet this far above the table
    mass_kg: float = 0.55


@dataclass(frozen=True)
class RoundLeg:
    """A column between two collars, with a pin at each end. Frame: lower shoulder's centre, z upwards."""

    width: float = 0.0425  # of the collars
    column: float = 0.034
    collar: float = 0.006  # height of each
    body_length: float = 0.059
    pin_length: float = 0.016  # 91 mm in all
    pin_radius: float = 0.0075
    mass_kg: float = 0.16


@dataclass(frozen=True)
class CrossBase:
    """A cross of two bars with a hub above it and a hole from below. Frame: the hole's mouth, z upwards."""

    span: float = 0.130
    height: float = 0.040
    hub: float = 0.040
    bar_width: float = 0.016
    bar_low: float = 0.001  # the bars begin this far above the mouth
    bar_high: float = 0.014
    hole_radius: float = 0.0080
    hole_depth: float = 0.0165
    clearance_below: float = 0.001
    mass_kg: float = 0.24  # a light part sinks deep into the pads and springs out of them


ROUND_TOP, ROUND_LEG, CROSS_BASE, THREAD = RoundTop(), RoundLeg(), CrossBase(), Thread()
LEG_GRASP_M = (0.0, 0.0, 0.041)  # high: the hand passes over the top's rim, and stays above the upper pin
HUB_GRASP_M = (0.0, 0.0, 0.029)


def shape_round_top(body: mujoco.MjsBody, top: RoundTop) -> None:
    """Give a body the shape of a round top: one solid disc to all but pins."""
    middle = -top.thickness / 2
    body.add_geom(
        type=CYLINDER,
        pos=[0, 0, middle],
        size=[top.radius, top.thickness / 2, 0],
        contype=TOP,
        conaffinity=TOP,
        rgba=PALE,
        mass=top.mass_kg,
        **FRICTION,
    )
    add_hole(body, top.hole_radius, top.walled, -top.thickness, 0.0, mouth_m=0.0)
    add_feet(body, around(top.radius - 0.01, -top.thickness - top.clearance_below))


def shape_round_leg(body: mujoco.MjsBody, leg: RoundLeg) -> None:
    """Give a body the shape of a leg with two pins."""
    half, middle = leg.width / 2, leg.body_length / 2
    solid = {"type": BOX, "contype": LEG, "rgba": PLAIN, **FRICTION}
    for z in (leg.collar / 2, leg.body_length - leg.collar / 2):
        body.add_geom(
            pos=[0, 0, z],
            size=[half, half, leg.collar / 2],
            conaffinity=TABLE | TOP | PAD | HAND,
            mass=0.2 * leg.mass_kg,
            **solid,
        )
    body.add_geom(
        name=f"{body.name}_column",
        pos=[0, 0, middle],
        size=[leg.column / 2, leg.column / 2, middle - leg.collar],
        conaffinity=PAD | HAND,
        mass=0.6 * leg.mass_kg,
        **solid,
    )
    add_pin(body, leg.pin_radius, 0.0, -leg.pin_length)
    add_pin(body, leg.pin_radius, leg.body_length, leg.body_length + leg.pin_length)


def shape_cross_base(body: mujoco.MjsBody, base: CrossBase) -> None:
    """Give a body the shape of a cross with a hub."""
    solid = {"type": BOX, "contype": LEG, "rgba": PLAIN, **FRICTION}
    body.add_geom(
        name=f"{body.name}_hub",
        pos=[0, 0, base.height / 2],
        size=[base.hub / 2, base.hub / 2, base.height / 2],
        conaffinity=LEG | TABLE | TOP | PAD | HAND,
        mass=0.5 * base.mass_kg,
        **solid,
    )
    middle, half_height = (base.bar_low + base.bar_high) / 2, (base.bar_high - base.bar_low) / 2
    for long_x in (True, False):
        halves = (base.span / 2, base.bar_width / 2)
        body.add_geom(
            pos=[0, 0, middle],
            size=[*(halves if long_x else halves[::-1]), half_height],
            conaffinity=TABLE | TOP | PAD | HAND,
            mass=0.25 * base.mass_kg,
            **solid,
        )
    add_hole(body, base.hole_radius, base.hub / 2, 0.0, base.hole_depth, mouth_m=0.0)
    body.add_geom(  # the hole's end, which rests on the thread
        type=BOX,
        pos=[0, 0, base.hole_depth + 0.004],
        size=[base.hub / 2, base.hub / 2, 0.004],
        contype=0,
        conaffinity=HOLE,
        group=3,
        mass=0,
        **FRICTION,
    )
    add_feet(body, around(base.span / 2 - 0.008, -base.clearance_below, turn_rad=0.0))


class RoundTable(AssemblyTask):
    """Screw a leg into a round top and a base onto the leg; see `AssemblyTask` for the arguments."""

    def __init__(self, randomness: str = "low", max_steps: int = 1000, **limits: float) -> None:
        top, leg, base = ROUND_TOP, ROUND_LEG, CROSS_BASE
        top_m = (*TOP_START_M, top.thickness + top.clearance_below)
        parts = (
            Part("top", lambda body: shape_round_top(body, top), top_m, shift_share=0.15, yaw_share=0.2),
            Part(
                "leg",
                lambda body: shape_round_leg(body, leg),
                (*LEG_START_M, leg.width / 2),
                ALONG_Y,
                LEG_GRASP_M,
            ),
            Part(
                "table_base",
                lambda body: shape_cross_base(body, base),
                (*BASE_START_M, base.clearance_below),
                grasp_m=HUB_GRASP_M,
            ),
        )
        end_m, no_offset = (0.0, 0.0, leg.body_length), (0.0, 0.0, 0.0)
        self.leg_pair = Pair("leg", "top", no_offset, no_offset, tip_m=leg.pin_length, thread=THREAD)
        self.base_pair = Pair(
            "table_base",
            "leg",
            no_offset,
            end_m,
            tip_m=leg.pin_length,
            thread=THREAD,
            rest_m=-base.hole_depth,
        )
        to_edge = top.radius + OBSTACLE_GAP_M
        super().__init__(
            "round_table",
            parts,
            (self.leg_pair, self.base_pair),
            (TOP_START_M[0] + to_edge, TOP_START_M[1] + to_edge),
            randomness,
            max_steps,
            **limits,
        )

    def plan(self) -> list[Move]:
        """Return the scripted expert's moves."""
        return [
            *pick("leg", LEG_GRASP_M, LYING, about_z([-90])[0] @ DOWN),
            carry(self.leg_pair)(above_m=0.10, speed_m_s=0.15, turn_rad_s=0.8, tolerance_m=0.02, most=60),
            *insert(self.leg_pair, depth_m=THREAD.travel_m),
            *let_go(along_tcp_m=0.09, up_m=0.12),
            over((0.5, 0.05, 0.28), heading_deg=45.0),
            *screw_in(self.leg_pair, LEG_GRASP_M, STANDING),
            over((0.45, -0.15, 0.22)),
            *pick("table_base", HUB_GRASP_M, STANDING, DOWN),
            *insert(self.base_pair, depth_m=THREAD.travel_m, wander=0.2),
            *let_go(along_tcp_m=0.06, up_m=0.02),
            *screw_in(self.base_pair, HUB_GRASP_M, STANDING),
        ]
