"""Compare the dimensions of our parts with those of furniture-bench's meshes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from robofb.envs.furniture.lamp import BULB, HOOD, LAMP_BASE
from robofb.envs.furniture.parts import Leg, TableTop
from robofb.envs.furniture.round_table import CROSS_BASE, ROUND_LEG, ROUND_TOP
from robofb.envs.looks.obj_mesh import ObjMesh, hole_m, pin_m, size_m
from robofb.envs.looks.part_meshes import PART_MESHES
from robofb.errors import UserError

AGREES_M = 0.0005
HOLE_DEPTH_M = 0.002  # at which a hole's place and radius are measured: above its thread
LEG, TOP = Leg(), TableTop()


@dataclass(frozen=True)
class Dimension:
    """One length of a part: ours and the mesh's.

    Attributes:
        part: its name in `PART_MESHES`.
        what: is measured.
        ours_m: in our table of dimensions.
        mesh_m: of the mesh.
        judged: whether they must agree; else ours is known to be another, see docs/tasks.md.
    """

    part: str
    what: str
    ours_m: float
    mesh_m: float
    judged: bool

    @property
    def off_m(self) -> float:
        """How much larger the mesh is."""
        return self.mesh_m - self.ours_m

    @property
    def agrees(self) -> bool:
        """Whether they differ by at most half a millimetre."""
        return abs(self.off_m) <= AGREES_M

    @property
    def verdict(self) -> str:
        """Say in one word or two what follows."""
        return "agrees" if self.agrees else "DIFFERS" if self.judged else "known difference"


OUR_SIZES_M = {  # sides of the box around each part
    "square_top": (TOP.side, TOP.side, TOP.thickness),
    "square_leg": (LEG.width, LEG.width, LEG.body_length + LEG.peg_length),
    "round_top": (2 * ROUND_TOP.radius, 2 * ROUND_TOP.radius, ROUND_TOP.thickness),
    "round_leg": (ROUND_LEG.width, ROUND_LEG.width, ROUND_LEG.body_length + 2 * ROUND_LEG.pin_length),
    "cross_base": (CROSS_BASE.span, CROSS_BASE.span, CROSS_BASE.height),
    "lamp_base": (LAMP_BASE.side, LAMP_BASE.side, LAMP_BASE.height),
    "bulb": (2 * BULB.globe_radius, 2 * BULB.globe_radius, BULB.body_length + BULB.pin_length),
    "hood": (HOOD.width, HOOD.width, HOOD.height),
}
OUR_PINS_M = {  # length, radius
    "square_leg": (LEG.peg_length, LEG.peg_radius),
    "round_leg": (ROUND_LEG.pin_length, ROUND_LEG.pin_radius),
    "bulb": (BULB.pin_length, BULB.pin_radius),
}
OUR_HOLES_M = {  # x, y, radius
    "square_top": (TOP.hole_xy, TOP.hole_xy, TOP.hole_radius),
    "round_top": (0.0, 0.0, ROUND_TOP.hole_radius),
    "lamp_base": (0.0, 0.0, LAMP_BASE.hole_radius),
}


def compare(meshes: Mapping[str, ObjMesh]) -> list[Dimension]:
    """Measure meshes, by part and in the parts' frames, against our tables.

    Raises:
        UserError: a side of a mesh is ten times ours or a tenth, or a hole cannot be found.
    """
    found: list[Dimension] = []
    for part in (place.part for place in PART_MESHES):
        mesh, measured = meshes[part], size_m(meshes[part])
        _check_scale(part, measured / OUR_SIZES_M[part])
        for axis, ours, theirs in zip("xyz", OUR_SIZES_M[part], measured.tolist(), strict=True):
            found.append(Dimension(part, f"size along {axis}", ours, theirs, True))
        if part in OUR_PINS_M:
            for what, ours, theirs in zip(("length", "radius"), OUR_PINS_M[part], pin_m(mesh), strict=True):
                found.append(Dimension(part, f"pin, {what}", ours, theirs, False))
        if part in OUR_HOLES_M:
            ours_m = OUR_HOLES_M[part]
            hole = hole_m(mesh, -HOLE_DEPTH_M, ours_m[:2])
            for what, ours, theirs in zip(("x", "y", "radius"), ours_m, hole, strict=True):
                found.append(Dimension(part, f"hole, {what}", ours, theirs, False))
    return found


def _check_scale(part: str, ratios: np.ndarray) -> None:
    """Refuse a mesh whose sides are so many times ours (3,) that nothing can be measured; guess its unit."""
    wrong = ratios[(ratios < 0.1) | (ratios > 10)]
    if not len(wrong):
        return
    units = (("millimetres", 1e3), ("centimetres", 1e2), ("inches", 1 / 0.0254))
    close = (f"it is in {unit}, " for unit, factor in units if (np.abs(ratios / factor - 1) < 0.1).all())
    raise UserError(
        f"the mesh of {part} is {wrong[0]:.4g} times as large as our part: {next(close, '')}"
        "furniture-bench's are in metres"
    )


def format_dimensions(dimensions: list[Dimension]) -> str:
    """Return the comparison as a table in millimetres."""
    lines = [f"{'part':<12}{'what':<16}{'ours':>9}{'mesh':>9}{'off':>8}  mm"]
    for row in dimensions:
        ours, theirs, off = (1e3 * value for value in (row.ours_m, row.mesh_m, row.off_m))
        off = round(off, 2) + 0.0  # no minus before a zero
        lines.append(f"{row.part:<12}{row.what:<16}{ours:>9.2f}{theirs:>9.2f}{off:>+8.2f}  {row.verdict}")
    return "\n".join(lines)


def summarise(dimensions: list[Dimension]) -> str:
    """Return the verdict in one line."""
    judged = [row for row in dimensions if row.judged]
    wrong = [row for row in judged if not row.agrees]
    differing = sum(not row.agrees for row in dimensions) - len(wrong)
    start = (
        f"all {len(judged)} outer sizes agree within {1e3 * AGREES_M:g} mm"
        if not wrong
        else f"{len(wrong)} of {len(judged)} outer sizes differ by more than {1e3 * AGREES_M:g} mm"
    )
    return f"{start}; {differing} known differences of pins and holes, see docs/tasks.md"
