"""What parts are built of: pins (rings of capsules), holes (rings of walls), and feet to stand on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import mujoco

from robofb.envs.contact_bits import FOOT, HOLE, PEG, TABLE

BOX = mujoco.mjtGeom.mjGEOM_BOX
CAPSULE = mujoco.mjtGeom.mjGEOM_CAPSULE
CYLINDER = mujoco.mjtGeom.mjGEOM_CYLINDER
SPHERE = mujoco.mjtGeom.mjGEOM_SPHERE
CAPSULE_RADIUS_M = 0.0018
NUM_CAPSULES = 8
FOOT_RADIUS_M = 0.006
FRICTION = {"friction": [0.15, 0.005, 0.0001]}  # of printed parts, as in FurnitureSim
PALE, PLAIN, DARK = (0.85, 0.72, 0.53, 1), (0.72, 0.53, 0.33, 1), (0.33, 0.22, 0.13, 1)


def add_pin(
    body: mujoco.MjsBody, radius_m: float, root_m: float, tip_m: float, meets: int = HOLE, name: str = ""
) -> None:
    """Add a pin along a body's z axis, round at its tip.

    Args:
        body: to add it to.
        radius_m: of the pin.
        root_m: height of its root in the body's frame.
        tip_m: height of its tip, above or below.
        meets: what it touches beside the table.
        name: of the cylinder that the table touches.
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
            conaffinity=meets,
            rgba=DARK,
            group=3,
            mass=0,
            **FRICTION,
        )
    body.add_geom(
        name=name,
        type=CYLINDER,
        pos=[0, 0, (root_m + tip_m) / 2],
        size=[radius_m, abs(tip_m - root_m) / 2, 0],
        contype=FOOT,
        conaffinity=TABLE,
        rgba=DARK,
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
    walls = {"contype": HOLE, "conaffinity": 0, "group": 3, **FRICTION}
    corner_m = 0.42 * radius_m  # an octagon's half side is 0.414 of its inner radius
    add_walls(body, (0.0, 0.0), radius_m, outer_m, (low_m, high_m), corner_m, (0.0, 0.0), walls)
    add_mouth(body, (0.0, 0.0, mouth_m), radius_m)


def add_walls(
    body: mujoco.MjsBody,
    axis_m: tuple[float, float],
    radius_m: float,
    outer_m: float,
    ends_m: tuple[float, float],
    corner_m: float,
    masses_kg: tuple[float, float],
    surface: dict[str, Any],
) -> None:
    """Add the walls of an octagonal hole: four along the sides of a square, and four turned boxes.

    Args:
        body: to add them to.
        axis_m: x and y of the hole's axis in the body's frame.
        radius_m: of the largest cylinder that passes.
        outer_m: half of the side of the square that the walls fill.
        ends_m: heights at which they begin and end in the body's frame.
        corner_m: half of the turned boxes' sides.
        masses_kg: of each wall and each turned box.
        surface: what they touch, and how.
    """
    (x0, y0), (low_m, high_m), (wall_kg, corner_kg) = axis_m, ends_m, masses_kg
    middle, half = (low_m + high_m) / 2, (high_m - low_m) / 2
    wall_half, wall_at = (outer_m - radius_m) / 2, (outer_m + radius_m) / 2
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        body.add_geom(
            type=BOX,
            pos=[x0 + x * wall_at, y0 + y * wall_at, middle],
            size=[wall_half if x else outer_m, wall_half if y else outer_m, half],
            mass=wall_kg,
            **surface,
        )
    corner_at = (radius_m + corner_m) * math.sqrt(0.5)
    for x, y in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        body.add_geom(
            type=BOX,
            pos=[x0 + x * corner_at, y0 + y * corner_at, middle],
            quat=[math.cos(math.pi / 8), 0, 0, math.sin(math.pi / 8)],
            size=[corner_m, corner_m, half],
            mass=corner_kg,
            **surface,
        )


def add_mouth(body: mujoco.MjsBody, at_m: tuple[float, float, float], radius_m: float) -> None:
    """Draw the mouth of a hole, or of what looks like one, as a dark disc."""
    body.add_geom(
        type=CYLINDER,
        pos=at_m,
        size=[radius_m, 0.0002, 0],
        contype=0,
        conaffinity=0,
        rgba=DARK,
        mass=0,
    )


def add_feet(
    body: mujoco.MjsBody,
    centres_m: Iterable[tuple[float, float, float]],
    radius_m: float = FOOT_RADIUS_M,
    friction: float = 0.4,
) -> None:
    """Add balls to stand on, which touch only the table, at points of a body's frame."""
    for centre_m in centres_m:
        body.add_geom(
            type=SPHERE,
            pos=centre_m,
            size=[radius_m, 0, 0],
            contype=FOOT,
            conaffinity=TABLE,
            group=3,
            mass=0,
            friction=[friction, 0.005, 0.0001],
        )


def around(
    at_m: float, bottom_m: float, turn_rad: float = math.pi / 4
) -> Iterable[tuple[float, float, float]]:
    """Return the centres of four feet at a distance from a body's z axis.

    Args:
        at_m: distance from the axis.
        bottom_m: height of the feet's lowest points in the body's frame.
        turn_rad: heading of the first one.
    """
    for quarter in range(4):
        angle = turn_rad + quarter * math.pi / 2
        yield at_m * math.cos(angle), at_m * math.sin(angle), bottom_m + FOOT_RADIUS_M


def below_corners(reach_m: float, z_m: float) -> Iterable[tuple[float, float, float]]:
    """Return the centres of four feet at height `z_m`, this far from a body's z axis along x and along y."""
    return ((x, y, z_m) for x in (-reach_m, reach_m) for y in (-reach_m, reach_m))
