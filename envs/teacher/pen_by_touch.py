"""A pen to be turned in a hand that feels it; only a teacher sees it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import mujoco
import torch
from torch import Tensor

from robofb.envs.looks.scene import add_camera, add_sky
from robofb.envs.robots import shadow_hand
from robofb.errors import UserError
from robofb.geometry import quat_from_axis_angle, quat_to_matrix
from robofb.interfaces import Engine
from robofb.rng import EpisodeRng
from robofb.sim.engine import free_joint_slices, joint_indices, sensor_columns, with_tensors_on
from robofb.types import PRIVILEGED, ArraySpec, EnvSpec, Obs, Score

NUM_SUBSTEPS = 20
START_DEVIATION_M = 0.005  # of the pen's place along each axis
SETTLE_STEPS = 10  # control steps with the hand half closed, before an episode begins
PALM_HEIGHT_M = 0.04  # a pen below has fallen past the hand
MAX_THROWS = 20  # of a pen that will not stay on the palm
GOAL_ASIDE_M = 0.15  # along x: where the goal is shown, beside the hand
TOUCHES: dict[str, Callable[[Tensor], Tensor]] = {
    "force": lambda newtons: newtons,
    "log": torch.log1p,
    "contact": lambda newtons: (newtons > 0).to(newtons),
}
_POSE = (*(f"pos_w_{axis}" for axis in "xyz"), *(f"quat_w_{axis}" for axis in "wxyz"))
_TWIST = tuple(
    f"{kind}vel_{frame}_{axis}" for kind, frame in (("lin", "w"), ("ang", "pen")) for axis in "xyz"
)


class PenByTouch:
    """Turn a pen until it points as a goal says; TGRL's task (arXiv 2307.03186) on Gymnasium-Robotics' scene.

    A control step pays minus the angle `pen_angle` [rad] between pen and goal, and 1 more where it is below
    `success_rad`. Nothing ends an episode but its time limit. Success is to be that near in the last step.

    The goal is kept in the simulator as a mocap body, `GOAL_ASIDE_M` beside where it is meant; what the skin
    felt last in its userdata, with the time of it, since MuJoCo's touch sensors are not part of its state.

    Observations: "state" (148,): the hand's joint angles [rad] and speeds [rad/s], 24 each; the goal, 7
    (place of the pen when the episode began [m], wanted quaternion); 92 touch sensors; share of the time
    that is over.
    `PRIVILEGED` (68,): the joints again, the pen's velocity, 6, and pose, 7, and the goal: all that a teacher
    needs. Actions (20,): wanted joint angles, -1 to 1 over each actuator's range.

    Args:
        max_steps: actions before truncation.
        touch: what a sensor tells of its force, a key of `TOUCHES`.
        success_rad: largest angle of success.
        assets: folder with the scene; that of the installed package where None.

    Raises:
        UserError: the scene is not there, or a value is not sound.
    """

    num_substeps = NUM_SUBSTEPS

    def __init__(
        self,
        max_steps: int = 100,
        touch: str = "force",
        success_rad: float = 0.1,
        assets: str | None = None,
    ) -> None:
        if max_steps < 1:
            raise UserError(f"max_steps={max_steps}: needs at least 1")
        if touch not in TOUCHES:
            raise UserError(f"touch must be one of {', '.join(TOUCHES)}, not {touch!r}")
        if not 0 < success_rad <= math.pi:
            raise UserError(f"success_rad={success_rad}: needs an angle above 0, at most pi")
        self.touch, self.success_rad = touch, success_rad
        self.assets = shadow_hand.installed_assets() if assets is None else Path(assets).expanduser()
        self.meta = {"robot": "shadow_hand", "frame": "world", "touch": touch}
        scene = self._scene()
        self.model = model = scene.compile()
        self._pen_q, self._pen_v = free_joint_slices(model, "object")
        hand_q, hand_v = joint_indices(model, shadow_hand.hand_joints(scene))
        self._hand_q, self._hand_v = torch.from_numpy(hand_q).long(), torch.from_numpy(hand_v).long()
        self._touch_columns = sensor_columns(model, *shadow_hand.touch_sensors(scene))
        self._start = torch.from_numpy(model.qpos0[self._pen_q]).clone()
        ranges = torch.from_numpy(model.actuator_ctrlrange)
        self._middle, self._reach = ranges.mean(-1), (ranges[:, 1] - ranges[:, 0]) / 2
        self.spec = _spec(scene, max_steps)
        self._limit_s = max_steps * self.spec.control_dt

    def to(self, device: torch.device) -> PenByTouch:
        """Return this task with its tensors on another device; itself where that is the CPU."""
        return with_tensors_on(self, device)

    def build(self) -> mujoco.MjModel:
        """Compile the scene."""
        return self._scene().compile()

    def _scene(self) -> mujoco.MjSpec:
        """Return the scene with room for what the skin felt last, and when, and a camera."""
        scene = shadow_hand.load_scene(self.assets)
        scene.nuserdata = len(shadow_hand.touch_sensors(scene)) + 1
        add_sky(scene)
        add_camera(scene, "front", eye=(1.40, 0.55, 0.55), target=(1.07, 0.93, 0.15), fovy=38)
        return scene

    def reset(self, engine: Engine, ids: Tensor, rng: EpisodeRng) -> None:
        """Drop the pen onto the palm, let it settle, and draw where it shall point.

        The rest of the worlds are as they were before: they are put back after the settling. It costs
        nothing where all begin at once, as episodes of one length do.
        """
        lies = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        for _ in range(MAX_THROWS):
            rows = (~lies).nonzero().squeeze(-1)
            lies[rows] = self._throw(engine, ids[rows], rng.select(rows))
            if lies.all():
                break
        pose = engine.field("qpos")[ids, self._pen_q]
        angle = math.pi * (2 * rng.uniform().double() - 1)
        axis = 2 * rng.uniform(3).double() - 1
        mocap_pos, mocap_quat = engine.field("mocap_pos"), engine.field("mocap_quat")
        mocap_pos[ids, 0] = pose[:, :3] + pose.new_tensor([GOAL_ASIDE_M, 0, 0])
        wanted = quat_from_axis_angle(axis / axis.norm(dim=-1, keepdim=True), angle)
        mocap_quat[ids, 0] = wanted.to(mocap_quat.dtype)
        engine.forward(ids)

    def _throw(self, engine: Engine, ids: Tensor, rng: EpisodeRng) -> Tensor:
        """Drop pens in worlds `ids` (n,) and let them settle; return (n,) bool where they lie on the palm."""
        rest = torch.ones(engine.num_worlds, dtype=torch.bool, device=engine.device)
        rest[ids] = False
        others = rest.nonzero().squeeze(-1)
        kept = engine.snapshot(others)
        engine.reset(ids)
        pose = self._start.expand(len(ids), -1).clone()
        pose[:, :3] += START_DEVIATION_M * rng.normal(3).double()
        qpos, control = engine.field("qpos"), engine.field("ctrl")
        qpos[ids, self._pen_q] = pose.to(qpos.dtype)
        control[ids] = self._middle.to(control.dtype)
        for _ in range(SETTLE_STEPS):
            engine.step(self.num_substeps)
        diverged = engine.diverged()[ids]
        engine.field("time")[ids] = 0.0
        felt = engine.field("sensordata")[ids][:, self._touch_columns]
        engine.field("userdata")[ids] = torch.cat([felt, torch.zeros_like(felt[:, :1])], -1)
        engine.restore(others, kept)
        return (qpos[ids, self._pen_q][:, 2] > PALM_HEIGHT_M) & ~diverged

    def apply(self, engine: Engine, action: Tensor) -> None:
        """Command joint angles by actions (B, 20) in [-1, 1]; larger ones count as these."""
        control = engine.field("ctrl")
        wanted = self._middle + action.to(engine.device, torch.float64).clamp(-1.0, 1.0) * self._reach
        control[:] = wanted.to(control.dtype)

    def _goal(self, engine: Engine) -> Tensor:
        """Return place [m] and wanted quaternion of the pen (B, 7)."""
        place = engine.field("mocap_pos")[:, 0].double()
        aside = place.new_tensor([GOAL_ASIDE_M, 0, 0])
        return torch.cat([place - aside, engine.field("mocap_quat")[:, 0].double()], -1)

    def _felt(self, engine: Engine) -> Tensor:
        """Return what each sensor felt in the last physics step, (B, n) [N], and let the state keep it.

        A world that was put into a saved state has not felt anything since: its sensors are out of date,
        and what it felt then is in that state, with the time of it.
        """
        kept, time = engine.field("userdata"), engine.field("time")
        number = len(self._touch_columns)
        stepped = time != kept[:, number]
        fresh = engine.field("sensordata")[:, self._touch_columns]
        kept[:, :number] = torch.where(stepped[:, None], fresh, kept[:, :number])
        kept[:, number] = time
        return kept[:, :number].double()

    def observe(self, engine: Engine) -> Obs:
        """Return {"state": (B, 148) float32, PRIVILEGED: (B, 68) float32}."""
        qpos, qvel = engine.field("qpos").double(), engine.field("qvel").double()
        joints = torch.cat([qpos[:, self._hand_q], qvel[:, self._hand_v]], -1)
        goal, felt = self._goal(engine), TOUCHES[self.touch](self._felt(engine))
        over = engine.field("time").double()[:, None] / self._limit_s
        pen = torch.cat([qvel[:, self._pen_v], qpos[:, self._pen_q]], -1)
        return {
            "state": torch.cat([joints, goal, felt, over], -1).float(),
            PRIVILEGED: torch.cat([joints, pen, goal], -1).float(),
        }

    def score(self, engine: Engine) -> Score:
        """Judge where the pen points."""
        pen = engine.field("qpos")[:, self._pen_q].double()
        angle = pen_angle(pen[:, 3:], self._goal(engine)[:, 3:])
        near = angle < self.success_rad
        never = torch.zeros_like(near)
        return Score(
            achieved=near.float(),
            success=near,
            failure=never,
            stage=near.long(),
            metrics={"dropped": pen[:, 2] < PALM_HEIGHT_M},
            reward=(near.double() - angle).float(),
            ended=never,
        )


def pen_angle(pen: Tensor, goal: Tensor) -> Tensor:
    """Return the angle (...) [rad] in [0, pi] between quaternions (..., 4), whatever the turn about the pen.

    Each is split into turns about x, y' and z'', the pen's own axis; the last is left out. It is 0 where pens
    point alike, but not the angle between them otherwise: near the x axis, where turns about x hardly move
    the pen, it is larger.
    """
    half = [(a - b) / 2 for a, b in zip(_tilt(pen), _tilt(goal), strict=True)]
    return 2 * torch.acos((half[0].cos() * half[1].cos()).abs().clamp_max(1.0))


def _tilt(quat: Tensor) -> tuple[Tensor, Tensor]:
    """Return the turns about x and y' (...) [rad] of quaternions (..., 4) that are split into x, y', z''."""
    matrix = quat_to_matrix(quat / quat.norm(dim=-1, keepdim=True))
    right, ahead, up = matrix[..., :, 2].unbind(-1)  # where the pen points
    return torch.atan2(-ahead, up), torch.atan2(right, torch.hypot(ahead, up))


def _spec(scene: mujoco.MjSpec, max_steps: int) -> EnvSpec:
    """Describe what a hand shows and takes."""
    joints = [shadow_hand.plain(name) for name in shadow_hand.hand_joints(scene)]
    own = (*(f"{joint}_angle" for joint in joints), *(f"{joint}_speed" for joint in joints))
    goal = tuple(f"goal_{name}" for name in _POSE)
    touch = tuple(f"touch_{shadow_hand.plain(name)}" for name in shadow_hand.touch_sensors(scene))
    state = (*own, *goal, *touch, "elapsed_share")
    privileged = (*own, *(f"pen_{name}" for name in (*_TWIST, *_POSE)), *goal)
    wanted = tuple(f"{shadow_hand.plain(name)}_wanted" for name in shadow_hand.actuators(scene))
    unit = "rad, rad/s, m, m/s, N, 1 by name"
    return EnvSpec(
        task="pen_by_touch",
        obs={
            "state": ArraySpec((len(state),), unit=unit, names=state),
            PRIVILEGED: ArraySpec((len(privileged),), unit=unit, names=privileged),
        },
        action=ArraySpec(
            (len(wanted),),
            unit="1: half of the actuator's range from its middle",
            low=(-1.0,) * len(wanted),
            high=(1.0,) * len(wanted),
            names=wanted,
        ),
        control_dt=scene.option.timestep * NUM_SUBSTEPS,
        max_steps=max_steps,
        stages=("align",),
    )
