"""Two boxes that look alike: which of them holds the ball shows only from a place off the way."""

from __future__ import annotations

import mujoco
import torch
from torch import Tensor

from robofb.envs.contact_bits import TOP
from robofb.envs.furniture.screws import BOX, SPHERE
from robofb.envs.furniture.task import CONTROL_DT_S
from robofb.envs.looks.palette import MAPLE, OAK
from robofb.envs.teacher.hand import ACTION_SPEC, HandTask, Room, hand_names, steps_towards
from robofb.interfaces import Engine, Teacher
from robofb.rng import EpisodeRng
from robofb.sim.engine import sensor_columns
from robofb.types import PRIVILEGED, ArraySpec, EnvSpec, Obs, Score

BOXES_XY_M = (0.50, 0.0)  # middle of the wall that the boxes share
BOX_INNER_M = (0.16, 0.11, 0.09)  # along x, y, z
WALL_M = 0.004
RIM_M = BOX_INNER_M[2]  # above the table
FINGERS_M = 0.0105  # the pads end this far below the TCP
BALL_RADIUS_M = 0.02
LEFT_Y_M = (BOX_INNER_M[1] + WALL_M) / 2  # of the left box's middle; the right one's is -LEFT_Y_M
GRIPPER_M = 0.02
ROOM = Room(
    origin_m=(*BOXES_XY_M, RIM_M),
    low_m=(-0.22, -0.10, 0.0),
    high_m=(0.06, 0.10, 0.28),
    step_m=0.03,
    lead_m=0.06,
)
START_LOW_M, START_HIGH_M = (-0.02, -0.05, 0.12), (0.02, 0.05, 0.18)
VIEW_X_M, VIEW_HEIGHT_M = -0.13, 0.20  # behind the one and above the other, the hand sees into the boxes
STATE_NAMES = (*hand_names("rim"), "seen_ball_left_right")
_BALL, _LAMP = 0, 1  # mocap bodies
DARK_M, LIT_M = -0.05, 0.005  # height of the lamp: below the table, on it
LAMP_XY_M = (0.30, 0.25)


