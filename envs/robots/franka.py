"""The Franka Emika Panda with its hand, built from public kinematics, inertias and limits.

Kinematics: the manufacturer's Denavit-Hartenberg table. Only the hand, fingers and pads collide.
The tool centre point (TCP) lies between the pads: z points out of the hand, y along the opening.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import torch

from robofb.envs.contact_bits import HAND, LEG, PAD, TABLE, TOP
from robofb.envs.looks.palette import FINGER, JOINT, RUBBER, SHELL
from robofb.envs.robots.franka_links import LINKS, SHAPES
from robofb.envs.sensors import add_frame_sensor
from robofb.sim.ik import SerialArm, rotation_about_x, rotation_about_z

NUM_JOINTS = 7
ARM_JOINTS = [f"joint{i + 1}" for i in range(NUM_JOINTS)]
FINGER_JOINTS = ["finger_left", "finger_right"]
# The arm's 16 state values, in this order: TCP pose, TCP velocity, opening width.
STATE_SENSORS = ("tcp_pos_w", "tcp_xaxis_w", "tcp_yaxis_w", "tcp_linvel_w", "tcp_angvel_w", "gripper_width")
MAX_WIDTH_M = 0.08
PAD_REACH_M = (0.0065, 0.0055)  # of a pad's four points of contact from its middle: across, along the finger
FLANGE_M = 0.107
HAND_TO_TCP_M = 0.1034
FINGER_M = 0.0584  # from the hand to the fingers, along its z
LOWER_RAD = (-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973)
UPPER_RAD = (2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973)
TORQUE_NM = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)
# Pose of each joint frame in the one before it: xyz [m] and the turn about x [rad].
JOINT_OFFSET_M = (
    (0.0, 0.0, 0.333),
    (0.0, 0.0, 0.0),
    (0.0, -0.316, 0.0),
    (0.0825, 0.0, 0.0),
    (-0.0825, 0.384, 0.0),
    (0.0, 0.0, 0.0),
    (0.088, 0.0, 0.0),
)
JOINT_TURN_X_RAD = (0.0, -math.pi / 2, math.pi / 2, math.pi / 2, -math.pi / 2, math.pi / 2, math.pi / 2)
# TCP at (0.48, 0, 0.22) m, looking straight down, fingers opening along y.
HOME_RAD = (0.0, -0.0456, 0.0, -2.4288, 0.0, 2.3832, 0.7854)


@dataclass(frozen=True)
class Gains:
    """Servo gains: arm groups are joints 1-4, 5-6, 7 in the order of the tuples.

    Attributes:
        stiffness: [N m/rad].
        damping: [N m s/rad].
        gripper_stiffness: [N/m] of the opening width.
        gripper_damping: [N s/m] of the opening width.
        gripper_force_n: limit on the force of each finger.
    """

    stiffness: tuple[float, float, float] = (1200.0, 1000.0, 400.0)
    damping: tuple[float, float, float] = (110.0, 90.0, 30.0)
    gripper_stiffness: float = 4000.0
    gripper_damping: float = 40.0
    gripper_force_n: float = 30.0


def serial_arm() -> SerialArm:
    """Return the kinematic chain from the base to the TCP."""
    return SerialArm(
        offset=torch.tensor(JOINT_OFFSET_M, dtype=torch.float64),
        rotation=torch.stack([rotation_about_x(turn) for turn in JOINT_TURN_X_RAD]),
        tool_offset=torch.tensor([0.0, 0.0, FLANGE_M + HAND_TO_TCP_M], dtype=torch.float64),
        tool_rotation=rotation_about_z(-math.pi / 4),
        lower=torch.tensor(LOWER_RAD, dtype=torch.float64),
        upper=torch.tensor(UPPER_RAD, dtype=torch.float64),
    )


def add_franka(
    spec: mujoco.MjSpec, gains: Gains | None = None, pad_reach_m: tuple[float, float] = PAD_REACH_M
) -> None:
    """Add the arm at the origin of the world, its actuators and its TCP sensors to a scene.

    `pad_reach_m` serves parts that are narrower than the pads, see `PAD_REACH_M`.

    Actuators integrate their control, a velocity, into a commanded joint angle (or width), kept in
    `act`: one control value ramps the command linearly over the substeps of a control step.
    """
    gains = gains or Gains()
    spec.compiler.degree = False
    body = spec.worldbody.add_body(name="base")
    _add_shapes(body, 0)
    for index, link in enumerate(LINKS):
        half_turn = 0.5 * JOINT_TURN_X_RAD[index]
        body = body.add_body(
            name=f"link{index + 1}",
            pos=JOINT_OFFSET_M[index],
            quat=[math.cos(half_turn), math.sin(half_turn), 0, 0],
            gravcomp=1,
            mass=link.mass,
            ipos=link.com,
            fullinertia=link.inertia,
            explicitinertial=True,
        )
        body.add_joint(
            name=ARM_JOINTS[index],
            type=mujoco.mjtJoint.mjJNT_HINGE,
            axis=[0, 0, 1],
            limited=True,
            range=[LOWER_RAD[index], UPPER_RAD[index]],
            armature=0.1,
            damping=1.0,
        )
        _add_shapes(body, index + 1)
        _add_arm_servo(spec, index, gains)
    _add_hand(spec, body, gains, pad_reach_m)


def _add_shapes(body: mujoco.MjsBody, link: int) -> None:
    for shape in SHAPES:
        if shape.link == link:
            kind = mujoco.mjtGeom.mjGEOM_CYLINDER if shape.flat else mujoco.mjtGeom.mjGEOM_CAPSULE
            body.add_geom(
                type=kind,
                fromto=[*shape.start, *shape.end],
                size=[shape.radius, 0, 0],
                rgba=shape.colour,
                contype=0,
                conaffinity=0,
                group=2,
                mass=0,
            )


def _add_arm_servo(spec: mujoco.MjSpec, index: int, gains: Gains) -> None:
    group = 0 if index < 4 else 1 if index < 6 else 2
    kp, kv = gains.stiffness[group], gains.damping[group]
    actuator = spec.add_actuator(
        name=ARM_JOINTS[index],
        target=ARM_JOINTS[index],
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        dyntype=mujoco.mjtDyn.mjDYN_INTEGRATOR,
        gaintype=mujoco.mjtGain.mjGAIN_FIXED,
        biastype=mujoco.mjtBias.mjBIAS_AFFINE,
        forcerange=[-TORQUE_NM[index], TORQUE_NM[index]],
        forcelimited=True,
        actrange=[LOWER_RAD[index], UPPER_RAD[index]],
        actlimited=True,
    )
    actuator.gainprm[0] = kp
    actuator.biasprm[1], actuator.biasprm[2] = -kp, -kv


def _add_hand(
    spec: mujoco.MjSpec, flange: mujoco.MjsBody, gains: Gains, pad_reach_m: tuple[float, float]
) -> None:
    eighth = -math.pi / 8
    hand = flange.add_body(
        name="hand",
        pos=[0, 0, FLANGE_M],
        quat=[math.cos(eighth), 0, 0, math.sin(eighth)],
        gravcomp=1,
        mass=0.73,
        ipos=[-0.01, 0, 0.03],
        inertia=[0.001, 0.0025, 0.0017],
        explicitinertial=True,
    )
    hand.add_geom(
        name="palm",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[0, 0, 0.033],
        size=[0.022, 0.1, 0.033],
        contype=HAND,
        conaffinity=LEG | TOP | TABLE,
        group=3,
        mass=0,
    )
    _add_hand_looks(hand)
    tcp = hand.add_site(name="tcp", pos=[0, 0, HAND_TO_TCP_M], size=[0.004, 0, 0], group=4)
    hand.add_camera(name="wrist", pos=[0.07, 0, 0.02], quat=_look_along_z(), fovy=75)
    for side, name in ((1, FINGER_JOINTS[0]), (-1, FINGER_JOINTS[1])):
        _add_finger(hand, name, side, pad_reach_m)
    mirror = spec.add_equality(
        type=mujoco.mjtEq.mjEQ_JOINT,
        objtype=mujoco.mjtObj.mjOBJ_JOINT,
        name1=FINGER_JOINTS[0],
        name2=FINGER_JOINTS[1],
        solref=[0.01, 1],
    )
    mirror.data[:5] = [0, 1, 0, 0, 0]  # left = right
    width = spec.add_tendon(name="width")
    for name in FINGER_JOINTS:
        width.wrap_joint(name, 1.0)
    _add_gripper_servo(spec, gains)
    kinds = (
        mujoco.mjtSensor.mjSENS_FRAMEPOS,
        mujoco.mjtSensor.mjSENS_FRAMEXAXIS,
        mujoco.mjtSensor.mjSENS_FRAMEYAXIS,
        mujoco.mjtSensor.mjSENS_FRAMELINVEL,
        mujoco.mjtSensor.mjSENS_FRAMEANGVEL,
    )
    for name, kind in zip(STATE_SENSORS, kinds, strict=False):
        add_frame_sensor(spec, name, kind, tcp)
    spec.add_sensor(
        name=STATE_SENSORS[-1],
        type=mujoco.mjtSensor.mjSENS_TENDONPOS,
        objtype=mujoco.mjtObj.mjOBJ_TENDON,
        objname=width.name,
    )


def _add_hand_looks(hand: mujoco.MjsBody) -> None:
    """Add a rounded shell above a dark rail for the fingers."""
    box, cylinder = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER
    for kind, z, size, colour in (
        (cylinder, 0.006, (0.034, 0.006, 0), SHELL),
        (mujoco.mjtGeom.mjGEOM_ELLIPSOID, 0.028, (0.0315, 0.099, 0.034), SHELL),
        (box, 0.037, (0.023, 0.1, 0.013), SHELL),
        (box, 0.058, (0.0145, 0.1, 0.008), JOINT),
    ):
        hand.add_geom(
            type=kind, pos=[0, 0, z], size=size, rgba=colour, contype=0, conaffinity=0, group=2, mass=0
        )


def _add_gripper_servo(spec: mujoco.MjSpec, gains: Gains) -> None:
    """Add the servo of the opening width; its control is a width velocity, as the arm's are."""
    servo = spec.add_actuator(
        name="gripper",
        target="width",
        trntype=mujoco.mjtTrn.mjTRN_TENDON,
        dyntype=mujoco.mjtDyn.mjDYN_INTEGRATOR,
        gaintype=mujoco.mjtGain.mjGAIN_FIXED,
        biastype=mujoco.mjtBias.mjBIAS_AFFINE,
        forcerange=[-gains.gripper_force_n, gains.gripper_force_n],
        forcelimited=True,
        actrange=[0, MAX_WIDTH_M],
        actlimited=True,
    )
    servo.gainprm[0] = gains.gripper_stiffness
    servo.biasprm[1], servo.biasprm[2] = -gains.gripper_stiffness, -gains.gripper_damping


