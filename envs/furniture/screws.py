"""Pins and holes of screwed parts: a ring of capsules that touches nothing but a ring of walls."""

from __future__ import annotations

import math

import mujoco

from robofb.envs.contact_bits import FOOT, HOLE, PEG, TABLE
from robofb.envs.looks.palette import WALNUT

BOX = mujoco.mjtGeom.mjGEOM_BOX
CAPSULE = mujoco.mjtGeom.mjGEOM_CAPSULE
CYLINDER = mujoco.mjtGeom.mjGEOM_CYLINDER
SPHERE = mujoco.mjtGeom.mjGEOM_SPHERE
CAPSULE_RADIUS_M = 0.0018
NUM_CAPSULES = 8
FOOT_RADIUS_M = 0.006
FRICTION = {"friction": [0.15, 0.005, 0.0001]}  # of printed parts, as in FurnitureSim


def add_pin(body: mujoco.MjsBody, radius_m: float, root_m: float, tip_m: float) -> None:
    """Add a pin along a body's z axis, round at its tip.

    Args:
        body: to add it to.
        radius_m: of the pin.
        root_m: height of its root in the body's frame.
        tip_m: height of its tip, above or below.
    """
    centre = radius_m - CAPSULE_RADIUS_M
    end = tip_m - math.copysign(CAPSULE_RADIUS_M, tip_m - root_m)
    for index in range(NUM_CAPSULES):
        angle = 2 * math.pi * index / NUM_CAPSULES  # towards the walls of an aligned hole
        x, y = centre * math.cos(angle), centre * math.sin(angle)
        body.add_geom(
            type=CAPSULE,
            fromto=[x, y, root_m, x, y, end],
            size=[CAPSULE_RADIUS_M, 0, 0],
            contype=PEG,
            conaffinity=HOLE,
            rgba=WALNUT,
            group=3,
            mass=0,
            **FRICTION,
        )
    body.add_geom(
        type=CYLINDER,
        pos=[0, 0, (root_m + tip_m) / 2],
        size=[radius_m, abs(tip_m - root_m) / 2, 0],
        contype=FOOT,
        conaffinity=TABLE,
        rgba=WALNUT,
        mass=0,
        **FRICTION,
    )


def add_hole(
    body: mujoco.MjsBody, radius_m: float, outer_m: float, low_m: float, high_m: float, mouth_m: float
) -> None:
    """Add an octagonal hole along a body's z axis: four walls and four turned boxes, which only pins touch.

    Args:
        body: to add it to.
        radius_m: of the largest cylinder that passes.
        outer_m: half of the side of the square that the walls fill.
        low_m: height at which the walls begin in the body's frame.
        high_m: height at which they end.
        mouth_m: height at which the hole is drawn, as a dark disc.
    """
    middle, half = (low_m + high_m) / 2, (high_m - low_m) / 2
    walls = {"type": BOX, "contype": HOLE, "conaffinity": 0, "group": 3, "mass": 0, **FRICTION}
    wall_half, wall_at = (outer_m - radius_m) / 2, (outer_m + radius_m) / 2
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        size = [wall_half if x else outer_m, wall_half if y else outer_m, half]
        body.add_geom(pos=[x * wall_at, y * wall_at, middle], size=size, **walls)
    corner_half = 0.42 * radius_m  # an octagon's half side is 0.414 of its inner radius
    corner_at = (radius_m + corner_half) * math.sqrt(0.5)
    for x, y in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        body.add_geom(
            pos=[x * corner_at, y * corner_at, middle],
            quat=[math.cos(math.pi / 8), 0, 0, math.sin(math.pi / 8)],
            size=[corner_half, corner_half, half],
            **walls,
        )
    body.add_geom(
        type=CYLINDER,
        pos=[0, 0, mouth_m],
        size=[radius_m, 0.0002, 0],
        contype=0,
        conaffinity=0,
        rgba=WALNUT,
        mass=0,
    )


def add_feet(body: mujoco.MjsBody, at_m: float, bottom_m: float, turn_rad: float = math.pi / 4) -> None:
    """Add four feet, which touch only the table, at a distance from a body's z axis.

    Args:
        body: to add them to.
        at_m: distance of their centres from the axis.
        bottom_m: height of their lowest points in the body's frame.
        turn_rad: heading of the first one.
    """
    for quarter in range(4):
        angle = turn_rad + quarter * math.pi / 2
        body.add_geom(
            type=SPHERE,
            pos=[at_m * math.cos(angle), at_m * math.sin(angle), bottom_m + FOOT_RADIUS_M],
            size=[FOOT_RADIUS_M, 0, 0],
            contype=FOOT,
            conaffinity=TABLE,
            group=3,
            mass=0,
            friction=[0.4, 0.005, 0.0001],
        )
