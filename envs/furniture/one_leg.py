"""FurnitureBench's one_leg: turn a lying leg upright, insert it into the table top and screw it in."""

from __future__ import annotations

import math

from robofb.envs.furniture.assembly import AssemblyTask
from robofb.envs.furniture.moves import Move, about_z
from robofb.envs.furniture.pairs import Pair, Part
from robofb.envs.furniture.parts import Leg, TableTop, shape_leg, shape_table_top
from robofb.envs.furniture.plans import DOWN, LYING, STANDING, insert, let_go, over, pick, screw_in
from robofb.envs.furniture.thread import Thread

HALF = math.sqrt(0.5)
ALONG_Y = (HALF, -HALF, 0.0, 0.0)  # the leg's axis, from the peg to the far end, along +y
TURNED = (HALF, 0.0, 0.0, -HALF)  # the top's hole towards +x and -y
TOP_START_M = (0.50, 0.16)
LEG_START_M = (0.50, -0.14)
GRASP_HEIGHT_M = 0.050  # above the shoulder
TOP_GRASP_M = 0.012  # below the far end
OBSTACLE_GAP_M = 0.012
LEG, TOP, THREAD = Leg(), TableTop(), Thread()


class OneLeg(AssemblyTask):
    """Screw one leg into a table top that lies in a corner of bars; see `AssemblyTask` for the arguments."""

    def __init__(self, randomness: str = "low", max_steps: int = 700, **limits: float) -> None:
        top_m = (*TOP_START_M, TOP.thickness + TOP.clearance_below)
        leg_m = (*LEG_START_M, LEG.width / 2)
        parts = (
            Part(
                "top",
                lambda body: shape_table_top(body, TOP),
                top_m,
                TURNED,
                shift_share=0.25,
                yaw_share=0.2,
                side_m=TOP.side,
            ),
            Part("leg", lambda body: shape_leg(body, LEG), leg_m, ALONG_Y, (0.0, 0.0, GRASP_HEIGHT_M)),
        )
        hole_m = (TOP.hole_xy, TOP.hole_xy, 0.0)
        self.leg_pair = Pair("leg", "top", (0.0, 0.0, 0.0), hole_m, tip_m=LEG.peg_length, thread=THREAD)
        to_edge = TOP.side / 2 + OBSTACLE_GAP_M
        super().__init__(
            "one_leg",
            parts,
            (self.leg_pair,),
            (TOP_START_M[0] + to_edge, TOP_START_M[1] + to_edge),
            randomness,
            max_steps,
            **limits,
        )

    def plan(self) -> list[Move]:
        """Return the scripted expert's moves."""
        leg = self.leg_pair
        return [
            *pick("leg", (0.0, 0.0, GRASP_HEIGHT_M), LYING, about_z([-90])[0] @ DOWN),
            *insert(leg, depth_m=THREAD.travel_m),
            *let_go(along_tcp_m=0.09, up_m=0.12),
            over((0.5, 0.05, 0.28), heading_deg=45.0),
            *screw_in(leg, (0.0, 0.0, LEG.body_length - TOP_GRASP_M), STANDING),
        ]
