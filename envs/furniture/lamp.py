"""FurnitureBench's lamp: screw a bulb into its base and put the hood over it.

The base and the hood stand, the bulb lies. The gripper takes the bulb by its neck, the flat-sided end beyond
the globe, lying as well as standing; and the hood from above by a lug in its wall, one finger inside. The
hood hangs on the bulb: a plate below its upper rim rests on the end of the neck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco

from robofb.envs.contact_bits import FOOT, HAND, LEG, PAD, TABLE, TOP
from robofb.envs.furniture.assembly import AssemblyTask
from robofb.envs.furniture.moves import OPEN, Move, Relax, Shift, Wait, about_z
from robofb.envs.furniture.pairs import Pair, Part
from robofb.envs.furniture.plans import (
    DOWN,
    LYING,
    STANDING,
    carry,
    insert,
    let_go,
    over,
    pick,
    screw_in,
)
from robofb.envs.furniture.screws import (
    BOX,
    CYLINDER,
    FRICTION,
    SPHERE,
    add_feet,
    add_hole,
    add_pin,
    around,
)
from robofb.envs.furniture.thread import Thread

HALF = math.sqrt(0.5)
ALONG_Y = (HALF, -HALF, 0.0, 0.0)  # the bulb's axis, from its pin to its neck, along +y
BASE_START_M = (0.52, 0.16)
BULB_START_M = (0.55, -0.15)
HOOD_START_M = (0.38, -0.20)
OBSTACLE_GAP_M = 0.016
ABOVE_M = 0.11  # the hood's seat passes this high above the bulb's end: its rim clears it
STONE, GLASS = (0.30, 0.33, 0.38, 1), (0.96, 0.93, 0.78, 1)
BRASS, LINEN = (0.72, 0.58, 0.32, 1), (0.86, 0.80, 0.70, 1)


@dataclass(frozen=True)
class LampBase:
    """A square foot with a round column and a hole in it. Frame: centre of the column's upper end, z up."""

    side: float = 0.0847
    foot: float = 0.020  # height of the foot
    height: float = 0.063
    column_radius: float = 0.027
    hole_radius: float = 0.0105
    clearance_below: float = 0.001
    mass_kg: float = 0.40


@dataclass(frozen=True)
class Bulb:
    """A pin, a collar, a globe and a neck. Frame: the collar's centre where the pin begins, z to the neck."""

    pin_length: float = 0.016
    pin_radius: float = 0.0100
    collar: float = 0.008  # height
    collar_radius: float = 0.018
    globe_radius: float = 0.030
    globe_at: float = 0.036  # height of its centre
    neck: float = 0.035  # side
    neck_low: float = 0.062
    body_length: float = 0.105  # 121 mm with the pin
    mass_kg: float = 0.16  # half of it in the neck: far from the grip it would turn in the pads


@dataclass(frozen=True)
class Hood:
    """An eight-sided tube with a plate inside. Frame: centre of the lower rim, z up."""

    width: float = 0.088  # across opposite sides
    height: float = 0.100
    wall: float = 0.006
    lug: float = 0.022  # thickness of the wall where it is gripped: fingers push through a thin one
    lug_low: float = 0.074
    plate_low: float = 0.068  # below the fingertips that grip the rim
    plate_side: float = 0.026
    clearance_below: float = 0.001
    mass_kg: float = 0.20  # a lighter one is thrown by the first finger that meets it


LAMP_BASE, BULB, HOOD, THREAD = LampBase(), Bulb(), Hood(), Thread()
NECK_GRASP_M = (0.0, 0.0, 0.077)
NECK_SCREW_M = (0.0, 0.0, 0.090)  # from above, where it stands
LUG_GRASP_M = (0.0, (HOOD.width - HOOD.lug) / 2, HOOD.height - 0.013)
ACROSS_WALL = [turn @ DOWN for turn in about_z([0, 180])]  # TCP rotations in the hood's frame


