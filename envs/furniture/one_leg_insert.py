"""Pick up a table leg and insert its peg into the hole of a table top: precision by contact alone."""

from __future__ import annotations

import mujoco
import torch
from torch import Tensor

from robofb.envs.furniture.parts import Leg, TableTop, add_leg, add_table_top, part_contact_sensor
from robofb.envs.furniture.task import (
    ACTION_SPEC,
    CONTROL_DT_S,
    ROBOT_STATE_NAMES,
    FurnitureTask,
    pose_names,
)
from robofb.geometry import matrix_to_rot6d, quat_from_yaw, quat_to_matrix
from robofb.interfaces import Agent, Engine
from robofb.rng import EpisodeRng
from robofb.sim.engine import free_joint_slices, sensor_slice
from robofb.types import ArraySpec, EnvSpec, Obs, Score

LEG_START_M = (0.46, -0.13)
TOP_START_M = (0.47, 0.13)
GRASP_HEIGHT_M = 0.045  # of the TCP above the leg's shoulder
FEATURE_NAMES = (
    *(f"tcp_to_grasp_tcp_{axis}_tanh_2cm" for axis in "xyz"),
    *(f"peg_tip_hole_{axis}_tanh_1cm" for axis in "xyz"),
    *(f"peg_tip_hole_{axis}_tanh_4cm" for axis in "xyz"),
    *(f"peg_tilt_hole_{axis}_tanh_100mrad" for axis in "xy"),
)
STATE_NAMES = (*ROBOT_STATE_NAMES, *pose_names("leg"), *pose_names("top"), *FEATURE_NAMES)


