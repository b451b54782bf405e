"""A hand that holds a round peg and feels, by the bending of its wrist, what the peg touches."""

from __future__ import annotations

import mujoco
import torch
from torch import Tensor

from robofb.envs.contact_bits import HOLE, PEG, TOP
from robofb.envs.furniture.peg_hole import STIFF
from robofb.envs.furniture.screws import CAPSULE, CYLINDER, FRICTION
from robofb.envs.furniture.task import NUM_SUBSTEPS
from robofb.envs.looks.palette import SLATE, STEEL
from robofb.envs.robots import franka
from robofb.envs.teacher.hand import HandTask, Room, hand_names
from robofb.interfaces import Engine
from robofb.sim.engine import joint_indices

PEG_RADIUS_M = 0.003
PEG_REACH_M = 0.045  # of its tip from the TCP, along the hand
HANDLE_M = 0.02  # width of what the gripper holds
# The peg hangs from the hand by springs, as from a compliant wrist that measures force by its own bending.
SPRING_N_M, SPRING_NM_RAD = 20_000.0, 30.0
PEG_KG, PEG_INERTIA_KG_M2 = 0.1, 2e-4
WRIST_ARMATURE = (
    1.0,
    5e-3,
)  # [kg], [kg m^2]: without it the pressed tip chatters by millimetres, even at 480 Hz
SPRING_DAMPING_RATIO = 0.7
WRIST_JOINTS = [f"wrist_{kind}_{axis}" for kind in ("slide", "turn") for axis in "xyz"]
FORCE_SCALE_N, TORQUE_SCALE_NM = 10.0, 0.3


def felt_names(frame: str) -> tuple[str, ...]:
    """Return the names of the fifteen values of `FeltPegTask.felt_state`."""
    return (
        *hand_names(frame),
        *(f"peg_force_tcp_{axis}_tanh_10n" for axis in "xyz"),
        *(f"peg_torque_tcp_{axis}_tanh_300mnm" for axis in "xyz"),
    )


class FeltPegTask(HandTask):
    """Base of the tasks that are done by touch; `add_parts` of each adds the peg, by `add_peg`.

    Args:
        room: where the hand may be sent.
        max_steps: actions before truncation.
    """

    num_substeps = 2 * NUM_SUBSTEPS
    # Twice as stiff as to carry parts: a pressing arm yields sideways, by 0.1 mm for each N instead of 0.2.
    gains = franka.Gains(stiffness=(2400.0, 2000.0, 800.0), damping=(160.0, 130.0, 45.0))

    def __init__(self, room: Room, max_steps: int) -> None:
        super().__init__(room, max_steps, HANDLE_M)
        wrist_q, _ = joint_indices(self.model, WRIST_JOINTS)
        self._wrist_q = torch.from_numpy(wrist_q).long()
        springs = [SPRING_N_M / FORCE_SCALE_N] * 3 + [SPRING_NM_RAD / TORQUE_SCALE_NM] * 3
        self._springs = torch.tensor(springs, dtype=torch.float64)

    def felt_state(self, engine: Engine) -> Tensor:
        """Return (B, 15): `hand_state`, then force and torque on the peg at the TCP, squashed by tanh."""
        bend = engine.field("qpos")[:, self._wrist_q].double()
        return torch.cat([self.hand_state(engine), torch.tanh(bend * self._springs)], -1)


def add_peg(spec: mujoco.MjSpec) -> mujoco.MjsBody:
    """Add the peg with its handle to the hand, on the springs of the wrist."""
    peg = spec.body("hand").add_body(
        name="peg",
        pos=[0, 0, franka.HAND_TO_TCP_M],
        gravcomp=1,  # the sensor is tared
        mass=PEG_KG,
        inertia=[PEG_INERTIA_KG_M2] * 3,
        explicitinertial=True,
    )
    kinds = (
        (mujoco.mjtJoint.mjJNT_SLIDE, SPRING_N_M, PEG_KG, WRIST_ARMATURE[0]),
        (mujoco.mjtJoint.mjJNT_HINGE, SPRING_NM_RAD, PEG_INERTIA_KG_M2, WRIST_ARMATURE[1]),
    )
    for index, name in enumerate(WRIST_JOINTS):
        kind, spring, inertia, armature = kinds[index // 3]
        peg.add_joint(
            name=name,
            type=kind,
            axis=[float(axis == index % 3) for axis in range(3)],
            stiffness=[spring, 0, 0],
            damping=[2 * SPRING_DAMPING_RATIO * (spring * (inertia + armature)) ** 0.5, 0, 0],
            armature=armature,
        )
    peg.add_geom(
        type=CAPSULE,
        fromto=[0, 0, 0, 0, 0, PEG_REACH_M - PEG_RADIUS_M],
        size=[PEG_RADIUS_M, 0, 0],
        contype=PEG,
        conaffinity=TOP | HOLE,
        rgba=STEEL,
        mass=0,
        **FRICTION,
        **STIFF,
    )
    peg.add_geom(
        type=CYLINDER,
        size=[HANDLE_M / 2, 0.012, 0],
        contype=0,
        conaffinity=0,
        rgba=SLATE,
        mass=0,
    )
    return peg