class TwoBoxes(HandTask):
    """Reach into the one of two open boxes in which a ball lies. Sparse reward: +1 for the right box.

    The hand sees into the boxes only from further back and above, off the way (a rule: no picture is taken).
    From then on the state tells where the ball is. To reach below the rim of the wrong box ends the episode.
    That the ball was seen is kept in the simulator, as a lamp beside the boxes, under the table before.

    Observations: "state" (10,): place of the TCP from the middle of the rims, its velocity, how far the
    command is ahead, and where the ball was seen: 1 left (+y), -1 right, 0 not yet. `PRIVILEGED` (1,): where
    it is.

    Args:
        max_steps: actions before truncation.
    """

    def __init__(self, max_steps: int = 50) -> None:
        super().__init__(ROOM, max_steps, GRIPPER_M)
        self._tcp_columns = sensor_columns(self.model, "tcp_pos_w")
        self._start_low = torch.tensor(START_LOW_M, dtype=torch.float64)
        self._start_high = torch.tensor(START_HIGH_M, dtype=torch.float64)
        self.spec = EnvSpec(
            task="two_boxes",
            obs={
                "state": ArraySpec((len(STATE_NAMES),), unit="m, m/s, 1 by name", names=STATE_NAMES),
                PRIVILEGED: ArraySpec((1,), names=("ball_left_right",)),
            },
            action=ACTION_SPEC,
            control_dt=CONTROL_DT_S,
            max_steps=max_steps,
            stages=("look", "reach"),
        )

    def add_parts(self, spec: mujoco.MjSpec) -> None:
        """Add the boxes, the ball and the lamp."""
        _add_boxes(spec)
        for name, size, rgba in (
            ("ball", BALL_RADIUS_M, (0.85, 0.2, 0.15, 1)),
            ("lamp", 0.015, (0.2, 0.8, 0.3, 1)),
        ):
            body = spec.worldbody.add_body(name=name, mocap=True)
            body.add_geom(type=SPHERE, size=[size, 0, 0], contype=0, conaffinity=0, rgba=rgba)

    def reset(self, engine: Engine, ids: Tensor, rng: EpisodeRng) -> None:
        """Put the ball into one of the boxes, the hand above both, and forget what was seen."""
        engine.reset(ids)
        draw = rng.uniform(4).double()
        side = torch.where(draw[:, 0] < 0.5, 1.0, -1.0)
        x, y = BOXES_XY_M
        bottom = torch.full_like(side, BALL_RADIUS_M + WALL_M)
        ball = torch.stack([torch.full_like(side, x), y + LEFT_Y_M * side, bottom], -1)
        lamp = ball.new_tensor([*LAMP_XY_M, DARK_M]).expand_as(ball)
        mocap = engine.field("mocap_pos")
        mocap[ids] = torch.stack([ball, lamp], 1).to(mocap.dtype)
        self.place_hand(engine, ids, self._start_low + draw[:, 1:] * (self._start_high - self._start_low))
        engine.forward(ids)

    def apply(self, engine: Engine, action: Tensor) -> None:
        """Remember what is seen now, and step the command."""
        lamp = engine.field("mocap_pos")[:, _LAMP, 2]
        lamp[self._seen(engine)] = LIT_M
        super().apply(engine, action)

    def _place(self, engine: Engine) -> Tensor:
        """Return the TCP's place (B, 3) [m] from the middle of the rims."""
        return engine.field("sensordata")[:, self._tcp_columns].double() - self._origin

    def _seen(self, engine: Engine) -> Tensor:
        """Return (B,) bool: the ball was seen, or is seen now."""
        place = self._place(engine)
        looks = (place[:, 0] < VIEW_X_M) & (place[:, 2] > VIEW_HEIGHT_M)
        return looks | (engine.field("mocap_pos")[:, _LAMP, 2] > 0)

    def _side(self, engine: Engine) -> Tensor:
        """Return (B,) float64: 1 where the ball is in the left box, -1 where in the right one."""
        return (engine.field("mocap_pos")[:, _BALL, 1].double() - BOXES_XY_M[1]).sign()

    def observe(self, engine: Engine) -> Obs:
        """Return {"state": (B, 10) float32, PRIVILEGED: (B, 1) float32}."""
        side = self._side(engine)[:, None]
        shown = torch.where(self._seen(engine)[:, None], side, 0.0)
        state = torch.cat([self.hand_state(engine), shown], -1)
        return {"state": state.float(), PRIVILEGED: side.float()}

    def score(self, engine: Engine) -> Score:
        """Judge into which box the fingers reach, if into any."""
        place = self._place(engine)
        over = (place[:, 0].abs() < BOX_INNER_M[0] / 2) & (place[:, 1].abs() < BOX_INNER_M[1] + WALL_M)
        reaches = over & (place[:, 2] < FINGERS_M)
        right = place[:, 1] * self._side(engine) > 0
        success, failure = reaches & right, reaches & ~right
        seen = self._seen(engine)
        stage = torch.where(success, 2, seen.long())
        return Score(success.float(), success, failure, stage, {"looked": seen})

    def teacher(self) -> Teacher:
        """Return the teacher, which knows where the ball is."""
        return BoxTeacher()


class BoxTeacher:
    """Go straight to the ball; implements `interfaces.Teacher`."""

    def answer(self, obs: Obs) -> Tensor:
        """Return actions (B, 3)."""
        state, side = obs["state"], obs[PRIVILEGED]
        target = torch.cat([torch.zeros_like(side), LEFT_Y_M * side, torch.zeros_like(side)], -1)
        return steps_towards(ROOM, state, target)


def _add_boxes(spec: mujoco.MjSpec) -> None:
    """Add two open boxes that share a wall to the world."""
    length, width, height = BOX_INNER_M
    x, y = BOXES_XY_M
    outer_y = width + WALL_M  # of the outer walls' middles
    walls = [
        ((x, y, WALL_M / 2), (length / 2, outer_y, WALL_M / 2), OAK),
        *(
            ((x, y + side * outer_y, height / 2), (length / 2, WALL_M / 2, height / 2), MAPLE)
            for side in (-1, 0, 1)
        ),
        *(
            (
                (x + end * (length + WALL_M) / 2, y, height / 2),
                (WALL_M / 2, outer_y + WALL_M / 2, height / 2),
                MAPLE,
            )
            for end in (-1, 1)
        ),
    ]
    for centre, half, rgba in walls:
        spec.worldbody.add_geom(type=BOX, pos=centre, size=half, contype=TOP, conaffinity=0, rgba=rgba)
