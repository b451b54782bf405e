"""Look at an arm and its cameras before a policy gets hold of them; nothing moves unless one says so."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from robofb.build import build, build_whole
from robofb.deploy.arms.arm import ArmError, ArmState, ArmTarget, RobotArm
from robofb.deploy.cameras.camera import CameraLostError, Frame
from robofb.deploy.cameras.opencv import BY_ID, by_number, lasting_names
from robofb.deploy.clocks import (
    ARM_DRIFT,
    CAMERA_DRIFT,
    clock_finding,
    late_wakes,
    latency_finding,
    pace_finding,
)
from robofb.deploy.joints import JointGuard
from robofb.deploy.limits import Limits
from robofb.deploy.live.bench import CONTROL_HZ
from robofb.deploy.live.deployment import plain
from robofb.deploy.live.device_processes import CameraSetup
from robofb.deploy.live.places import SimPlace
from robofb.deploy.live.process import Pace
from robofb.deploy.motion import MotionLimiter
from robofb.deploy.pose import Pose, difference, length, tilt
from robofb.deploy.ring import Ring
from robofb.deploy.scene import SCENE
from robofb.doctor import BROKEN, MISSING, OK, Finding, format_findings
from robofb.errors import UserError, check_between

WAY_M = 0.01
_PREVIEW = (120, 160)  # height and width [px]
SECONDS = (0.1, 60.0)  # every picture of that time is kept in memory


@dataclass
class DoctorConfig:
    """What `robofb deploy doctor` reads.

    Attributes:
        arm: what is looked at.
        limits: the arm must be within.
        watch: how long it may say nothing.
        cameras: by name; see configs/camera.
        task: of a simulated arm.
        engine: its simulator.
        simulated: the arm is a task in a simulator.
        realtime: as for `robofb deploy`: whether this machine must keep the pace of a simulated arm too.
        control_hz: how often a deployment would ask.
        seconds: how long to look at each, 0.1 to 60; the rates of clocks are told the finer, the longer.
        move: go up by 1 cm and back, within the limits, where all else is well.
    """

    arm: Any = field(default_factory=dict)
    limits: Any = field(default_factory=dict)
    watch: Any = field(default_factory=dict)
    cameras: Any = field(default_factory=dict)
    task: Any = None
    engine: Any = field(default_factory=dict)
    simulated: bool = False
    realtime: bool = True
    control_hz: float = 100.0
    seconds: float = 2.0
    move: bool = False

    def __post_init__(self) -> None:
        check_between(self, *SECONDS, "seconds")
        check_between(self, *CONTROL_HZ, "control_hz")


def doctor(cfg: DoctorConfig) -> list[Finding]:
    """Print what was found, and return it.

    Raises:
        UserError: something is broken; all of it is printed before.
    """
    if cfg.simulated and not cfg.task:
        raise UserError("task=null: a simulated arm needs a task, such as task=one_leg_insert")
    findings = [*_look_at_arm(cfg), *(each for name in cfg.cameras for each in _look_at_camera(cfg, name))]
    if cfg.realtime or not cfg.simulated:
        findings.append(pace_finding(cfg.control_hz, late_wakes(cfg.control_hz, cfg.seconds)))
    print(format_findings(findings, "fit for deployment, as far as this can tell"))
    broken = [finding.name for finding in findings if finding.status == BROKEN]
    if broken:
        raise UserError(f"not fit for deployment: {', '.join(broken)}")
    return findings


def _look_at_arm(cfg: DoctorConfig) -> list[Finding]:
    limits = build_whole("limits", cfg.limits)
    try:
        arm: RobotArm = (
            SimPlace(plain(cfg.arm), plain(cfg.task), plain(cfg.engine)).make().arm
            if cfg.simulated
            else build(cfg.arm)
        )
    except UserError as error:
        return [Finding("arm", BROKEN, str(error))]
    try:
        with closing(arm):
            arm.connect()
            found = [Finding("link", OK, "it answers"), *_state_findings(arm, limits, cfg)]
            if cfg.move and all(finding.status == OK for finding in found):
                found.append(_moved(arm, limits, cfg))
            return found
    except (ArmError, UserError) as error:
        return [Finding("link", BROKEN, str(error))]


def _state_findings(arm: RobotArm, limits: Limits, cfg: DoctorConfig) -> list[Finding]:
    """Return what an arm's states say, and how fast."""
    states, took_s = _watched(arm, cfg)
    state = states[-1]
    found = [_pose_finding("tool", state.pose, limits), _pose_finding("home", arm.home, limits)]
    fault = Finding("fault", BROKEN, state.fault, "acknowledge it at the arm") if state.fault else None
    found.append(fault or Finding("fault", OK, "none"))
    if cfg.simulated:
        return found  # its clock stands still while nobody commands
    changes = np.flatnonzero(np.diff([each.stamp for each in states]))
    gaps_s = np.diff([states[index + 1].received_s for index in changes])
    longest_s = float(gaps_s.max()) if len(gaps_s) else cfg.seconds
    news = [states[0], *(states[index + 1] for index in changes)]
    stale_s = build_whole("watch", cfg.watch).stale_s
    rate = Finding(
        "stream", OK, f"{len(changes) / cfg.seconds:.0f} new states a second, gaps to {longest_s:.3f} s"
    )
    if longest_s > stale_s:
        fix = f"raise watch.stale_s={stale_s:g} or mend the link"
        rate = Finding("stream", BROKEN, f"it says nothing new for {longest_s:.3f} s", fix)
    quick = latency_finding(cfg.control_hz, took_s)
    clock = clock_finding(
        "clock", [each.stamp for each in news], [each.received_s for each in news], ARM_DRIFT, stale_s
    )
    force = "it says none" if state.force_n is None else f"{length(state.force_n):.1f} N"
    return [*found, rate, clock, quick, _joint_finding(state, limits), Finding("force", OK, force)]