def shape_lamp_base(body: mujoco.MjsBody, base: LampBase) -> None:
    """Give a body the shape of a lamp's base."""
    solid = {"contype": TOP, "conaffinity": TOP, "rgba": STONE, **FRICTION}
    body.add_geom(
        type=BOX,
        pos=[0, 0, base.foot / 2 - base.height],
        size=[base.side / 2, base.side / 2, base.foot / 2],
        mass=0.7 * base.mass_kg,
        **solid,
    )
    column = base.height - base.foot
    body.add_geom(
        type=CYLINDER,
        pos=[0, 0, -column / 2],
        size=[base.column_radius, column / 2, 0],
        mass=0.3 * base.mass_kg,
        **solid,
    )
    add_hole(body, base.hole_radius, base.column_radius, -column, 0.0, mouth_m=0.0)
    add_feet(body, around(base.side / 2, -base.height - base.clearance_below))


def shape_bulb(body: mujoco.MjsBody, bulb: Bulb) -> None:
    """Give a body the shape of a bulb; it lies on the flat sides of a box as wide as its globe."""
    solid = {"contype": LEG, "conaffinity": TABLE | TOP | PAD | HAND, **FRICTION}
    body.add_geom(
        type=CYLINDER,
        pos=[0, 0, bulb.collar / 2],
        size=[bulb.collar_radius, bulb.collar / 2, 0],
        rgba=BRASS,
        mass=0.15 * bulb.mass_kg,
        **solid,
    )
    body.add_geom(
        name=f"{body.name}_globe",
        type=SPHERE,
        pos=[0, 0, bulb.globe_at],
        size=[bulb.globe_radius, 0, 0],
        contype=LEG,
        conaffinity=TOP | PAD | HAND,
        rgba=GLASS,
        mass=0.35 * bulb.mass_kg,
        **FRICTION,
    )
    body.add_geom(
        type=BOX,
        pos=[0, 0, bulb.globe_at + 0.007],  # under the centre of mass, too
        size=[bulb.globe_radius, bulb.globe_radius, 0.023],
        contype=FOOT,
        conaffinity=TABLE,
        group=3,
        mass=0,
        **FRICTION,
    )
    body.add_geom(
        name=f"{body.name}_neck",
        type=BOX,
        pos=[0, 0, (bulb.neck_low + bulb.body_length) / 2],
        size=[bulb.neck / 2, bulb.neck / 2, (bulb.body_length - bulb.neck_low) / 2],
        rgba=GLASS,
        mass=0.5 * bulb.mass_kg,
        **solid,
    )
    add_pin(body, bulb.pin_radius, 0.0, -bulb.pin_length)


def shape_hood(body: mujoco.MjsBody, hood: Hood) -> None:
    """Give a body the shape of a hood."""
    solid = {"type": BOX, "contype": LEG, "rgba": LINEN, **FRICTION}
    half_side, at = hood.width / 2 * math.tan(math.pi / 8), (hood.width - hood.wall) / 2
    for index in range(8):
        angle = index * math.pi / 4
        body.add_geom(
            pos=[at * math.cos(angle), at * math.sin(angle), hood.height / 2],
            quat=[math.cos(angle / 2), 0, 0, math.sin(angle / 2)],
            size=[hood.wall / 2, half_side, hood.height / 2],
            conaffinity=LEG | TABLE | TOP | PAD | HAND,
            mass=0.1 * hood.mass_kg,
            **solid,
        )
    body.add_geom(
        name=f"{body.name}_lug",
        pos=[0, (hood.width - hood.lug) / 2, (hood.lug_low + hood.height) / 2],
        size=[half_side, hood.lug / 2, (hood.height - hood.lug_low) / 2],
        conaffinity=PAD | HAND,
        mass=0.1 * hood.mass_kg,
        **solid,
    )
    for angle in (math.pi / 4, -math.pi / 4):  # two bars carry the plate; they touch nothing
        body.add_geom(
            pos=[0, 0, hood.plate_low + 0.002],
            quat=[math.cos(angle / 2), 0, 0, math.sin(angle / 2)],
            size=[at, 0.002, 0.0015],
            conaffinity=0,
            mass=0.01 * hood.mass_kg,
            **{**solid, "contype": 0},
        )
    body.add_geom(
        name=f"{body.name}_plate",
        pos=[0, 0, hood.plate_low + 0.002],
        size=[hood.plate_side / 2, hood.plate_side / 2, 0.002],
        conaffinity=LEG,
        mass=0.08 * hood.mass_kg,
        **solid,
    )
    add_feet(body, around(at, -hood.clearance_below))


