"""Pick up a table leg and insert its peg into the hole of a table top: precision by contact alone."""

from __future__ import annotations

import math

import mujoco
import torch
from torch import Tensor

from robofb.envs.furniture.parts import (
    Leg,
    TableTop,
    add_leg,
    add_table_top,
    part_pose_sensors,
)
from robofb.envs.furniture.task import (
    ACTION_SPEC,
    CONTROL_DT_S,
    ROBOT_STATE_NAMES,
    FurnitureTask,
    pose_names,
)
from robofb.envs.robots import franka
from robofb.envs.sensors import add_frame_sensor, add_overlap_sensor
from robofb.errors import UserError
from robofb.geometry import quat_from_yaw, quat_to_matrix, rot6d_to_matrix, seen_from
from robofb.interfaces import Agent, Engine
from robofb.rng import EpisodeRng
from robofb.sim.bank_kinds import Joining, kinds_of
from robofb.sim.engine import free_joint_slices, sensor_columns
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
FEATURE_SCALES = (0.02, 0.02, 0.02, 0.01, 0.01, 0.01, 0.04, 0.04, 0.04, 0.1, 0.1)
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
        perturbation: chance per part and control step of a push, see `FurnitureTask`.
        looks: primitive, arm, parts or meshes, see `FurnitureTask`.
        pose_noise_m, pose_noise_rad: on the parts' poses that are observed, see `FurnitureTask`.
    """

    part_meshes = {"leg": "square_leg", "top": "square_top"}
    push_m_s, push_rad_s = 0.1, 1.0  # the leg stands on its 15 mm peg: a harder push topples it

    def __init__(
        self,
        randomness: str = "low",
        max_steps: int = 90,
        min_tilt_cosine: float = 0.996,
        max_off_axis_m: float = 0.002,
        min_depth_share: float = 0.6,
        max_part_overlap_m: float = 0.001,
        max_pad_overlap_m: float = 0.003,
        perturbation: float = 0.0,
        looks: str = "primitive",
        pose_noise_m: float = 0.0,
        pose_noise_rad: float = 0.0,
    ) -> None:
        if max_steps < 1:
            raise UserError(f"max_steps={max_steps}: needs at least 1")
        self.leg, self.top = Leg(), TableTop()
        super().__init__(randomness, ("leg", "top"), perturbation, looks, pose_noise_m, pose_noise_rad)
        self.min_tilt_cosine, self.max_off_axis_m = min_tilt_cosine, max_off_axis_m
        self.min_depth_m = min_depth_share * self.leg.peg_length
        self.max_part_overlap_m, self.max_pad_overlap_m = max_part_overlap_m, max_pad_overlap_m
        self._leg_q, _ = free_joint_slices(self.model, "leg")
        self._top_q, _ = free_joint_slices(self.model, "top")
        self._state_columns = sensor_columns(
            self.model,
            *franka.STATE_SENSORS,
            *part_pose_sensors("leg"),
            *part_pose_sensors("top"),
            "grasp_pos_tcp",
            "peg_tip_pos_hole",
            "peg_tip_pos_hole",
            "peg_axis_hole",
        )[:-1]  # of the axis only x and y
        heights_m = (self.leg.peg_length, self.top.thickness + self.top.clearance_below)
        starts_m = [(*LEG_START_M, heights_m[0]), (*TOP_START_M, heights_m[1])]
        self._start_m = torch.tensor(starts_m, dtype=torch.float64)
        spread_m = (self.randomness.part_xy_m, self.randomness.part_xy_m, 0.0)
        self._start_spread_m = torch.tensor(spread_m, dtype=torch.float64)
        self._feature_scale = torch.tensor(FEATURE_SCALES, dtype=torch.float64)
        heights = [sensor_columns(self.model, f"{part}_pos_w")[2:] for part in ("leg", "top")]
        upright = sensor_columns(self.model, "leg_axis_w")[2:]
        self._score_columns = torch.cat(
            [
                sensor_columns(self.model, "peg_tip_pos_hole", "peg_axis_hole"),
                *heights,
                upright,
                sensor_columns(self.model, "leg_top", "leg_left", "leg_right"),
            ]
        )
        self._grasp_columns = sensor_columns(self.model, "grasp_pos_tcp")
        self.spec = EnvSpec(
            task="one_leg_insert",
            obs={"state": ArraySpec((len(STATE_NAMES),), unit="m, m/s, rad/s, 1 by name", names=STATE_NAMES)},
            action=ACTION_SPEC,
            control_dt=CONTROL_DT_S,
            max_steps=max_steps,
            stages=("grasp", "transport", "insertion"),
        )

    def add_parts(self, spec: mujoco.MjSpec) -> None:
        """Add leg and top; sensors of the leg's place and of how deep it overlaps with top and fingers."""
        leg, top = add_leg(spec, self.leg), add_table_top(spec, self.top)
        grasp = leg.add_site(name="grasp", pos=[0, 0, GRASP_HEIGHT_M], group=4)
        tip = leg.add_site(name="peg_tip", pos=[0, 0, -self.leg.peg_length], group=4)
        hole = top.add_site(name="hole", pos=[self.top.hole_xy, self.top.hole_xy, 0], group=4)
        position, z_axis = mujoco.mjtSensor.mjSENS_FRAMEPOS, mujoco.mjtSensor.mjSENS_FRAMEZAXIS
        add_frame_sensor(spec, "grasp_pos_tcp", position, grasp, spec.site("tcp"))
        add_frame_sensor(spec, "peg_tip_pos_hole", position, tip, hole)
        add_frame_sensor(spec, "peg_axis_hole", z_axis, tip, hole)
        add_frame_sensor(spec, "leg_axis_w", z_axis, leg)
        add_overlap_sensor(spec, "leg_top", "leg", "top")
        add_overlap_sensor(spec, "leg_left", "leg", "finger_left")
        add_overlap_sensor(spec, "leg_right", "leg", "finger_right")

    def reset(self, engine: Engine, ids: Tensor, rng: EpisodeRng) -> None:
        """Stand the leg and lay the top at random near their start poses."""
        engine.reset(ids)
        draw = 2 * rng.uniform(franka.NUM_JOINTS + 6).double() - 1
        arm, parts = draw.split([franka.NUM_JOINTS, 6], -1)
        self.reset_arm(engine, ids, arm)
        parts = parts.unflatten(-1, (2, 3))  # (n, 2, 3): leg and top by x, y, yaw
        position = self._start_m + parts * self._start_spread_m
        pose = torch.cat([position, quat_from_yaw(parts[..., 2] * self.randomness.part_yaw_rad)], -1)
        qpos = engine.field("qpos")
        qpos[ids, self._leg_q], qpos[ids, self._top_q] = pose.to(qpos.dtype).unbind(1)
        self.push_at_reset(engine, ids, rng)
        engine.forward(ids)

    def observe(self, engine: Engine) -> Obs:
        """Return {"state": (B, 45) float32}."""
        values = engine.field("sensordata")[:, self._state_columns]
        poses, features = values.split([len(STATE_NAMES) - len(FEATURE_NAMES), len(FEATURE_NAMES)], -1)
        return {"state": torch.cat([poses, torch.tanh(features / self._feature_scale)], -1).float()}

    def complete(self, state: Tensor) -> Tensor:
        """Return states (..., 45) whose relative features are computed anew from their poses."""
        columns = [STATE_NAMES.index(f"{body}_pos_base_x") for body in ("ee", "leg", "top")]
        tcp, leg, top = (state[..., at : at + 3].double() for at in columns)
        rotations = [rot6d_to_matrix(state[..., at + 3 : at + 9].double()) for at in columns]
        tcp_rotation, leg_rotation, top_rotation = rotations
        axis = leg_rotation[..., 2]
        hole = top + self.top.hole_xy * (top_rotation[..., 0] + top_rotation[..., 1])
        to_grasp = seen_from(tcp_rotation, leg + GRASP_HEIGHT_M * axis - tcp)
        tip = seen_from(top_rotation, leg - self.leg.peg_length * axis - hole)
        tilt = seen_from(top_rotation, axis)[..., :2]
        features = torch.cat([to_grasp, tip, tip, tilt], -1) / self._feature_scale.to(state.device)
        poses = state[..., : len(STATE_NAMES) - len(FEATURE_NAMES)]
        return torch.cat([poses, torch.tanh(features).to(state.dtype)], -1)

    def score(self, engine: Engine) -> Score:
        """Judge seating strictly; `metrics` holds the paper's looser test and the overlaps [m]."""
        sensors = engine.field("sensordata")
        tip, axis, heights, contacts = sensors[:, self._score_columns].split([3, 3, 3, 3], -1)
        leg_height, top_height, upright = heights.unbind(-1)  # above the table [m]; cosine
        shoulder = torch.add(tip, axis, alpha=self.leg.peg_length)  # in the frame of the hole's mouth, as tip
        off_axis, cosine = torch.hypot(shoulder[:, 0], shoulder[:, 1]), axis[:, 2]
        part_overlap, left, right = (-contacts).clamp_min(0.0).float().unbind(-1)
        pad_overlap = torch.maximum(left, right)
        seated = (
            (cosine > self.min_tilt_cosine)
            & (off_axis < self.max_off_axis_m)
            & (tip[:, 2] <= -self.min_depth_m)
        )
        sound = (part_overlap <= self.max_part_overlap_m) & (pad_overlap <= self.max_pad_overlap_m)
        success = seated & sound
        loose = (shoulder.abs().amax(-1) <= 0.005) & (cosine >= 0.94)
        lifted, over_hole = self._carried(tip, leg_height)
        stage = torch.where(success, 3, lifted * (1 + over_hole.long()))
        fallen = (upright < 0.5) | (torch.minimum(leg_height, top_height) < -0.02)
        return Score(
            achieved=success.float(),
            success=success,
            failure=fallen,
            stage=stage,
            metrics={
                "success_loose": loose | success,
                "part_overlap": part_overlap,
                "pad_overlap": pad_overlap,
                "refused": seated & ~success,
            },
        )

    def _carried(self, tip: Tensor, leg_height: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B,) bool: the leg is lifted; its tip is over or in the hole."""
        over_hole = (torch.hypot(tip[:, 0], tip[:, 1]) < 0.015) & (tip[:, 2] < 0.02)
        return leg_height > self.leg.peg_length + 0.02, over_hole

    def bank_kinds(self, engine: Engine) -> Tensor:
        """Return (B,) int64, the kind of each present state; see `BankTask`."""
        sensors = engine.field("sensordata")
        tip, _, heights, _ = sensors[:, self._score_columns].split([3, 3, 3, 3], -1)
        lifted, over_hole = self._carried(tip, heights[:, 0])
        grasp_m = sensors[:, self._grasp_columns].norm(dim=-1, keepdim=True)
        return kinds_of(grasp_m, lifted[:, None], over_hole[:, None], self.gripper_closes(engine))

    def joinings(self) -> list[Joining]:
        """Return how the leg stands in the top; see `BankTask`."""
        hole_m, grasp_m = (self.top.hole_xy, self.top.hole_xy, 0.0), (0.0, 0.0, GRASP_HEIGHT_M)
        turns = [quat_to_matrix(quat_from_yaw(torch.tensor(math.pi / 2 * quarter))) for quarter in range(4)]
        headings = [turn @ torch.diag(torch.tensor([1.0, -1.0, -1.0])) for turn in turns]
        seat_m = (0.0, 0.0, 0.0)
        return [Joining("leg", "top", seat_m, hole_m, 0.0, self.leg.peg_length, grasp_m, headings, True)]

    def expert(self, num_envs: int, noise: float) -> Agent:
        """Return the scripted expert; see `OneLegInsertExpert`."""
        from robofb.envs.furniture.one_leg_insert_expert import OneLegInsertExpert  # it imports this module

        return OneLegInsertExpert(num_envs, noise)
