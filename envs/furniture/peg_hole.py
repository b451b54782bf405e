"""FACTORY's rectangular peg in its hole: 16 x 10 x 50 mm into 16.22 x 10.16 mm, by contact alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import mujoco

from robofb.envs.contact_bits import HAND, LEG, PAD, PEG, TABLE, TOP
from robofb.envs.furniture.assembly import AssemblyTask
from robofb.envs.furniture.moves import Move
from robofb.envs.furniture.pairs import Pair, Part
from robofb.envs.furniture.plans import DOWN, STANDING, insert, pick
from robofb.envs.furniture.screws import BOX, CAPSULE, FOOT_RADIUS_M, FRICTION, add_feet, below_corners
from robofb.envs.furniture.task import NUM_SUBSTEPS

PEG_START_M = (0.48, -0.12)
BLOCK_START_M = (0.48, 0.12)
GRASP_HEIGHT_M = 0.014  # above the mouth of the hole: the fingers end 9 mm below
STEEL, GREY = (0.70, 0.72, 0.75, 1), (0.36, 0.40, 0.47, 1)
# Nearly rigid, and as quick as 240 Hz allow: a knock of the hand drives the peg 0.03 mm into a wall, rarely
# 0.1 mm; at 120 Hz, 0.4 mm.
STIFF = {"solref": [1 / 120, 1], "solimp": [0.999, 0.9999, 0.0002, 0.5, 2]}
# So that soft pads sink into a light peg no deeper than into a leg; solmix: the peg's values count.
FIRM = {"solref": [0.02, 1], "solimp": [0.98, 0.99, 0.001, 0.5, 2], "solmix": 100}
CARE = 0.4  # see `Move.care`: the peg is hardly wider than the pads


@dataclass(frozen=True)
class RectangularPeg:
    """A steel peg, edges rounded. Frame: on its axis, at the mouth of the hole when it is seated; z up."""

    size_m: tuple[float, float, float] = (0.016, 0.010, 0.050)
    depth_m: float = 0.025  # of it in the hole
    edge_m: float = 0.003  # radius of edges and corners: the hole catches a tip that is 2 mm off
    mass_kg: float = 0.062


@dataclass(frozen=True)
class HoleBlock:
    """A heavy block with a rectangular blind hole. Frame: centre of the hole's mouth, z up."""

    hole_m: tuple[float, float] = (0.01622, 0.01016)
    depth_m: float = 0.025
    side_m: float = 0.060
    height_m: float = 0.032
    clearance_below_m: float = 0.002  # it stands on its feet this far above the table
    mass_kg: float = 1.2


def shape_peg(body: mujoco.MjsBody, peg: RectangularPeg) -> None:
    """Give a body the shape of a peg: a box that gripper and table meet, four edges that the hole meets."""
    half_x, half_y, half_z = (size / 2 for size in peg.size_m)
    centre, edge = half_z - peg.depth_m, peg.edge_m
    body.add_geom(
        type=BOX,
        pos=[0, 0, centre],
        size=[half_x, half_y, half_z],
        contype=LEG,
        conaffinity=TABLE | PAD | HAND,
        rgba=STEEL,
        mass=peg.mass_kg,
        **FIRM,
    )
    for x in (edge - half_x, half_x - edge):
        for y in (edge - half_y, half_y - edge):
            body.add_geom(
                type=CAPSULE,
                fromto=[x, y, edge - peg.depth_m, x, y, centre + half_z - edge],
                size=[edge, 0, 0],
                contype=PEG,
                conaffinity=TOP,
                rgba=STEEL,
                group=3,
                mass=0,
                **FRICTION,
                **STIFF,
            )


def shape_block(body: mujoco.MjsBody, block: HoleBlock) -> None:
    """Give a body the shape of a hole block: four walls, a floor and four feet."""
    half_side, half_x, half_y = block.side_m / 2, block.hole_m[0] / 2, block.hole_m[1] / 2
    floor_half = (block.height_m - block.depth_m) / 2
    wide, narrow = (half_side - half_x) / 2, (half_side - half_y) / 2
    boxes = [
        ((sign * (half_x + wide), 0.0, -block.depth_m / 2), (wide, half_side, block.depth_m / 2))
        for sign in (-1, 1)
    ]
    boxes += [
        ((0.0, sign * (half_y + narrow), -block.depth_m / 2), (half_x, narrow, block.depth_m / 2))
        for sign in (-1, 1)
    ]
    boxes.append(((0.0, 0.0, -block.depth_m - floor_half), (half_side, half_side, floor_half)))
    for centre, half in boxes:
        body.add_geom(
            type=BOX,
            pos=centre,
            size=half,
            contype=TOP,
            conaffinity=0,
            rgba=GREY,
            mass=block.mass_kg / len(boxes),
            **FRICTION,
            **STIFF,
        )
    feet_z_m = FOOT_RADIUS_M - block.height_m - block.clearance_below_m
    add_feet(body, below_corners(half_side - 0.008, feet_z_m), friction=0.6)


PEG_SHAPE, BLOCK = RectangularPeg(), HoleBlock()


class PegHole(AssemblyTask):
    """Put a rectangular peg into a hole with 0.11 and 0.08 mm of play on each side.

    The peg stands on the table beside the block; either of the two headings that fit will do. See
    `AssemblyTask` for the arguments.
    """

    num_substeps = 2 * NUM_SUBSTEPS
    pad_reach_m = (0.004, 0.0055)  # so that a peg of 16 mm that is gripped 4 mm off is held by all points

    def __init__(
        self,
        randomness: str = "low",
        max_steps: int = 200,
        max_part_overlap_m: float = 0.0003,
        **limits: float,
    ) -> None:
        block_m = (*BLOCK_START_M, BLOCK.height_m + BLOCK.clearance_below_m)
        peg_m = (*PEG_START_M, PEG_SHAPE.depth_m)
        self.pair = Pair(
            "peg",
            "block",
            (0.0, 0.0, 0.0),
            (0.0, 0.0, 0.0),
            tip_m=PEG_SHAPE.depth_m,
            symmetry=2,
            near_m=0.005,
            far_m=0.03,
        )
        super().__init__(
            "peg_hole",
            (
                Part("block", partial(shape_block, block=BLOCK), block_m),
                Part("peg", partial(shape_peg, peg=PEG_SHAPE), peg_m, grasp_m=(0.0, 0.0, GRASP_HEIGHT_M)),
            ),
            (self.pair,),
            None,
            randomness,
            max_steps,
            max_part_overlap_m=max_part_overlap_m,
            **limits,
        )

    def plan(self) -> list[Move]:
        """Return the scripted expert's moves."""
        across = [STANDING[0], STANDING[2]]  # the fingers close on the peg's broad sides
        return [
            *pick("peg", (0.0, 0.0, GRASP_HEIGHT_M), across, DOWN, care=CARE),
            *insert(self.pair, depth_m=0.0, care=CARE, align_steps=10),
        ]