class Lamp(AssemblyTask):
    """Screw a bulb into its base and hang the hood on it; see `AssemblyTask` for the arguments.

    Of the hood only the position counts, relative to the bulb.
    """

    def __init__(self, randomness: str = "low", max_steps: int = 1000, **limits: float) -> None:
        base, bulb, hood = LAMP_BASE, BULB, HOOD
        base_m = (*BASE_START_M, base.height + base.clearance_below)
        parts = (
            Part(
                "lamp_base",
                lambda body: shape_lamp_base(body, base),
                base_m,
                shift_share=0.15,
                yaw_share=0.2,
            ),
            Part(
                "bulb",
                lambda body: shape_bulb(body, bulb),
                (*BULB_START_M, bulb.globe_radius),
                ALONG_Y,
                NECK_GRASP_M,
            ),
            Part(
                "hood",
                lambda body: shape_hood(body, hood),
                (*HOOD_START_M, hood.clearance_below),
                grasp_m=LUG_GRASP_M,
            ),
        )
        no_offset = (0.0, 0.0, 0.0)
        self.bulb_pair = Pair(
            "bulb",
            "lamp_base",
            no_offset,
            no_offset,
            tip_m=bulb.pin_length,
            thread=THREAD,
            tip_radius_m=bulb.pin_radius - 0.001,
        )
        plate_m, end_m = (0.0, 0.0, hood.plate_low), (0.0, 0.0, bulb.body_length)
        self.hood_pair = Pair("hood", "bulb", plate_m, end_m, tip_m=hood.plate_low, position_only=True)
        to_edge = base.side / 2 + OBSTACLE_GAP_M
        super().__init__(
            "lamp",
            parts,
            (self.bulb_pair, self.hood_pair),
            (BASE_START_M[0] + to_edge, BASE_START_M[1] + to_edge),
            randomness,
            max_steps,
            **limits,
        )

    def plan(self) -> list[Move]:
        """Return the scripted expert's moves."""
        hang = carry(self.hood_pair)
        return [
            *pick("bulb", NECK_GRASP_M, LYING, about_z([-90])[0] @ DOWN),
            carry(self.bulb_pair)(above_m=0.10, speed_m_s=0.15, turn_rad_s=0.8, tolerance_m=0.02, most=60),
            *insert(self.bulb_pair, depth_m=THREAD.travel_m),
            *let_go(along_tcp_m=0.09, up_m=0.12),
            over((0.5, 0.05, 0.32), heading_deg=45.0),
            *screw_in(self.bulb_pair, NECK_SCREW_M, STANDING),
            over((0.45, -0.05, 0.30)),
            *pick("hood", LUG_GRASP_M, ACROSS_WALL, DOWN, height_m=0.32, closing=7),
            hang(above_m=ABOVE_M, tolerance_m=0.006, most=60),
            hang(above_m=0.01, speed_m_s=0.12, tolerance_m=0.005, most=16, wander=0.5),
            hang(above_m=-0.001, speed_m_s=0.05, tolerance_m=0.002, most=10, wander=0.5),
            Relax(wander=0.3),
            Wait(gripper=OPEN, wander=0.3),
            Shift(gripper=OPEN, by_m=(0.0, 0.0, 0.08), tolerance_m=0.02, most=15),
        ]