def _watched(arm: RobotArm, cfg: DoctorConfig) -> tuple[list[ArmState], list[float]]:
    """Return an arm's states for a while, and how long each took."""
    pace, until_s = Pace(1.0 / cfg.control_hz), time.monotonic() + cfg.seconds
    states: list[ArmState] = []
    took_s: list[float] = []
    while time.monotonic() < until_s or not states:
        began_s = time.monotonic()
        states.append(arm.state())
        took_s.append(time.monotonic() - began_s)
        pace.wait()
    return states, took_s


def _pose_finding(name: str, pose: Pose, limits: Limits) -> Finding:
    """Return whether a pose is within the limits."""
    place = ", ".join(f"{value:.3f}" for value in pose.position_m)
    tilted = tilt(pose.turn, limits.tool_axis)
    detail = f"at [{place}] m, tilted by {tilted:.2f} rad"
    corners = zip(pose.position_m, limits.low_m, limits.high_m, strict=True)
    if all(low <= value <= high for value, low, high in corners) and tilted <= limits.most_tilt_rad:
        return Finding(name, OK, detail)
    return Finding(name, BROKEN, f"{detail}: outside the limits", "bring it inside, or widen limits.*")


def _joint_finding(state: ArmState, limits: Limits) -> Finding:
    """Return whether the joints are those of the limits, and have room."""
    angles = ", ".join(f"{angle:.2f}" for angle in state.joints_rad) or "it says none"
    if limits.joints is None:
        return Finding("joints", OK, angles)
    guard = JointGuard(limits.joints)
    if wrong := guard.see(state):
        return Finding("joints", BROKEN, f"{angles}: {wrong}", "correct limits.joints, or make it null")
    name, room_rad, value = guard.room()
    least = limits.joints.least_singular
    detail = f"{angles}: {name} has {room_rad:.2f} rad left, least singular value {value:.3f} (of {least:g})"
    if room_rad > 0.0 and value > least:
        return Finding("joints", OK, detail)
    return Finding("joints", BROKEN, detail, "bring the arm elsewhere by hand, or correct limits.joints")


def _moved(arm: RobotArm, limits: Limits, cfg: DoctorConfig) -> Finding:
    """Go up by `WAY_M` and back, where the arm takes orders, and say how well it followed."""
    try:
        arm.enable()
        return _up_and_back(arm, limits, cfg)
    except ArmError as error:
        return Finding("motion", BROKEN, str(error), "see to it at the arm")