class OneLegInsert(FurnitureTask):
    """Insert one leg. Sparse reward: +1 when the peg is seated.

    The state is 45 values, all in the robot's base frame: robot (16), leg pose (9), top pose (9), and
    eleven relative features, squashed so that millimetres near the goal stay visible.

    Args:
        randomness: low, med or high: how far the start states spread.
        max_steps: actions before truncation.
        min_tilt_cosine: success needs at least this cosine between peg and hole axes.
        max_off_axis_m: success needs the shoulder's centre nearer to the hole's axis than this.
        min_depth_share: success needs this share of the peg below the surface.
        max_part_overlap_m: success is refused while leg and top overlap deeper than this.
        max_pad_overlap_m: the same for leg and pads; these are soft and sink 1.2 mm in a plain grip.
    """

    def __init__(
        self,
        randomness: str = "low",
        max_steps: int = 90,
        min_tilt_cosine: float = 0.996,
        max_off_axis_m: float = 0.002,
        min_depth_share: float = 0.6,
        max_part_overlap_m: float = 0.001,
        max_pad_overlap_m: float = 0.003,
    ) -> None:
        self.leg, self.top = Leg(), TableTop()
        super().__init__(randomness)
        self.min_tilt_cosine, self.max_off_axis_m = min_tilt_cosine, max_off_axis_m
        self.min_depth_m = min_depth_share * self.leg.peg_length
        self.max_part_overlap_m, self.max_pad_overlap_m = max_part_overlap_m, max_pad_overlap_m
        self._leg_q, _ = free_joint_slices(self.model, "leg")
        self._top_q, _ = free_joint_slices(self.model, "top")
        self._contacts = [sensor_slice(self.model, name) for name in ("leg_top", "leg_left", "leg_right")]
        self._hole = torch.tensor([self.top.hole_xy, self.top.hole_xy, 0.0], dtype=torch.float64)
        self.spec = EnvSpec(
            task="one_leg_insert",
            obs={"state": ArraySpec((len(STATE_NAMES),), unit="m, m/s, rad/s, 1 by name", names=STATE_NAMES)},
            action=ACTION_SPEC,
            control_dt=CONTROL_DT_S,
            max_steps=max_steps,
            stages=("grasp", "transport", "insertion"),
        )

    def add_parts(self, spec: mujoco.MjSpec) -> None:
        """Add the leg, the top, and sensors of how deep the leg overlaps with top and fingers."""
        add_leg(spec, self.leg)
        add_table_top(spec, self.top)
        part_contact_sensor(spec, "leg_top", "leg", "top")
        part_contact_sensor(spec, "leg_left", "leg", "finger_left")
        part_contact_sensor(spec, "leg_right", "leg", "finger_right")

    def reset(self, engine: Engine, ids: Tensor, rng: EpisodeRng) -> None:
        """Stand the leg and lay the top at random near their start poses."""
        engine.reset(ids)
        self.reset_arm(engine, ids, rng)
        qpos = engine.field("qpos")
        for where, (x, y), height in (
            (self._leg_q, LEG_START_M, self.leg.peg_length),
            (self._top_q, TOP_START_M, self.top.thickness + self.top.clearance_below),
        ):
            draw = (2 * rng.uniform(3).double() - 1).to(qpos.device)
            pose = torch.zeros(len(ids), 7, dtype=qpos.dtype, device=qpos.device)
            pose[:, 0] = x + draw[:, 0] * self.randomness.part_xy_m
            pose[:, 1] = y + draw[:, 1] * self.randomness.part_xy_m
            pose[:, 2] = height
            pose[:, 3:] = quat_from_yaw(draw[:, 2] * self.randomness.part_yaw_rad)
            qpos[ids, where] = pose
        engine.forward(ids)

    def observe(self, engine: Engine) -> Obs:
        """Return {"state": (B, 45) float32}."""
        robot, tcp, tcp_rotation = self.robot_state(engine)
        leg, leg_rotation, top, top_rotation = self._parts(engine)
        tip, tilt = self._peg_in_hole(leg, leg_rotation, top, top_rotation)
        grasp = leg + GRASP_HEIGHT_M * leg_rotation[:, :, 2]
        to_grasp = _into(tcp_rotation, grasp - tcp)
        values = [
            robot,
            leg,
            matrix_to_rot6d(leg_rotation),
            top,
            matrix_to_rot6d(top_rotation),
            torch.tanh(to_grasp / 0.02),
            torch.tanh(tip / 0.01),
            torch.tanh(tip / 0.04),
            torch.tanh(tilt / 0.1),
        ]
        return {"state": torch.cat(values, -1).float()}

    def score(self, engine: Engine) -> Score:
        """Judge seating strictly; `metrics` holds the paper's looser test and the overlaps [m]."""
        leg, leg_rotation, top, top_rotation = self._parts(engine)
        shoulder = _into(top_rotation, leg - top) - self._hole
        cosine = (leg_rotation[:, :, 2] * top_rotation[:, :, 2]).sum(-1)
        tip, _ = self._peg_in_hole(leg, leg_rotation, top, top_rotation)
        off_axis = shoulder[:, :2].norm(dim=-1)
        part_overlap, pad_overlap = self._overlaps(engine)
        seated = (
            (cosine > self.min_tilt_cosine)
            & (off_axis < self.max_off_axis_m)
            & (-tip[:, 2] >= self.min_depth_m)
        )
        sound = (part_overlap <= self.max_part_overlap_m) & (pad_overlap <= self.max_pad_overlap_m)
        success = seated & sound
        loose = (shoulder.abs().amax(-1) <= 0.005) & (cosine >= 0.94)
        lifted = leg[:, 2] > self.leg.peg_length + 0.02
        over_hole = (tip[:, :2].norm(dim=-1) < 0.015) & (tip[:, 2] < 0.02)
        stage = torch.where(success, 3, torch.where(over_hole & lifted, 2, torch.where(lifted, 1, 0)))
        fallen = (leg_rotation[:, 2, 2] < 0.5) | (leg[:, 2] < -0.02) | (top[:, 2] < -0.02)
        return Score(
            achieved=success.float(),
            success=success,
            failure=fallen,
            stage=stage,
            metrics={
                "success_loose": loose | success,
                "part_overlap": part_overlap.float(),
                "pad_overlap": pad_overlap.float(),
                "refused": seated & ~success,
            },
        )

    def expert(self, num_envs: int, noise: float) -> Agent:
        """Return the scripted expert; see `OneLegInsertExpert`."""
        from robofb.envs.furniture.one_leg_insert_expert import OneLegInsertExpert  # it imports this module

        return OneLegInsertExpert(num_envs, noise)

    def _parts(self, engine: Engine) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return positions (B, 3) and rotations (B, 3, 3) of leg and top in the base frame."""
        qpos = engine.field("qpos")
        leg, top = qpos[:, self._leg_q], qpos[:, self._top_q]
        rotations = quat_to_matrix(torch.stack([leg[:, 3:], top[:, 3:]]))
        return leg[:, :3], rotations[0], top[:, :3], rotations[1]

    def _peg_in_hole(
        self, leg: Tensor, leg_rotation: Tensor, top: Tensor, top_rotation: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the peg's tip (B, 3) [m] and its axis' xy (B, 2) in the frame of the hole's mouth."""
        axis = _into(top_rotation, leg_rotation[:, :, 2])
        tip = _into(top_rotation, leg - top) - self._hole - self.leg.peg_length * axis
        return tip, axis[:, :2]

    def _overlaps(self, engine: Engine) -> tuple[Tensor, Tensor]:
        """Return the deepest overlap (B,) [m] of the leg with the top, and with the fingers."""
        sensors = engine.field("sensordata")
        top, left, right = (
            (-sensors[:, where.stop - 1] * (sensors[:, where.start] > 0)).clamp_min(0.0)
            for where in self._contacts
        )
        return top, torch.maximum(left, right)


def _into(rotation: Tensor, vector: Tensor) -> Tensor:
    """Express base-frame vectors (B, 3) in the frames whose rotations (B, 3, 3) are given."""
    return (rotation.transpose(1, 2) @ vector.unsqueeze(-1)).squeeze(-1)
