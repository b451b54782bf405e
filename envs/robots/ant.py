"""The ant of MuJoCo's benchmarks: a round torso on four legs with two joints each, moved by torques.

Shapes, masses, gears and joint limits are those of Gymnasium's ant (its axes of rotation are turned so that
every leg bends by positive angles), after Schulman et al., arXiv 1506.02438.
"""

from __future__ import annotations

import math

import mujoco
import torch
from torch import Tensor

from robofb.interfaces import Engine
from robofb.rng import EpisodeRng
from robofb.types import ArraySpec

PHYSICS_DT_S, NUM_SUBSTEPS = 0.01, 5
CONTROL_DT_S = PHYSICS_DT_S * NUM_SUBSTEPS
LEGS = ((1, 1), (-1, 1), (-1, -1), (1, -1))  # where they point from above, +x ahead
NUM_JOINTS = 2 * len(LEGS)
JOINTS = tuple(f"{part}_{leg}" for leg in range(1, len(LEGS) + 1) for part in ("hip", "ankle"))
TORSO_RADIUS_M, LEG_RADIUS_M = 0.25, 0.08
THIGH_M, SHIN_M = 0.2, 0.4  # along x and along y
HIP_RANGE_RAD = (-math.radians(30), math.radians(30))
ANKLE_RANGE_RAD = (math.radians(30), math.radians(70))
DENSITY_KG_M3 = 5.0
GEAR_NM = 150.0
HOME_HEIGHT_M = 0.56  # of the torso: the feet just stand
HOME_RAD = (0.0, 1.0) * len(LEGS)
START_JOINT_RAD, START_SPEED = 0.1, 0.1  # how far starts differ: half-range, deviation [m/s, rad/s]
FALLEN_HEIGHT_M = 0.3  # of a torso that lies, give or take a leg below it
STATE_NAMES = (
    "torso_pos_w_z",
    *(f"torso_quat_w_{axis}" for axis in "wxyz"),
    *(f"{joint}_angle" for joint in JOINTS),
    *(f"torso_linvel_w_{axis}" for axis in "xyz"),
    *(f"torso_angvel_torso_{axis}" for axis in "xyz"),
    *(f"{joint}_speed" for joint in JOINTS),
)
STATE_UNIT = "m, 1, rad, m/s, rad/s by name"
ACTION_SPEC = ArraySpec(
    (NUM_JOINTS,),
    unit=f"1: of {GEAR_NM:.0f} N m",
    low=(-1.0,) * NUM_JOINTS,
    high=(1.0,) * NUM_JOINTS,
    names=tuple(f"{joint}_torque" for joint in JOINTS),
)
_FRICTION = [1.0, 0.5, 0.5]
_MARGIN_M = 0.01


def set_physics(spec: mujoco.MjSpec) -> None:
    """Choose the time step and the solver: faster than Gymnasium's, and the same on both engines.

    Gymnasium steps by RK4, which takes four times as long. It has pyramidal friction cones: with these MuJoCo
    and MuJoCo Warp differ by up to 1 m/s after one step in contact, with elliptic ones by 1e-4.
    """
    spec.option.timestep = PHYSICS_DT_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC


def add_floor(spec: mujoco.MjSpec) -> mujoco.MjsGeom:
    """Add the plane that the ant walks on."""
    return spec.worldbody.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[40, 40, 40],
        friction=_FRICTION,
        margin=_MARGIN_M,
        contype=1,
        conaffinity=1,
    )


def add_ant(spec: mujoco.MjSpec, torso_rgba: tuple[float, ...], leg_rgba: tuple[float, ...]) -> None:
    """Add an ant that touches nothing but the floor, and its motors."""
    spec.compiler.degree = False
    torso = spec.worldbody.add_body(name="torso", pos=[0, 0, 0.75])
    torso.add_freejoint(name="root")
    shape = {
        "contype": 1,
        "conaffinity": 0,
        "friction": _FRICTION,
        "margin": _MARGIN_M,
        "density": DENSITY_KG_M3,
    }
    torso.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[TORSO_RADIUS_M, 0, 0], rgba=torso_rgba, **shape)
    shape |= {"type": mujoco.mjtGeom.mjGEOM_CAPSULE, "size": [LEG_RADIUS_M, 0, 0], "rgba": leg_rgba}
    for index, (ahead, left) in enumerate(LEGS, 1):
        thigh, shin = ([length * ahead, length * left, 0] for length in (THIGH_M, SHIN_M))
        torso.add_geom(fromto=[0, 0, 0, *thigh], **shape)
        upper = torso.add_body(name=f"upper_{index}", pos=thigh)
        upper.add_geom(fromto=[0, 0, 0, *thigh], **shape)
        lower = upper.add_body(name=f"lower_{index}", pos=thigh)
        lower.add_geom(fromto=[0, 0, 0, *shin], **shape)
        for body, name, axis, bounds in (
            (upper, f"hip_{index}", [0, 0, 1], HIP_RANGE_RAD),
            (lower, f"ankle_{index}", [-left, ahead, 0], ANKLE_RANGE_RAD),
        ):
            _add_motor(spec, body, name, axis, bounds)


def _add_motor(
    spec: mujoco.MjSpec, body: mujoco.MjsBody, name: str, axis: list[int], bounds_rad: tuple[float, float]
) -> None:
    """Add a hinge and what turns it."""
    body.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_HINGE,
        axis=axis,
        limited=True,
        range=bounds_rad,
        armature=1.0,
        damping=[1.0, 0, 0],
    )
    spec.add_actuator(
        name=name,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        target=name,
        gear=[GEAR_NM, 0, 0, 0, 0, 0],
        ctrllimited=True,
        ctrlrange=[-1, 1],
    )


def place_ant(engine: Engine, ids: Tensor, place: Tensor, rng: EpisodeRng) -> None:
    """Let ants stand at places (n, 2) [m] in the worlds `ids` (n,), heading along x, each a little bent.

    Args:
        rng: n rows.
    """
    qpos, qvel = engine.field("qpos"), engine.field("qvel")
    bend = START_JOINT_RAD * (2 * rng.uniform(NUM_JOINTS).double() - 1)
    pose = torch.zeros(len(ids), 7 + NUM_JOINTS, dtype=torch.float64, device=ids.device)
    pose[:, :2], pose[:, 2], pose[:, 3] = place, HOME_HEIGHT_M, 1.0
    pose[:, 7:] = bend + bend.new_tensor(HOME_RAD)
    qpos[ids] = pose.to(qpos.dtype)
    qvel[ids] = (START_SPEED * rng.normal(6 + NUM_JOINTS)).to(qvel.dtype)


def turn_motors(engine: Engine, action: Tensor) -> None:
    """Set the torques of all ants by actions (B, 8) in [-1, 1]; larger ones count as these."""
    control = engine.field("ctrl")
    control[:] = action.to(control).clamp(-1.0, 1.0)


def ant_state(engine: Engine) -> Tensor:
    """Return (B, 27), what an ant feels of itself: all but where it is, by `STATE_NAMES`."""
    return torch.cat([engine.field("qpos")[:, 2:], engine.field("qvel")], -1)


def ant_place(engine: Engine) -> Tensor:
    """Return the torso's place (B, 2) float64 on the floor [m]."""
    return engine.field("qpos")[:, :2].double()


def fallen(engine: Engine) -> Tensor:
    """Return (B,) bool: the torso lies on the floor or on its back."""
    qpos = engine.field("qpos")
    up_z = 1 - 2 * (qpos[:, 4] ** 2 + qpos[:, 5] ** 2)
    return (qpos[:, 2] < FALLEN_HEIGHT_M) | (up_z < 0)
