"""Screw threads: a helical coupling between turning and sinking that engages by touch and holds both ways.

Below the mouth of a threaded hole lies a nut without a shape: a body that slides along the hole's axis, a
thread body that turns on it, coupled to the slide by the pitch, and a phase body on that. A ledge on the
slide carries the plug's tip, so that nothing sinks that is not turned. Once the plug rests on the ledge with
its axis in the hole's and turns to the right, a weld ties it to the phase body; from then on it sinks by the
pitch with each turn, is held against pull and push by the friction of the thread, and comes free when it is
turned back to the mouth. At that moment the nut is put where the plug is, so that it is never pulled in.

All of it is MuJoCo's own: joints, joint coupling, friction loss and a weld that is switched per world, so the
state is in qpos and eq_active, and every engine simulates it alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import torch
from torch import Tensor

from robofb.envs.contact_bits import HOLE
from robofb.envs.furniture.screws import FRICTION
from robofb.envs.sensors import add_frame_sensor
from robofb.interfaces import Engine
from robofb.sim.engine import joint_indices, sensor_columns

HELD_BY_PHASE_NM = 5.0  # torque at which the plug would slip in the nut: more than a gripper has
JOINT = mujoco.mjtJoint


@dataclass(frozen=True)
class Thread:
    """A right-handed thread.

    Attributes:
        pitch_m: sinking of one turn.
        travel_m: from the mouth of the thread to its end.
        friction_nm: torque that turns the free nut; pull and push move it from 2 pi friction / pitch on,
            with these values 54 N.
        max_off_axis_m: of the plug's tip from the hole's axis, to engage.
        max_tilt_rad: between plug and hole, to engage.
        max_gap_m: between the tip and the ledge, to engage.
        min_turn_rad_s: speed of turning to the right, to engage.
    """

    pitch_m: float = 0.007
    travel_m: float = 0.007
    friction_nm: float = 0.06
    max_off_axis_m: float = 0.0015
    max_tilt_rad: float = 0.1
    max_gap_m: float = 0.001
    min_turn_rad_s: float = 0.2

    @property
    def turn_per_m(self) -> float:
        """Turning that sinks the plug by a metre [rad/m]."""
        return 2 * math.pi / self.pitch_m


def add_thread(
    spec: mujoco.MjSpec,
    thread: Thread,
    name: str,
    socket: mujoco.MjsBody,
    place_m: tuple[float, float, float],
    plug: mujoco.MjsBody,
    tip_m: tuple[float, float, float],
    tip_radius_m: float,
) -> None:
    """Add the nut of a threaded hole and what ties a plug to it.

    Args:
        name: of the thread.
        socket: body with the hole, whose axis is the body's z.
        place_m: where the plug's tip first meets the thread, in the frame of `socket`.
        plug: body with the screw, whose axis is its z, pointing out of the hole.
        tip_m: the screw's tip in the frame of `plug`.
        tip_radius_m: of the ledge that carries it.
    """
    phase = _add_nut(thread, name, socket, place_m, tip_radius_m)
    helix = spec.add_equality(
        type=mujoco.mjtEq.mjEQ_JOINT,
        objtype=mujoco.mjtObj.mjOBJ_JOINT,
        name1=f"{name}_turn",  # in this order: the other way round the coupling is soft
        name2=f"{name}_slide",
        solref=[0.01, 1],
    )
    helix.data[:5] = [0, thread.turn_per_m, 0, 0, 0]
    weld = spec.add_equality(
        name=name,
        type=mujoco.mjtEq.mjEQ_WELD,
        objtype=mujoco.mjtObj.mjOBJ_BODY,
        name1=phase.name,
        name2=plug.name,
        active=False,
        solref=[0.02, 1],
        solimp=[0.99, 0.999, 0.001, 0.5, 2],
    )
    weld.data[:3] = tip_m  # where they are held together, in the plug's frame ...
    weld.data[3:6] = 0.0  # ... and in the nut's
    weld.data[6:11] = [1, 0, 0, 0, 1]  # axes agree
    _add_sensors(spec, name, socket, place_m, plug, tip_m)


def _add_nut(
    thread: Thread,
    name: str,
    socket: mujoco.MjsBody,
    place_m: tuple[float, float, float],
    tip_radius_m: float,
) -> mujoco.MjsBody:
    """Add slide with its ledge, turn and phase; return the body that is tied to a plug."""
    slide = socket.add_body(name=f"{name}_slide", pos=place_m, gravcomp=1)
    slide.add_joint(name=f"{name}_slide", type=JOINT.mjJNT_SLIDE, axis=[0, 0, 1], armature=1.0)
    slide.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        pos=[0, 0, -0.0022],
        size=[tip_radius_m, 0.002, 0],
        contype=HOLE,
        conaffinity=0,
        **FRICTION,
        group=3,
        mass=0.005,
    )
    turning = _add_light_body(slide, f"{name}_turn")
    turning.add_joint(
        name=f"{name}_turn",
        type=JOINT.mjJNT_HINGE,
        axis=[0, 0, 1],
        armature=0.01,
        frictionloss=thread.friction_nm,
        limited=True,
        range=[-thread.travel_m * thread.turn_per_m, thread.max_gap_m * thread.turn_per_m],
    )
    phase = _add_light_body(turning, f"{name}_phase")
    phase.add_joint(
        name=f"{name}_phase",
        type=JOINT.mjJNT_HINGE,
        axis=[0, 0, 1],
        armature=0.01,
        frictionloss=HELD_BY_PHASE_NM,
    )
    return phase


def _add_light_body(parent: mujoco.MjsBody, name: str) -> mujoco.MjsBody:
    return parent.add_body(
        name=name, gravcomp=1, mass=0.003, inertia=[1e-6, 1e-6, 1e-6], explicitinertial=True
    )


def _add_sensors(
    spec: mujoco.MjSpec,
    name: str,
    socket: mujoco.MjsBody,
    place_m: tuple[float, float, float],
    plug: mujoco.MjsBody,
    tip_m: tuple[float, float, float],
) -> None:
    mouth = socket.add_site(name=f"{name}_mouth", pos=place_m, group=4)
    tip = plug.add_site(name=f"{name}_tip", pos=tip_m, group=4)
    kinds = {
        "pos": mujoco.mjtSensor.mjSENS_FRAMEPOS,
        "xaxis": mujoco.mjtSensor.mjSENS_FRAMEXAXIS,
        "zaxis": mujoco.mjtSensor.mjSENS_FRAMEZAXIS,
        "angvel": mujoco.mjtSensor.mjSENS_FRAMEANGVEL,
    }
    for quantity, kind in kinds.items():
        add_frame_sensor(spec, f"{name}_tip_{quantity}_mouth", kind, tip, mouth)


class ThreadSwitch:
    """Engage and release one thread in every world; call it once a control step.

    Args:
        model: the compiled scene.
        name: of the thread.
        thread: its numbers.
    """

    def __init__(self, model: mujoco.MjModel, name: str, thread: Thread) -> None:
        self.thread = thread
        self._equality = int(model.equality(name).id)
        joints = [f"{name}_{joint}" for joint in ("slide", "turn", "phase")]
        q, v = joint_indices(model, joints)
        self._q, self._v = torch.from_numpy(q).long(), torch.from_numpy(v).long()
        quantities = ("pos", "xaxis", "zaxis", "angvel")
        self._columns = sensor_columns(model, *(f"{name}_tip_{quantity}_mouth" for quantity in quantities))

    def update(self, engine: Engine) -> None:
        """Tie plugs that have caught the thread to the nut, and let go those turned out of it."""
        thread, active = self.thread, engine.field("eq_active")
        held = active[:, self._equality] > 0
        tip, x_axis, z_axis, spin = engine.field("sensordata")[:, self._columns].split(3, -1)
        qpos = engine.field("qpos")
        turn = qpos[:, self._q[1]]
        meets = (
            (torch.hypot(tip[:, 0], tip[:, 1]) < thread.max_off_axis_m)
            & (z_axis[:, 2] > math.cos(thread.max_tilt_rad))
            & ((tip[:, 2] - qpos[:, self._q[0]]).abs() < thread.max_gap_m)
        )
        catches = ~held & meets & (spin[:, 2] < -thread.min_turn_rad_s)
        leaves = held & (turn > -0.05) & (spin[:, 2] > thread.min_turn_rad_s)
        if catches.any():
            self._place(
                engine, catches.nonzero().squeeze(-1), tip[:, 2], torch.atan2(x_axis[:, 1], x_axis[:, 0])
            )
        active[:, self._equality] = ((held | catches) & ~leaves).to(active.dtype)

    def _place(self, engine: Engine, ids: Tensor, depth_m: Tensor, yaw_rad: Tensor) -> None:
        """Put the nuts of the worlds `ids` where their plugs are, at rest."""
        slide = depth_m[ids].clamp(-self.thread.travel_m, self.thread.max_gap_m)
        turn = slide * self.thread.turn_per_m
        qpos = engine.field("qpos")
        qpos[ids[:, None], self._q] = torch.stack([slide, turn, yaw_rad[ids] - turn], -1).to(qpos.dtype)
        engine.field("qvel")[ids[:, None], self._v] = 0.0
