"""FurnitureBench's square_table: screw four lying legs into one table top, the far row of holes first."""

from __future__ import annotations

import mujoco

from robofb.envs.furniture.assembly import AssemblyTask
from robofb.envs.furniture.moves import Move, about_z
from robofb.envs.furniture.one_leg import (
    ALONG_Y,
    GRASP_HEIGHT_M,
    LEG,
    OBSTACLE_GAP_M,
    THREAD,
    TOP,
    TOP_GRASP_M,
    TOP_START_M,
)
from robofb.envs.furniture.pairs import Pair, Part
from robofb.envs.furniture.parts import shape_four_hole_top, shape_leg
from robofb.envs.furniture.plans import DOWN, LYING, STANDING, insert, let_go, over, pick, screw_in

# Leg i belongs into hole i. The hand that brings a leg points along +y and stands behind it, so the far row
# comes first: no placed leg is ever where the palm is. The hand keeps square with the top (QUARTERS), for a
# palm turned by 20 degrees hits the neighbour. Legs lie two by two: in one row of four an open hand
# would come down on a neighbour.
HOLES = ((1, 1), (-1, 1), (1, -1), (-1, -1))  # signs of x and y
LEG_STARTS_M = ((0.57, -0.10), (0.43, -0.10), (0.57, -0.25), (0.43, -0.25))
QUARTERS = 4
ABOVE_TOP_M = (0.50, 0.05, 0.28)


class SquareTable(AssemblyTask):
    """Screw four legs into a table top in a corner of bars; see `AssemblyTask` for the arguments."""

    keeps_posture = True

    def __init__(self, randomness: str = "low", max_steps: int = 2000, **limits: float) -> None:
        top_m = (*TOP_START_M, TOP.thickness + TOP.clearance_below)
        legs = tuple(
            Part(
                f"leg{number}",
                _shape_leg,
                (*place, LEG.width / 2),
                ALONG_Y,
                grasp_m=(0.0, 0.0, GRASP_HEIGHT_M),
            )
            for number, place in enumerate(LEG_STARTS_M, 1)
        )
        pairs = tuple(
            Pair(
                leg.name,
                "top",
                plug_seat_m=(0.0, 0.0, 0.0),
                socket_seat_m=(x * TOP.hole_xy, y * TOP.hole_xy, 0.0),
                tip_m=LEG.peg_length,
                thread=THREAD,
            )
            for leg, (x, y) in zip(legs, HOLES, strict=True)
        )
        to_edge = TOP.side / 2 + OBSTACLE_GAP_M
        super().__init__(
            "square_table",
            (Part("top", _shape_top, top_m, shift_share=0.25, yaw_share=0.2, side_m=TOP.side), *legs),
            pairs,
            (TOP_START_M[0] + to_edge, TOP_START_M[1] + to_edge),
            randomness,
            max_steps,
            **limits,
        )

    def plan(self) -> list[Move]:
        """Return the scripted expert's moves: leg after leg."""
        return [move for pair in self.pairs for move in assemble_leg(pair)]


def assemble_leg(pair: Pair) -> list[Move]:
    """Return the moves that pick up a lying leg, insert it and screw it in."""
    grip_m = (0.0, 0.0, LEG.body_length - TOP_GRASP_M)
    return [
        *pick(pair.plug, (0.0, 0.0, GRASP_HEIGHT_M), LYING, about_z([-90])[0] @ DOWN),
        *insert(pair, depth_m=THREAD.travel_m, symmetry=QUARTERS),
        *let_go(along_tcp_m=0.09, up_m=0.12),
        over(ABOVE_TOP_M, heading_deg=45.0),
        *screw_in(pair, grip_m, STANDING),
        over(ABOVE_TOP_M, heading_deg=-90.0, least=1),
    ]


def _shape_leg(body: mujoco.MjsBody) -> None:
    shape_leg(body, LEG)


def _shape_top(body: mujoco.MjsBody) -> None:
    shape_four_hole_top(body, TOP)
