"""Positions and rotations: jumps, quaternions off length one, 6D rotations off orthonormal."""

from __future__ import annotations

import numpy as np
import torch

from robofb.geometry import rot6d_to_matrix
from robofb.store.doctor.finding import ERROR, WARNING, EpisodeCheck, Finding, runs
from robofb.store.doctor.recorded import Recorded
from robofb.store.element_names import (
    POSITION,
    QUAT,
    ROT6D,
    Group,
    commanded_bodies,
    find_groups,
    observed_groups,
)
from robofb.store.gaps import find_gaps
from robofb.types import EnvSpec

POSITION_JUMP, ROTATION_JUMP = "position_jump", "rotation_jump"
QUAT_NOT_UNIT, ROT6D_SKEWED = "quat_not_unit", "rot6d_not_orthonormal"

JUMP_SPEED = 0.5  # m/s beyond the neighbouring steps: a 10 Hz step of 5 cm out of rest
LEAST_JUMP = 0.02  # m, at high rates
JUMP_ANGULAR_SPEED = 4.0  # rad/s beyond the neighbouring steps; arms turn their tool with 2.5 rad/s at most
LEAST_ANGLE_JUMP = 0.15  # rad
JUMP_OVER_FAST = 1.5  # times the body's fast steps (90 % of the episode are slower)
NEIGHBOURS = 3  # steps on either side that tell the usual speed
UNIT_ERROR = 1e-3  # of a measured rotation; float32 rounds at 1e-7
COMMANDED_UNIT_ERROR = 0.05  # of a commanded one: networks command nearly orthonormal vectors


def check_jumps(recorded: Recorded) -> list[Finding]:
    """Find steps in which an observed body moves or turns much farther than just before and after.

    Where time was left out, it may be elsewhere. A commanded body cannot do that: an error. An object can
    be struck or dropped: a warning.
    """
    dt = recorded.spec.control_dt
    limit_m = max(LEAST_JUMP, JUMP_SPEED * dt)
    limit_rad = max(LEAST_ANGLE_JUMP, JUMP_ANGULAR_SPEED * dt)
    findings = []
    for group, xyz in recorded.groups(POSITION):
        steps = np.linalg.norm(np.diff(xyz, axis=0), axis=1)
        findings += _jumps(recorded, group, steps, limit_m, POSITION_JUMP, "m")
    for kind in (ROT6D, QUAT):
        for group, values in recorded.groups(kind):
            findings += _jumps(recorded, group, angles(values), limit_rad, ROTATION_JUMP, "rad")
    return findings


def angles(rotations: np.ndarray) -> np.ndarray:
    """Return the angle between neighbours (T - 1,) [rad] of quaternions (T, 4) or 6D rotations (T, 6)."""
    if rotations.shape[1] == 4:
        unit = rotations / np.maximum(np.linalg.norm(rotations, axis=1, keepdims=True), 1e-9)
        return 2.0 * np.arccos(np.clip(np.abs((unit[1:] * unit[:-1]).sum(1)), 0.0, 1.0))
    matrices = rot6d_to_matrix(torch.from_numpy(rotations)).numpy()
    chord = np.linalg.norm(matrices[1:] - matrices[:-1], axis=(1, 2))  # 2 sqrt(2) sin(angle / 2)
    return 2.0 * np.arcsin(np.clip(chord / 8**0.5, 0.0, 1.0))


def _jumps(
    recorded: Recorded, group: Group, steps: np.ndarray, limit: float, fault: str, unit: str
) -> list[Finding]:
    tools = commanded_bodies(recorded.spec)
    severity = WARNING if tools and group.body not in tools else ERROR
    usual = _neighbour_median(steps)
    limit = max(limit, JUMP_OVER_FAST * float(np.quantile(steps, 0.9)))
    findings = []
    leaps = steps - usual > limit
    if (time := recorded.arrays.get("timestamp")) is not None:
        leaps[find_gaps(time, recorded.spec.control_dt) - 1] = False
    for first, last in runs(leaps):
        # Away and back is one frame too far off; the second step only returns.
        frames = (first + 1, max(first + 1, last))
        text = (
            f"{group.label} moves {steps[first]:.3g} {unit} in one step, {usual[first]:.2g} {unit} around it"
            f" (limit {limit:.2g} {unit} more)"
        )
        findings.append(Finding(fault, severity, recorded.number, frames, group.key, text))
    return findings


def _neighbour_median(steps: np.ndarray) -> np.ndarray:
    """Return for each step (T,) the median of its neighbours, itself left out; 0 where there is none."""
    padded = np.pad(steps, NEIGHBOURS, constant_values=np.nan)
    offsets = [k for k in range(2 * NEIGHBOURS + 1) if k != NEIGHBOURS]
    near = np.sort(np.stack([padded[k : k + len(steps)] for k in offsets], 1), axis=1)  # NaN stands last
    near[np.isnan(near[:, 0])] = 0.0
    count = (~np.isnan(near)).sum(1)
    row = np.arange(len(steps))
    return 0.5 * (near[row, (count - 1) // 2] + near[row, count // 2])


def check_rotations(recorded: Recorded) -> list[Finding]:
    """Find quaternions that are not of length one and 6D rotations that are not orthonormal."""
    spec = recorded.spec
    findings = []
    for key, array in {**spec.obs, "action": spec.action}.items():
        limit, severity = (COMMANDED_UNIT_ERROR, WARNING) if key == "action" else (UNIT_ERROR, ERROR)
        for kind, fault, error_of in (
            (QUAT, QUAT_NOT_UNIT, _quat_error),
            (ROT6D, ROT6D_SKEWED, _rot6d_error),
        ):
            for group in find_groups(key, array, kind):
                values = recorded.group(group)
                if values is None:
                    continue
                error = error_of(values)
                for first, last in runs(error > limit):
                    worst = error[first : last + 1].max()
                    text = f"{group.label} is off by {worst:.3g} (limit {limit:g})"
                    findings.append(Finding(fault, severity, recorded.number, (first, last), key, text))
    return findings


def _quat_error(values: np.ndarray) -> np.ndarray:
    """Return (T,), how far the length of quaternions (T, 4) is from one."""
    return np.abs(np.linalg.norm(values, axis=1) - 1.0)


def _rot6d_error(values: np.ndarray) -> np.ndarray:
    """Return (T,), the largest error of the columns' lengths and of their dot product."""
    x, y = values[:, :3], values[:, 3:]
    lengths = np.stack([np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)], 1)
    return np.maximum(np.abs(lengths - 1.0).max(1), np.abs((x * y).sum(1)))


def _no_pose_names(spec: EnvSpec) -> str:
    kinds = (POSITION, ROT6D, QUAT)
    if any(observed_groups(spec, kind) for kind in kinds):
        return ""
    return "no observation names its columns <body>_pos_<frame>_<axis>, _rot6d_ or _quat_"


def _no_rotation_names(spec: EnvSpec) -> str:
    arrays = {**spec.obs, "action": spec.action}
    if any(find_groups(key, array, kind) for key, array in arrays.items() for kind in (ROT6D, QUAT)):
        return ""
    return "no array names its columns <body>_rot6d_<frame>_<number> or _quat_"


JUMPS = EpisodeCheck("jumps", check_jumps, _no_pose_names)
ROTATIONS = EpisodeCheck("rotations", check_rotations, _no_rotation_names)
