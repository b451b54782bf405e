"""What every furniture task shares: the Franka, its actions and the names of its state values."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Self

import mujoco
import torch
from torch import Tensor

from robofb.envs.furniture.parts import add_table
from robofb.envs.looks.palette import dress
from robofb.envs.looks.scene import add_scene
from robofb.envs.looks.show import MeshLooks
from robofb.envs.robots import franka
from robofb.errors import UserError
from robofb.geometry import quat_to_matrix, rot6d_to_matrix, seen_from
from robofb.interfaces import Engine
from robofb.rng import EpisodeRng
from robofb.sim.engine import free_joint_slices, joint_indices, with_tensors_on
from robofb.sim.ik import SerialArm, solve_differential_ik
from robofb.sim.pose_noise import PoseNoise
from robofb.sim.textures import add_textures
from robofb.types import ArraySpec

CONTROL_DT_S = 0.1
NUM_SUBSTEPS = 12  # of physics in a control step: 120 Hz
GRIPPER_SPEED_M_S = 0.25  # of the opening width
WORKSPACE_LOW_M = (0.20, -0.45, 0.005)
WORKSPACE_HIGH_M = (0.75, 0.45, 0.55)
ROBOT_STATE_NAMES = (
    *(f"ee_pos_base_{axis}" for axis in "xyz"),
    *(f"ee_rot6d_base_{index}" for index in range(6)),
    *(f"ee_linvel_base_{axis}" for axis in "xyz"),
    *(f"ee_angvel_base_{axis}" for axis in "xyz"),
    "gripper_width",
)
ACTION_SPEC = ArraySpec(
    shape=(10,),
    unit="m (pos), 1 (rot6d), -1 open .. 1 closed (gripper)",
    low=(*WORKSPACE_LOW_M, *(-1.0,) * 7),
    high=(*WORKSPACE_HIGH_M, *(1.0,) * 7),
    names=(
        *(f"ee_pos_base_{axis}" for axis in "xyz"),
        *(f"ee_rot6d_base_{index}" for index in range(6)),
        "gripper",
    ),
)


@dataclass(frozen=True)
class Randomness:
    """Half-ranges of the uniform start distribution.

    Attributes:
        part_xy_m: part position along x and y.
        part_yaw_rad: part heading.
        arm_rad: every arm joint.
    """

    part_xy_m: float
    part_yaw_rad: float
    arm_rad: float


# Positions and joints as in ResiP (arXiv 2407.16677); headings as in FurnitureSim, where "low" and
# "med" are 15 and 45 degrees: we put 30 between, so that the levels grow evenly.
RANDOMNESS = {
    "low": Randomness(0.02, math.radians(15), math.radians(5)),
    "med": Randomness(0.04, math.radians(30), math.radians(10)),
    "high": Randomness(0.06, math.radians(45), math.radians(13)),
}


# Perturbation: a push adds a velocity of up to this much, along the table in any direction, and a spin about
# the vertical. A lying leg slides up to 15 mm on from it (friction 0.3), one in a firm grip hardly moves.
PUSH_M_S, PUSH_RAD_S = 0.3, 3.0


def draw_pushes(rng: EpisodeRng, parts: int, most_m_s: float, most_rad_s: float) -> tuple[Tensor, Tensor]:
    """Return velocities (n, parts, 3) [m/s] and spins (n, parts, 3) [rad/s] in the base frame.

    Speed and spin are uniform up to the most, headings uniform.
    """
    speed, heading, spin = rng.uniform(3, parts).double().unbind(1)
    angle = 2 * math.pi * heading
    level = torch.zeros_like(speed)
    linear = most_m_s * speed.unsqueeze(-1) * torch.stack([torch.cos(angle), torch.sin(angle), level], -1)
    return linear, torch.stack([level, level, most_rad_s * (2 * spin - 1)], -1)


def pose_names(part: str) -> tuple[str, ...]:
    """Return the names of a part's nine pose values: position, then 6D rotation."""
    return (
        *(f"{part}_pos_base_{axis}" for axis in "xyz"),
        *(f"{part}_rot6d_base_{index}" for index in range(6)),
    )


