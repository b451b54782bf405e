"""Assembly of several parts: scene, reset, observation and score of every task of the suite."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import mujoco
import torch
import torch.nn.functional as F
from torch import Tensor

from robofb.envs.furniture.expert import PlanExpert
from robofb.envs.furniture.moves import Move, Reach
from robofb.envs.furniture.pair_relations import PairRelations
from robofb.envs.furniture.pairs import OBSTACLE, Pair, Part, add_obstacle, add_pair
from robofb.envs.furniture.parts import add_part_pose_sensors, part_pose_sensors
from robofb.envs.furniture.task import (
    ACTION_SPEC,
    CONTROL_DT_S,
    ROBOT_STATE_NAMES,
    FurnitureTask,
    pose_names,
)
from robofb.envs.furniture.thread import ThreadSwitch
from robofb.envs.robots import franka
from robofb.errors import UserError
from robofb.geometry import quat_from_yaw, quat_multiply
from robofb.interfaces import Agent, Engine
from robofb.rng import EpisodeRng
from robofb.sim.bank_kinds import Joining, kinds_of
from robofb.sim.engine import free_joint_slices, sensor_columns
from robofb.types import ArraySpec, EnvSpec, Obs, Score

LIFTED_M = 0.02  # a part counts as picked up this far above where it started
NEAR_AXIS_M, NEAR_TIP_M = 0.015, 0.02  # from the hole's axis and mouth: over the hole


class AssemblyTask(FurnitureTask):
    """Put parts together, pair after pair. Sparse reward: +1 once for each pair newly assembled.

    A pair is assembled where its seats are within `max_offset_m` along each axis and the axes that matter
    have at least `min_cosine` (ResiP's test), and plug and socket do not overlap deeper than
    `max_part_overlap_m`. An episode succeeds when all pairs are assembled at once.

    The state is all in the robot's base frame: robot (16), parts (9 each), obstacle (2, where there is one),
    and for each pair the way from the TCP to the plug's grasp, in the TCP's frame (3), and ten `features`.

    Args:
        name: of the task.
        parts: free parts.
        pairs: in the order in which they are usually assembled.
        obstacle_m: corner that stops the parts, (x, y) of its inner edge; None for no obstacle.
        randomness: low, med or high: how far the start states spread.
        max_steps: actions before truncation.
        max_offset_m: see above.
        min_cosine: see above.
        max_part_overlap_m: see above.
        perturbation: chance per part and control step of a push, see `FurnitureTask`.
        looks: primitive, arm, parts or meshes, see `FurnitureTask`.
        pose_noise_m, pose_noise_rad: on the parts' poses that are observed, see `FurnitureTask`.
    """

    # With 4000 N/m the open fingers chatter by millimetres (their discrete servo has an eigenvalue of -1.02:
    # implicitfast leaves out the damping between the fingers), and throw a part as they close.
    gains = franka.Gains(gripper_stiffness=3000.0)

    def __init__(
        self,
        name: str,
        parts: tuple[Part, ...],
        pairs: tuple[Pair, ...],
        obstacle_m: tuple[float, float] | None,
        randomness: str,
        max_steps: int,
        max_offset_m: float = 0.005,
        min_cosine: float = 0.94,
        max_part_overlap_m: float = 0.0015,
        perturbation: float = 0.0,
        looks: str = "primitive",
        pose_noise_m: float = 0.0,
        pose_noise_rad: float = 0.0,
    ) -> None:
        if max_steps < 1:
            raise UserError(f"max_steps={max_steps}: needs at least 1")
        self.parts, self.pairs, self.obstacle_m = parts, pairs, obstacle_m
        super().__init__(
            randomness, [part.name for part in parts], perturbation, looks, pose_noise_m, pose_noise_rad
        )
        self.max_offset_m, self.min_cosine = max_offset_m, min_cosine
        self.max_part_overlap_m = max_part_overlap_m
        self._threads = [ThreadSwitch(self.model, p.name, p.thread) for p in pairs if p.thread is not None]
        self._set_up_reset()
        self._set_up_columns()
        self._relations = PairRelations(self.model, pairs, parts)
        names = self._state_names()
        stages = [f"{verb} {pair.plug}" for pair in pairs for verb in ("lift", "place", "assemble")]
        self.spec = EnvSpec(
            task=name,
            obs={"state": ArraySpec((len(names),), unit="m, m/s, rad/s, 1 by name", names=names)},
            action=ACTION_SPEC,
            control_dt=CONTROL_DT_S,
            max_steps=max_steps,
            stages=tuple(stages),
        )

    def add_parts(self, spec: mujoco.MjSpec) -> None:
        """Add parts, obstacle and threads; sensors of where each pair stands and how deep it overlaps."""
        bodies = {}
        for part in self.parts:
            bodies[part.name] = body = spec.worldbody.add_body(name=part.name)
            body.add_freejoint(name=part.name)
            part.build(body)
            body.add_site(name=f"{part.name}_grasp", pos=part.grasp_m, group=4)
            add_part_pose_sensors(spec, body)
        if self.obstacle_m is not None:
            add_obstacle(spec)
        for pair in self.pairs:
            add_pair(spec, pair, bodies[pair.plug], bodies[pair.socket])

    def _set_up_reset(self) -> None:
        self._part_q = [free_joint_slices(self.model, part.name)[0] for part in self.parts]
        self._start_m = torch.tensor([part.start_m for part in self.parts], dtype=torch.float64)
        self._start_quat = torch.tensor([part.start_quat for part in self.parts], dtype=torch.float64)
        self._shift = torch.tensor([part.shift_share for part in self.parts], dtype=torch.float64)
        self._side = torch.tensor([part.side_m for part in self.parts], dtype=torch.float64)
        self._yaw = torch.tensor([part.yaw_share for part in self.parts], dtype=torch.float64)

    def _set_up_columns(self) -> None:
        model, poses = self.model, [name for part in self.parts for name in part_pose_sensors(part.name)]
        self._pose_columns = sensor_columns(model, *franka.STATE_SENSORS, *poses)
        self._height_columns = torch.cat(
            [sensor_columns(model, part_pose_sensors(part.name)[0])[2:] for part in self.parts]
        )
        rows = {part.name: row for row, part in enumerate(self.parts)}
        self._plug_rows = torch.tensor([rows[pair.plug] for pair in self.pairs])
        self._tip_m = torch.tensor([pair.tip_m for pair in self.pairs], dtype=torch.float64)

    def _state_names(self) -> tuple[str, ...]:
        names = [*ROBOT_STATE_NAMES, *(name for part in self.parts for name in pose_names(part.name))]
        if self.obstacle_m is not None:
            names += [f"{OBSTACLE}_pos_base_{axis}" for axis in "xy"]
        for pair in self.pairs:
            names += [f"tcp_to_{pair.plug}_grasp_tcp_{axis}_tanh_2cm_{pair.name}" for axis in "xyz"]
            names += pair.features
        return tuple(names)

    def reset(self, engine: Engine, ids: Tensor, rng: EpisodeRng) -> None:
        """Put the parts, and the obstacle with them, at random near their start poses."""
        engine.reset(ids)
        draw = 2 * rng.uniform(franka.NUM_JOINTS + 2 + 3 * len(self.parts)).double() - 1
        arm, frame, parts = draw.split([franka.NUM_JOINTS, 2, 3 * len(self.parts)], -1)
        self.reset_arm(engine, ids, arm)
        parts = parts.unflatten(-1, (-1, 3))  # (n, parts, 3): x, y, yaw
        reach_m = self.randomness.part_xy_m
        position = self._start_m.expand(len(ids), -1, -1).clone()
        position[..., :2] += reach_m * (frame[:, None] + self._shift[:, None] * parts[..., :2])
        yaw = self._yaw * parts[..., 2] * self.randomness.part_yaw_rad
        turn = quat_from_yaw(yaw)
        if self.obstacle_m is not None:
            place = frame.new_tensor([*self.obstacle_m, 0.0]) + F.pad(reach_m * frame, (0, 1))
            position[..., :2] = torch.minimum(position[..., :2], place[:, None, :2] - self._keep_off(yaw))
            mocap = engine.field("mocap_pos")
            mocap[ids, 0] = place.to(mocap.dtype)
        pose = torch.cat([position, quat_multiply(turn, self._start_quat.expand_as(turn))], -1)
        qpos = engine.field("qpos")
        for part, place in enumerate(self._part_q):
            qpos[ids, place] = pose[:, part].to(qpos.dtype)
        self.push_at_reset(engine, ids, rng)
        engine.forward(ids)

    def _keep_off(self, yaw: Tensor) -> Tensor:
        """Return (n, parts, 1): how far parts turned by `yaw` (n, parts) reach along x, and along y [m]."""
        reach_m = self._side / 2 * (torch.cos(yaw).abs() + torch.sin(yaw).abs())
        return torch.where(self._side > 0, reach_m, -math.inf).unsqueeze(-1)

    def apply(self, engine: Engine, action: Tensor) -> None:
        """Command the arm, see `FurnitureTask.apply`, and engage or release the threads."""
        for thread in self._threads:
            thread.update(engine)
        super().apply(engine, action)

    def observe(self, engine: Engine) -> Obs:
        """Return {"state": (B, D) float32}."""
        poses = engine.field("sensordata")[:, self._pose_columns]
        relations, _ = self._relations.measure(engine)
        features = self._relations.features(relations)
        obstacle = [] if self.obstacle_m is None else [engine.field("mocap_pos")[:, 0, :2]]
        return {"state": torch.cat([poses, *obstacle, features], -1).float()}

    def complete(self, state: Tensor) -> Tensor:
        """Return states (..., D) whose relative features are computed anew from their poses."""
        relations = self._relations.from_state(state, self.spec.obs["state"].names)
        features = self._relations.features(relations).to(state.dtype)
        return torch.cat([state[..., : state.shape[-1] - features.shape[-1]], features], -1)

    def score(self, engine: Engine) -> Score:
        """Judge every pair; `metrics` holds the deepest overlaps [m] and what was refused for them."""
        relations, overlap = self._relations.measure(engine)
        axes_fit = self._relations.axes_fit(relations, self.min_cosine)
        seated = (relations.place.abs().amax(-1) <= self.max_offset_m) & axes_fit  # (B, P)
        assembled = seated & (overlap <= self.max_part_overlap_m)
        height = engine.field("sensordata")[:, self._height_columns]  # (B, parts)
        lifted, over = self._carried(height, relations.place)
        progress = torch.where(assembled, 3, torch.where(over, 2, lifted.long()))
        done_before = torch.cumprod(assembled.long(), -1)
        counted = torch.cat([torch.ones_like(done_before[:, :1]), done_before[:, :-1]], -1)
        success = assembled.all(-1)
        return Score(
            achieved=assembled.sum(-1).float(),
            success=success,
            failure=(height < -LIFTED_M).any(-1),
            stage=(progress * counted).sum(-1),
            metrics={
                "part_overlap": overlap.amax(-1).float(),
                "refused": (seated & ~assembled).any(-1) & ~success,
            },
        )

    def _carried(self, height: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, P) bool: each plug is lifted; it is over or in its socket."""
        rise = (height - self._start_m[:, 2])[:, self._plug_rows]
        over = torch.hypot(place[..., 0], place[..., 1]) < NEAR_AXIS_M
        return rise > LIFTED_M, over & (place[..., 2] < self._tip_m + NEAR_TIP_M)

    def bank_kinds(self, engine: Engine) -> Tensor:
        """Return (B,) int64, the kind of each present state; see `BankTask`."""
        relations, _ = self._relations.measure(engine)
        lifted, over = self._carried(engine.field("sensordata")[:, self._height_columns], relations.place)
        return kinds_of(relations.grasp.norm(dim=-1), lifted, over, self.gripper_closes(engine))

    def joinings(self) -> list[Joining]:
        """Return the pairs whose socket need not be brought itself, gripped as the expert does."""
        brought = {pair.plug for pair in self.pairs}
        grips: dict[str, Reach] = {}
        for move in self.plan():
            if isinstance(move, Reach):
                grips.setdefault(move.part, move)
        return [
            Joining(
                pair.plug,
                pair.socket,
                pair.plug_seat_m,
                pair.socket_seat_m,
                0.0 if pair.thread is None else pair.thread.travel_m,
                pair.tip_m,
                grips[pair.plug].grasp_m,
                grips[pair.plug].headings,
                pair.symmetry == 0,
            )
            for pair in self.pairs
            if pair.socket not in brought and pair.plug in grips
        ]

    @abstractmethod
    def plan(self) -> Sequence[Move]:
        """Return the scripted expert's moves."""

    def expert(self, num_envs: int, noise: float) -> Agent:
        """Return the scripted expert; see `PlanExpert`."""
        names = [part.name for part in self.parts]
        return PlanExpert(num_envs, self.plan(), self.spec.obs["state"].names, names, noise)