def _up_and_back(arm: RobotArm, limits: Limits, cfg: DoctorConfig) -> Finding:
    start = arm.state().pose
    dt_s = 1.0 / cfg.control_hz
    limiter, pace = MotionLimiter(limits, dt_s, start), Pace(dt_s)
    x, y, z = start.position_m
    furthest_m = 0.0
    for target in (start._replace(position_m=(x, y, z + WAY_M)), start):
        for _ in range(round(2.0 * cfg.control_hz)):
            state = arm.state()
            if wrong := limiter.see(state):
                arm.stop()
                return Finding("motion", BROKEN, wrong, "look at limits.joints")
            arm.command(ArmTarget(limiter.step(target), state.gripper))
            furthest_m = max(furthest_m, arm.state().pose.position_m[2] - z)
            pace.wait()
    arm.stop()
    left_m = length(difference(arm.state().pose.position_m, start.position_m))
    detail = f"went up {1000 * furthest_m:.1f} mm of {1000 * WAY_M:.0f}, came back to {1000 * left_m:.1f} mm"
    well = furthest_m > 0.5 * WAY_M and left_m < 0.5 * WAY_M
    return Finding("motion", OK if well else BROKEN, detail, "" if well else "look at the arm's own limits")


def _look_at_scene(cfg: DoctorConfig, name: str) -> Finding:
    """Say whether a camera of the simulated arm's scene can be rendered here."""
    label = f"camera {name}"
    try:
        with (
            closing(Ring(SCENE)) as scene,
            closing(CameraSetup(name, plain(cfg.cameras[name]), *_PREVIEW).make(scene)) as camera,
        ):
            camera.connect()
    except UserError as error:
        return Finding(label, BROKEN, str(error))
    return Finding(label, OK, "of the simulated scene, which this machine can render")


def _name_finding(label: str, key: str, source: int | str) -> list[Finding]:
    """Return what to say of a device's name that may be another camera's after the next start."""
    if (device := by_number(source)) is None:
        return []
    detail = f"source={source} is a number, by which another camera may go after a restart"
    names = lasting_names(device)
    fix = (
        f"say {key}.source={names[0]}" if names else f"{BY_ID} has none that stays: look at its picture first"
    )
    return [Finding(f"{label} name", MISSING, detail, fix)]


def _look_at_camera(cfg: DoctorConfig, name: str) -> Sequence[Finding]:
    """Return what is found of a camera, and of its name where it has one of this machine's."""
    node = cfg.cameras[name]
    if cfg.simulated and "view" in node:
        return [_look_at_scene(cfg, name)]
    named = _name_finding(f"camera {name}", f"cameras.{name}", node.source) if "source" in node else []
    return [*_look_at_pictures(cfg, name), *named]


def _look_at_pictures(cfg: DoctorConfig, name: str) -> Sequence[Finding]:
    """Return what a camera shows for a while."""
    label = f"camera {name}"
    try:
        with closing(build(cfg.cameras[name], name)) as camera:
            camera.connect()
            camera.read()  # the first may take long
            frames, arrived_s, until_s = list[Frame](), list[float](), time.monotonic() + cfg.seconds
            while time.monotonic() < until_s:
                frames.append(camera.read())
                arrived_s.append(time.monotonic())
    except (CameraLostError, UserError) as error:
        return [Finding(label, BROKEN, str(error))]
    stamps = [frame.captured_s for frame in frames]
    gaps_s = np.diff(stamps) if len(frames) > 1 else np.array([cfg.seconds])
    same = sum(a.digest == b.digest for a, b in pairwise(frames))
    height, width, _ = frames[-1].image.shape
    pace = f"{len(frames) / cfg.seconds:.1f} pictures a second, gaps to {gaps_s.max():.3f} s"
    detail = f"{width} x {height}, {pace}, {same} repeated"
    frozen_s = build_whole("watch", cfg.watch).frozen_s
    seen = Finding(label, OK, detail)
    if gaps_s.max() > frozen_s:
        seen = Finding(label, BROKEN, detail, f"more light, a better cable, or watch.frozen_s={frozen_s:g}")
    return [seen, clock_finding(f"{label} clock", stamps, arrived_s, CAMERA_DRIFT, frozen_s)]
