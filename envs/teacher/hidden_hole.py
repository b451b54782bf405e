"""A peg and a hole that only its teacher sees: the student feels its way by wrench and place of the hand."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import torch
from torch import Tensor

from robofb.envs.furniture.peg_hole import HoleBlock, shape_block
from robofb.envs.furniture.task import CONTROL_DT_S
from robofb.envs.sensors import add_frame_sensor, add_overlap_sensor
from robofb.envs.teacher.felt_peg import PEG_REACH_M, FeltPegTask, add_peg, felt_names
from robofb.envs.teacher.hand import ACTION_SPEC, Room, steps_towards
from robofb.errors import UserError, check_positive
from robofb.interfaces import Engine, Teacher
from robofb.rng import EpisodeRng
from robofb.sim.engine import sensor_columns
from robofb.types import PRIVILEGED, ArraySpec, EnvSpec, Obs, Score

# A slot: the arm yields along x as it presses, and only the place along y is to be found.
BLOCK = HoleBlock(hole_m=(0.016, 0.007), depth_m=0.015, side_m=0.1)
BLOCK_XY_M = (0.48, 0.0)
BLOCK_TOP_M = BLOCK.height_m + BLOCK.clearance_below_m
MAX_OFFSET_M = 0.010  # of the hole along y
# The origin is where the TCP is when the tip touches the middle of the block's upper face.
ROOM = Room(
    origin_m=(*BLOCK_XY_M, BLOCK_TOP_M + PEG_REACH_M),
    low_m=(-0.004, -0.014, -0.020),
    high_m=(0.004, 0.014, 0.012),
    step_m=0.004,
    lead_m=0.0035,
)
START_LOW_M, START_HIGH_M = (-0.002, -0.010, 0.006), (0.002, 0.010, 0.010)
TOUCH_M, FIND_M = 0.0003, -0.001  # height of the tip over the block's face
STATE_NAMES = felt_names("nominal_touch")


class HiddenHole(FeltPegTask):
    """Find a hole by feel and push a peg into it. Sparse reward: +1 when the peg is in.

    The hole is a slot, 16 x 7 mm, its place along y unknown by `MAX_OFFSET_M`; the peg is round, d 6 mm,
    with a round tip. The face around it is flat and wider than the hand is let go, so that nothing but wrench
    and height tells where the hole is.

    Observations: "state" (15,): place of the TCP from where the tip would touch a hole without offset, its
    velocity, how far the command is ahead, force and torque on the peg at the TCP, in the TCP's frame,
    squashed. `PRIVILEGED` (1,): the hole's offset along y [m].

    Args:
        max_steps: actions before truncation.
        offsets_m: from which an episode's offset is drawn, evenly; all within `MAX_OFFSET_M` where None.
        teacher_height_m: of the tip over the block while the teacher brings it; below 0 it slides, pressing.
        min_depth_share: success needs this share of the hole's depth.
        max_part_overlap_m: success is refused while peg and block overlap deeper than this.

    Raises:
        UserError: an offset is larger than `MAX_OFFSET_M`, there is none, or another value is not sound.
    """

    def __init__(
        self,
        max_steps: int = 60,
        offsets_m: Sequence[float] | None = None,
        teacher_height_m: float = -0.002,
        min_depth_share: float = 0.6,
        max_part_overlap_m: float = 0.0003,
    ) -> None:
        if offsets_m is not None and not isinstance(offsets_m, Sequence):
            raise UserError(f"offsets_m={offsets_m}: needs a list: [{offsets_m}]")
        if offsets_m is not None and not (offsets_m and all(abs(each) <= MAX_OFFSET_M for each in offsets_m)):
            raise UserError(f"offsets_m={list(offsets_m)}: needs some of at most {MAX_OFFSET_M} m either way")
        if not 0 < min_depth_share <= 1:
            raise UserError(f"min_depth_share={min_depth_share}: needs a share above 0, at most 1")
        super().__init__(ROOM, max_steps)
        self.teacher_height_m, self.max_part_overlap_m = teacher_height_m, max_part_overlap_m
        low, high = ROOM.low_m[2], ROOM.high_m[2]
        if not low <= teacher_height_m <= high:
            raise UserError(
                f"teacher_height_m={teacher_height_m}: needs {low:g} to {high:g}, where the hand may go"
            )
        check_positive(self, "max_part_overlap_m")
        self.min_depth_m = min_depth_share * BLOCK.depth_m
        self._offsets = None if offsets_m is None else torch.tensor(list(offsets_m), dtype=torch.float64)
        self._score_columns = sensor_columns(self.model, "peg_tip_pos_hole", "peg_block")
        self._start_low = torch.tensor(START_LOW_M, dtype=torch.float64)
        self._start_high = torch.tensor(START_HIGH_M, dtype=torch.float64)
        self._block_m = torch.tensor([*BLOCK_XY_M, BLOCK_TOP_M], dtype=torch.float64)
        self.spec = EnvSpec(
            task="hidden_hole",
            obs={
                "state": ArraySpec((len(STATE_NAMES),), unit="m, m/s, 1 by name", names=STATE_NAMES),
                PRIVILEGED: ArraySpec((1,), unit="m", names=("hole_offset_base_y",)),
            },
            action=ACTION_SPEC,
            control_dt=CONTROL_DT_S,
            max_steps=max_steps,
            stages=("touch", "find", "insert"),
        )

    def add_parts(self, spec: mujoco.MjSpec) -> None:
        """Add the peg in the hand and the block, with sensors of where the tip is and of their overlap."""
        peg = add_peg(spec)
        block = spec.worldbody.add_body(name="block", mocap=True, pos=[*BLOCK_XY_M, BLOCK_TOP_M])
        shape_block(block, BLOCK)
        tip = peg.add_site(name="peg_tip", pos=[0, 0, PEG_REACH_M], group=4)
        hole = block.add_site(name="hole", group=4)
        add_frame_sensor(spec, "peg_tip_pos_hole", mujoco.mjtSensor.mjSENS_FRAMEPOS, tip, hole)
        add_overlap_sensor(spec, "peg_block", "peg", "block")

    def reset(self, engine: Engine, ids: Tensor, rng: EpisodeRng) -> None:
        """Put the block where this episode hides it, and the tip somewhere above it."""
        engine.reset(ids)
        draw = rng.uniform(4).double()
        place = self._block_m.expand(len(ids), -1).clone()
        place[:, 1] += self._offset(draw[:, 0])
        mocap = engine.field("mocap_pos")
        mocap[ids, 0] = place.to(mocap.dtype)
        start = self._start_low + draw[:, 1:] * (self._start_high - self._start_low)
        self.place_hand(engine, ids, start)
        engine.forward(ids)

    def _offset(self, draw: Tensor) -> Tensor:
        """Return the hole's offsets (n,) [m] of draws (n,) in [0, 1)."""
        if self._offsets is None:
            return MAX_OFFSET_M * (2 * draw - 1)
        return self._offsets[(draw * len(self._offsets)).long()]

    def observe(self, engine: Engine) -> Obs:
        """Return {"state": (B, 15) float32, PRIVILEGED: (B, 1) float32}."""
        offset = engine.field("mocap_pos")[:, 0, 1:2].double() - self._block_m[1]
        return {"state": self.felt_state(engine).float(), PRIVILEGED: offset.float()}

    def score(self, engine: Engine) -> Score:
        """Judge depth and soundness; `metrics` holds the overlap [m] and what was refused for it."""
        tip, contact = engine.field("sensordata")[:, self._score_columns].split([3, 1], -1)
        overlap = (-contact[:, 0]).clamp_min(0.0).float()
        height = tip[:, 2]
        inside = tip[:, :2].abs().amax(-1) <= max(BLOCK.hole_m) / 2
        seated = inside & (height <= -self.min_depth_m)
        success = seated & (overlap <= self.max_part_overlap_m)
        found = inside & (height <= FIND_M)
        stage = torch.where(success, 3, torch.where(found, 2, (height <= TOUCH_M).long()))
        return Score(
            achieved=success.float(),
            success=success,
            failure=torch.zeros_like(success),
            stage=stage,
            metrics={"part_overlap": overlap, "refused": seated & ~success},
        )

    def teacher(self) -> Teacher:
        """Return the teacher, which sees the hole."""
        return HoleTeacher(self.teacher_height_m)


class HoleTeacher:
    """Bring the tip above the true hole, then down; implements `interfaces.Teacher`.

    Args:
        height_m: of the tip over the block until it is above the hole.
        near_m: both tip and command within this of the hole's axis: it goes down.
    """

    def __init__(self, height_m: float = -0.002, near_m: float = 0.001) -> None:
        self.height_m, self.near_m = height_m, near_m

    def answer(self, obs: Obs) -> Tensor:
        """Return actions (B, 3)."""
        state, offset = obs["state"], obs[PRIVILEGED]
        hole = torch.cat([torch.zeros_like(offset), offset], -1)
        here, command = state[:, :2], state[:, :2] + state[:, 6:8]
        away = torch.maximum((here - hole).abs(), (command - hole).abs()).amax(-1, keepdim=True)
        height = torch.where(away < self.near_m, ROOM.low_m[2], self.height_m)
        return steps_towards(ROOM, state, torch.cat([hole, height], -1))
