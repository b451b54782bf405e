"""A post that stands somewhere on an arc, unseen: find it by touch once, then reach for it directly."""

from __future__ import annotations

import math

import mujoco
import torch
from torch import Tensor

from robofb.envs.contact_bits import TOP
from robofb.envs.furniture.peg_hole import STIFF
from robofb.envs.furniture.screws import CYLINDER, FRICTION
from robofb.envs.furniture.task import CONTROL_DT_S
from robofb.envs.looks.palette import SLATE
from robofb.envs.meta.felt import FeltFamily
from robofb.envs.teacher.felt_peg import PEG_REACH_M, add_peg, felt_names
from robofb.envs.teacher.hand import ACTION_SPEC, Room, steps_towards
from robofb.interfaces import Engine, Teacher
from robofb.rng import EpisodeRng
from robofb.types import PRIVILEGED, ArraySpec, EnvSpec, Obs, Score

CENTRE_XY_M = (0.46, 0.0)
ARC_M = 0.05
POST_RADIUS_M, POST_HEIGHT_M = 0.005, 0.04
TIP_HEIGHT_M = 0.02
# The origin is where the TCP is when the tip is above the arc's centre; it stays at that height.
ROOM = Room(
    origin_m=(*CENTRE_XY_M, TIP_HEIGHT_M + PEG_REACH_M),
    low_m=(-0.065, -0.02, -0.001),
    high_m=(0.065, 0.065, 0.001),
    step_m=0.01,
    lead_m=0.008,
)
START_M = 0.005  # half-range of where the tip starts around the centre, along x and y
STATE_NAMES = felt_names("arc_centre")
SIDE_FORCE = [STATE_NAMES.index(f"peg_force_tcp_{axis}_tanh_10n") for axis in "xy"]
FELT = math.tanh(0.3)
"""Of the squashed force aside: from 3 N on the post is felt. Carrying the peg through the air takes less."""


class ArcByTouch(FeltFamily):
    """Be at the post and feel it: 1 for each step that ends with a force of at least 3 N aside, else 0.

    The post stands on the half circle y >= 0 of 50 mm around the middle of the starts, at an angle that
    nobody is told, and touches nothing but the peg. All tasks pay alike, for what is felt; they move
    differently. Only the time limit ends an episode. Success is to feel it in the last step.

    Observations: "state" (15,): as `HiddenHole`'s, places from the arc's centre. `PRIVILEGED` (1,): the
    post's angle from x [rad].

    Args:
        max_steps: of an episode [control steps].
    """

    start_distribution = "tip within 5 mm of the arc's centre along x and y"
    moves_alike = False

    def __init__(self, max_steps: int = 30) -> None:
        super().__init__(ROOM, max_steps)
        self.params = ArraySpec((1,), unit="rad", names=("post_angle",))
        self.spec = EnvSpec(
            task="arc_by_touch",
            obs={
                "state": ArraySpec((len(STATE_NAMES),), unit="m, m/s, 1 by name", names=STATE_NAMES),
                PRIVILEGED: self.params,
            },
            action=ACTION_SPEC,
            control_dt=CONTROL_DT_S,
            max_steps=max_steps,
            stages=("feel",),
        )

    def add_parts(self, spec: mujoco.MjSpec) -> None:
        """Add the peg in the hand and the post."""
        spec.nuserdata = 1
        add_peg(spec)
        post = spec.worldbody.add_body(name="post", mocap=True, pos=[*CENTRE_XY_M, POST_HEIGHT_M / 2])
        post.add_geom(
            type=CYLINDER,
            size=[POST_RADIUS_M, POST_HEIGHT_M / 2, 0],
            contype=TOP,
            conaffinity=0,
            rgba=SLATE,
            mass=0,
            **FRICTION,
            **STIFF,
        )

    def draw_params(self, rng: EpisodeRng) -> Tensor:
        """Draw an angle of the half circle, each as likely."""
        return math.pi * rng.uniform(1)

    def reset(self, engine: Engine, ids: Tensor, rng: EpisodeRng) -> None:
        """Put the post where the world's task has it, and the tip near the centre."""
        engine.reset(ids)
        self.begin_tasks(engine, ids, rng)
        place = engine.field("mocap_pos")
        at = post_xy(self.tasks(engine)[ids].double()) + place.new_tensor(CENTRE_XY_M)
        place[ids, 0, :2] = at.to(place)
        aside = START_M * (2 * rng.uniform(2).double() - 1)
        self.place_hand(engine, ids, torch.cat([aside, torch.zeros_like(aside[:, :1])], -1))
        engine.forward(ids)

    def observe(self, engine: Engine) -> Obs:
        """Return {"state": (B, 15) float32, PRIVILEGED: (B, 1) float32}."""
        return {"state": self.felt_state(engine).float(), PRIVILEGED: self.tasks(engine)}

    def relabel(self, params: Tensor, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return what any post pays for steps that end in states (..., 15)."""
        felt = next_obs[..., SIDE_FORCE].norm(dim=-1) >= FELT
        return felt.float().expand(torch.broadcast_shapes(felt.shape, params.shape[:-1]))

    def score(self, engine: Engine) -> Score:
        """Judge what is felt."""
        state, angle = self.felt_state(engine).float(), self.tasks(engine)
        reward = self.relabel(angle, state, state, state)
        felt = reward > 0
        never = torch.zeros_like(felt)
        return Score(
            achieved=reward,
            success=felt,
            failure=never,
            stage=felt.long(),
            metrics={},
            reward=reward,
            ended=never,
        )

    def teacher(self) -> Teacher:
        """Return who knows where the post is, and presses against it."""
        return PostTeacher()


class PostTeacher:
    """Go straight at the post; implements `interfaces.Teacher`."""

    def answer(self, obs: Obs) -> Tensor:
        """Return actions (B, 3)."""
        place = post_xy(obs[PRIVILEGED])
        return steps_towards(ROOM, obs["state"], torch.cat([place, torch.zeros_like(place[:, :1])], -1))


def post_xy(angle: Tensor) -> Tensor:
    """Return where posts stand (n, 2) [m] from the arc's centre, of angles (n, 1) [rad]."""
    return ARC_M * torch.cat([angle.cos(), angle.sin()], -1)