class FurnitureTask(ABC):
    """Base of the furniture tasks: the robot's half of scene, reset and action.

    A subclass sets up its parts before it calls this constructor, which builds the scene.

    A subclass may set `num_substeps` of physics in a control step, `pad_reach_m`, see `add_franka`, and
    `part_meshes`: by a body's name the part of furniture-bench whose mesh shows it.

    Args:
        randomness: low, med or high.
        parts: names of the free parts.
        perturbation: chance per part and control step of a push; where it is not 0, every part is also
            pushed at reset. See `PUSH_M_S`.
        looks: what pictures show by meshes of the user's assets: primitive (nothing), arm, parts, or meshes
            (both). Asked for and never guessed, so that images do not depend on what a machine has.
        pose_noise_m, pose_noise_rad: on the parts' poses that are observed, see `PoseNoise`.

    Raises:
        UserError: the randomness or the looks have another name, the chance is no chance, or meshes that
            shall be shown are not there.
    """

    num_substeps = NUM_SUBSTEPS
    gains = franka.Gains()
    pad_reach_m = franka.PAD_REACH_M
    keeps_posture = False  # of the arm, near its home; long tasks need it, see `solve_differential_ik`
    push_m_s, push_rad_s = PUSH_M_S, PUSH_RAD_S
    part_meshes: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        randomness: str,
        parts: Sequence[str],
        perturbation: float,
        looks: str,
        pose_noise_m: float = 0.0,
        pose_noise_rad: float = 0.0,
    ) -> None:
        if randomness not in RANDOMNESS:
            raise UserError(f"randomness must be one of {', '.join(RANDOMNESS)}, not {randomness!r}")
        if not 0 <= perturbation <= 1:
            raise UserError(f"perturbation={perturbation}: needs a chance, 0 to 1")
        self.part_names, self.perturbation = tuple(parts), perturbation
        self.randomness, self.pose_noise = RANDOMNESS[randomness], PoseNoise(pose_noise_m, pose_noise_rad)
        self._mesh_looks = MeshLooks(looks, self.part_meshes)
        self.meta = {
            "robot": "franka",
            "randomness": randomness,
            **({"perturbation": perturbation} if perturbation else {}),
            **({"pose_noise": asdict(self.pose_noise)} if self.pose_noise else {}),
            **self._mesh_looks.meta,
            "rotation": "6D, first two columns",
            "frame": "robot base",
        }
        self._arm = franka.serial_arm()
        self._home = torch.tensor(franka.HOME_RAD, dtype=torch.float64)
        self._low = torch.tensor(WORKSPACE_LOW_M, dtype=torch.float64)
        self._high = torch.tensor(WORKSPACE_HIGH_M, dtype=torch.float64)
        self.model = self.build()
        arm_q, _ = joint_indices(self.model, franka.ARM_JOINTS)
        finger_q, _ = joint_indices(self.model, franka.FINGER_JOINTS)
        self._arm_q, self._finger_q = torch.from_numpy(arm_q).long(), torch.from_numpy(finger_q).long()
        self._pushes = [free_joint_slices(self.model, part) for part in parts]

    def to(self, device: torch.device) -> Self:
        """Return this task with all that has tensors on another device; itself where that is the CPU."""
        return with_tensors_on(self, device)

    @abstractmethod
    def add_parts(self, spec: mujoco.MjSpec) -> None:
        """Add the task's parts and sensors to the scene."""

    def build(self) -> mujoco.MjModel:
        """Compile the scene: arm, table, lights, cameras and the task's parts."""
        spec = mujoco.MjSpec()
        spec.option.timestep = CONTROL_DT_S / self.num_substeps
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
        spec.option.iterations = 20
        spec.option.tolerance = 1e-9  # 1e-6 lets a light part explode: it is relative to the arm's inertia
        add_scene(spec)
        add_textures(spec)
        add_table(spec)
        franka.add_franka(spec, self.gains, self.pad_reach_m)
        self.add_parts(spec)
        dress(spec)
        self._mesh_looks.add(spec)
        return spec.compile()

    def apply(self, engine: Engine, action: Tensor) -> None:
        """Command an absolute TCP pose and the gripper for one control step; see `steer`."""
        self.steer(engine, action)

    def steer(self, engine: Engine, action: Tensor, share: float = 1.0) -> None:
        """Command a TCP pose and the gripper, to be reached within a share of a control step.

        Args:
            engine: simulates.
            action: (B, 10) TCP position in the base frame [m], 6D rotation, gripper (> 0 closes).
            share: above 0, 1 at most.
        """
        action = action.to(engine.device, torch.float64)
        position = torch.minimum(torch.maximum(action[:, :3], self._low), self._high)
        self.command_pose(engine, position, rot6d_to_matrix(action[:, 3:9]), share)
        gripper = torch.where(action[:, 9] > 0, -GRIPPER_SPEED_M_S, GRIPPER_SPEED_M_S)
        engine.field("ctrl")[:, franka.NUM_JOINTS] = gripper.to(engine.field("ctrl").dtype)

    def command_pose(self, engine: Engine, position: Tensor, rotation: Tensor, share: float = 1.0) -> None:
        """Command a TCP pose, (B, 3) [m] and (B, 3, 3) in the base frame, for a share of a control step."""
        commanded = engine.field("act")[:, : franka.NUM_JOINTS].double()  # angles, integrated by actuators
        posture = self._home.to(engine.device) if self.keeps_posture else None
        joints = solve_differential_ik(self._arm, commanded, position, rotation, posture=posture)
        control = engine.field("ctrl")
        control[:, : franka.NUM_JOINTS] = ((joints - commanded) / (share * CONTROL_DT_S)).to(control.dtype)

    def perturb(self, engine: Engine, rng: EpisodeRng) -> None:
        """Push every part with the chance `perturbation`; for the start of a control step.

        Args:
            rng: (B rows) of this step of each episode.
        """
        if self.perturbation:
            chance = rng.uniform(len(self._pushes)) < self.perturbation
            self._push(engine, torch.arange(engine.num_worlds, device=engine.device), rng, chance)

    def push_at_reset(self, engine: Engine, ids: Tensor, rng: EpisodeRng) -> None:
        """Push every part of the worlds `ids` (n,) once, where there is perturbation."""
        if self.perturbation:
            every = torch.ones(len(ids), len(self._pushes), dtype=torch.bool, device=engine.device)
            self._push(engine, ids, rng, every)

    def _push(self, engine: Engine, ids: Tensor, rng: EpisodeRng, chosen: Tensor) -> None:
        """Add a push to the parts' velocities where `chosen` (n, parts)."""
        linear, angular = draw_pushes(rng, len(self._pushes), self.push_m_s, self.push_rad_s)
        qpos, qvel = engine.field("qpos"), engine.field("qvel")
        for part, (q, v) in enumerate(self._pushes):
            turn = quat_to_matrix(qpos[ids, q.start + 3 : q.stop].double())
            push = torch.cat([linear[:, part], seen_from(turn, angular[:, part])], -1)  # own frame: as qvel
            qvel[ids, v] += (push * chosen[:, part : part + 1]).to(qvel.dtype)

    def reset_arm(self, engine: Engine, ids: Tensor, draw: Tensor) -> None:
        """Put the arm near its home pose, gripper open, at rest.

        Args:
            draw: (n, 7) uniform in [-1, 1), one for each joint.
        """
        self.place_arm(engine, ids, self._home + draw * self.randomness.arm_rad)

    @property
    def arm(self) -> SerialArm:
        """The arm's kinematics."""
        return self._arm

    @property
    def home_rad(self) -> Tensor:
        """(7,) joint angles of the home pose."""
        return self._home

    def place_arm(
        self, engine: Engine, ids: Tensor, joints: Tensor, width_m: float = franka.MAX_WIDTH_M
    ) -> None:
        """Write joint angles (n, 7) [rad] and the gripper's opening, at rest and commanded to stay."""
        qpos = engine.field("qpos")
        qpos[ids[:, None], self._arm_q] = joints.to(qpos.dtype)
        qpos[ids[:, None], self._finger_q] = width_m / 2
        width = joints.new_full((len(ids), 1), width_m)
        engine.field("act")[ids] = torch.cat([joints, width], -1).to(qpos.dtype)

    def gripper_closes(self, engine: Engine) -> Tensor:
        """Return (B,) bool: the gripper is commanded to be closed rather than open."""
        return engine.field("act")[:, franka.NUM_JOINTS] < franka.MAX_WIDTH_M / 2
