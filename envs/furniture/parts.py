"""Furniture parts as primitives, from FurnitureBench's measured dimensions [m].

A peg is a ring of capsules and a hole a ring of boxes, so that insertion is real contact between
convex shapes. Parts stand on feet of their own: only those touch the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco

from robofb.envs.contact_bits import HAND, HOLE, LEG, PAD, TABLE, TOP
from robofb.envs.furniture.screws import (
    BOX,
    FOOT_RADIUS_M,
    FRICTION,
    PALE,
    PLAIN,
    add_feet,
    add_mouth,
    add_pin,
    add_walls,
    below_corners,
)
from robofb.envs.sensors import add_frame_sensor


@dataclass(frozen=True)
class Leg:
    """A square table leg with a round peg. Frame: shoulder centre, z from the peg to the far end."""

    width: float = 0.030
    body_length: float = 0.0715
    peg_length: float = 0.016
    peg_radius: float = 0.0075
    mass_kg: float = 0.13


@dataclass(frozen=True)
class TableTop:
    """A square top with one real hole in its (+x, +y) corner. Frame: centre of the upper face, z up."""

    side: float = 0.1625
    thickness: float = 0.03125
    hole_xy: float = 0.060  # of the hole's axis, along x and y
    hole_radius: float = 0.0080  # of the largest cylinder that passes
    cell: float = 0.0425  # side of the square around the hole that is built as a ring
    clearance_below: float = 0.002  # the top stands on its feet this far above the table
    mass_kg: float = 0.45


def add_leg(spec: mujoco.MjSpec, leg: Leg, name: str = "leg") -> mujoco.MjsBody:
    """Add a free leg to the world, with the sensors of its pose."""
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    shape_leg(body, leg)
    add_part_pose_sensors(spec, body)
    return body


def shape_leg(body: mujoco.MjsBody, leg: Leg) -> None:
    """Give a body the shape of a leg."""
    half = leg.width / 2
    body.add_geom(
        name=f"{body.name}_body",
        type=BOX,
        pos=[0, 0, leg.body_length / 2],
        size=[half, half, leg.body_length / 2],
        contype=LEG,
        conaffinity=TABLE | TOP | PAD | HAND | LEG,
        rgba=PLAIN,
        mass=leg.mass_kg,
        **FRICTION,
    )
    add_pin(body, leg.peg_radius, 0.0, -leg.peg_length, meets=TOP | HOLE, name=f"{body.name}_foot")


def add_table_top(spec: mujoco.MjSpec, top: TableTop, name: str = "top") -> mujoco.MjsBody:
    """Add a free table top with one hole to the world, with the sensors of its pose."""
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    shape_table_top(body, top)
    add_part_pose_sensors(spec, body)
    return body


def shape_table_top(body: mujoco.MjsBody, top: TableTop) -> None:
    """Give a body the shape of a table top."""
    surface = _top_surface()
    half_side, half_thickness, edge = top.side / 2, top.thickness / 2, top.hole_xy - top.cell / 2
    total_area = top.side**2
    for x0, x1, y0, y1 in (
        (-half_side, edge, -half_side, half_side),
        (edge, half_side, -half_side, edge),
    ):
        body.add_geom(
            type=BOX,
            pos=[(x0 + x1) / 2, (y0 + y1) / 2, -half_thickness],
            size=[(x1 - x0) / 2, (y1 - y0) / 2, half_thickness],
            mass=top.mass_kg * (x1 - x0) * (y1 - y0) / total_area,
            **surface,
        )
    _add_hole(body, top, (top.hole_xy, top.hole_xy), surface)
    _stand(body, top)
    for x, y in ((-1, -1), (-1, 1), (1, -1)):
        add_mouth(body, (x * top.hole_xy, y * top.hole_xy, 0.0002), top.hole_radius)


def shape_four_hole_top(body: mujoco.MjsBody, top: TableTop) -> None:
    """Give a body the shape of a table top with a real hole in every corner."""
    surface = _top_surface()
    half_side, half_thickness, edge = top.side / 2, top.thickness / 2, top.hole_xy - top.cell / 2
    middle_kg = top.mass_kg * (1 - 4 * (top.cell / top.side) ** 2)
    area = (top.side**2 - 4 * top.cell**2) / 4  # of a quarter of what is not a hole's cell
    for x, half_x, half_y in (
        (0.0, edge, half_side),
        (-(half_side + edge) / 2, top.cell / 2, edge),
        ((half_side + edge) / 2, top.cell / 2, edge),
    ):
        body.add_geom(
            type=BOX,
            pos=[x, 0, -half_thickness],
            size=[half_x, half_y, half_thickness],
            mass=middle_kg * half_x * half_y / area,
            **surface,
        )
    for x, y in ((1, 1), (-1, 1), (-1, -1), (1, -1)):
        _add_hole(body, top, (x * top.hole_xy, y * top.hole_xy), surface)
    _stand(body, top)


def _top_surface() -> dict[str, Any]:
    return {"contype": TOP, "conaffinity": 0, "rgba": PALE, **FRICTION}


def _stand(body: mujoco.MjsBody, top: TableTop) -> None:
    """Add a small ball below each corner, on which the top slides."""
    height_m = FOOT_RADIUS_M - top.thickness - top.clearance_below
    add_feet(body, below_corners(top.side / 2 - 0.01, height_m))


def _add_hole(
    body: mujoco.MjsBody, top: TableTop, axis_m: tuple[float, float], surface: dict[str, Any]
) -> None:
    """Add an octagonal hole, which fills one cell of the top."""
    masses_kg = (top.mass_kg * 0.01, top.mass_kg * 0.001)
    add_walls(body, axis_m, top.hole_radius, top.cell / 2, (-top.thickness, 0.0), 0.003, masses_kg, surface)


def add_table(spec: mujoco.MjSpec) -> None:
    """Add the work table: its surface is the world's z = 0."""
    spec.worldbody.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[1.2, 1.2, 0.05],
        contype=TABLE,
        conaffinity=0,
        friction=[0.3, 0.005, 0.0001],
        material="table",
    )


def part_pose_sensors(part: str) -> tuple[str, str, str]:
    """Return the names of the sensors of a part's nine pose values: position, then 6D rotation."""
    return f"{part}_pos_w", f"{part}_xaxis_w", f"{part}_yaxis_w"


def add_part_pose_sensors(spec: mujoco.MjSpec, body: mujoco.MjsBody) -> None:
    """Add the sensors of a part's pose."""
    kinds = (
        mujoco.mjtSensor.mjSENS_FRAMEPOS,
        mujoco.mjtSensor.mjSENS_FRAMEXAXIS,
        mujoco.mjtSensor.mjSENS_FRAMEYAXIS,
    )
    for name, kind in zip(part_pose_sensors(body.name), kinds, strict=True):
        add_frame_sensor(spec, name, kind, body)