def _look_along_z() -> list[float]:
    """Return the orientation of a camera that looks along its parent's z (cameras look along -z)."""
    return [0.0, math.sqrt(0.5), math.sqrt(0.5), 0.0]


def _add_finger(hand: mujoco.MjsBody, name: str, side: int, pad_reach_m: tuple[float, float]) -> None:
    finger = hand.add_body(
        name=name,
        pos=[0, 0, FINGER_M],
        gravcomp=1,
        mass=0.015,
        ipos=[0, side * 0.012, 0.025],
        inertia=[3e-6, 3e-6, 1e-6],
        explicitinertial=True,
    )
    finger.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[0, side, 0],
        limited=True,
        range=[0, MAX_WIDTH_M / 2],
        armature=0.1,
        damping=5.0,
    )
    box = mujoco.mjtGeom.mjGEOM_BOX
    finger.add_geom(
        type=box,
        pos=[0, side * 0.0135, 0.027],
        size=[0.0095, 0.0085, 0.027],
        rgba=FINGER,
        contype=HAND,
        conaffinity=TOP | TABLE,
        mass=0,
    )
    finger.add_geom(
        type=box,
        pos=[0, side * 0.003, 0.044],
        size=[0.0095, 0.003, 0.01],
        rgba=RUBBER,
        contype=0,
        conaffinity=0,
        mass=0,
    )
    across, along = pad_reach_m
    for x in (-across, across):
        for z in (-along, along):
            finger.add_geom(
                type=mujoco.mjtGeom.mjGEOM_SPHERE,
                pos=[x, side * 0.005, 0.045 + z],
                size=[0.005, 0, 0],
                contype=PAD,
                conaffinity=LEG,
                friction=[1.2, 0.005, 0.0001],
                solref=[0.01, 1],
                group=3,
                mass=0,
            )
