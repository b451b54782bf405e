"""Idle heads and tails, and how late the robot follows its commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from robofb.store.doctor.finding import WARNING, DatasetCheck, EpisodeCheck, Finding
from robofb.store.doctor.poses import angles
from robofb.store.doctor.recorded import Recorded
from robofb.store.element_names import (
    POSITION,
    QUAT,
    ROT6D,
    Group,
    find_groups,
    gripper_columns,
    observed_groups,
)
from robofb.types import EnvSpec

IDLE_HEAD, IDLE_TAIL, LAG = "idle_head", "idle_tail", "command_lag"

IDLE_S = 1.0  # at rest for so long before the first or after the last motion
REST_SPEED = 0.005  # m/s
REST_ANGULAR_SPEED = 0.03  # rad/s
REST_GRIPPER = 0.01  # share of the range of its values, each step
LARGE_LAG_S = 0.35  # from a command to the measured motion
ODD_LAG_STEPS = 1.5  # from the dataset's median
EARLIEST, LATEST = -5, 12  # steps between which the lag is sought
FAST_SHARE = 0.9  # of the steps are shorter than what counts as a fast one
LEAST_TRAVEL = 0.05  # m of commanded motion; less tells no lag


def check_idle(recorded: Recorded) -> list[Finding]:
    """Find a second or more at rest at the start or the end of an episode."""
    moving = moving_steps(recorded)
    if moving is None:
        return []
    dt, length = recorded.spec.control_dt, recorded.length
    active = np.flatnonzero(moving)
    if not len(active):
        text = f"nothing moves in all {length} steps"
        whole = length * dt >= IDLE_S
        return [Finding(IDLE_HEAD, WARNING, recorded.number, (0, length - 1), "", text)] if whole else []
    head, tail = int(active[0]), length - 1 - int(active[-1])
    findings = []
    for fault, count, frames, where in (
        (IDLE_HEAD, head, (0, head - 1), "before the first motion"),
        (IDLE_TAIL, tail, (length - tail, length - 1), "after the last motion"),
    ):
        if count * dt >= IDLE_S - 1e-9:
            text = f"{count} steps ({count * dt:.1f} s) at rest {where}"
            findings.append(Finding(fault, WARNING, recorded.number, frames, "", text))
    return findings


def moving_steps(recorded: Recorded) -> np.ndarray | None:
    """Return (T,) bool, whether any observed body or the gripper moves in each step; None if unknown."""
    dt = recorded.spec.control_dt
    moving = np.zeros(recorded.length, bool)
    known = False
    for _, xyz in recorded.groups(POSITION):
        known = True
        moving |= np.linalg.norm(np.diff(xyz, axis=0), axis=1) > REST_SPEED * dt
    for kind in (ROT6D, QUAT):
        for _, rotations in recorded.groups(kind):
            moving |= angles(rotations) > REST_ANGULAR_SPEED * dt
    for key, array in recorded.spec.obs.items():
        columns, rows = gripper_columns(array), recorded.columns(key)
        if columns and rows is not None:
            values = rows[:, columns]
            moving |= (np.abs(np.diff(values, axis=0)) > REST_GRIPPER * np.ptp(values, axis=0)).any(1)
    return moving if known else None


@dataclass(frozen=True)
class Lag:
    """How late the measured motion of one episode follows the commanded one."""

    steps: float
    seconds: float


def reduce_lag(recorded: Recorded) -> Lag | None:
    """Return the lag of one episode, None where it does not move enough to tell."""
    for command, measured in _commanded(recorded.spec):
        wanted, reached = recorded.group(command), recorded.group(measured)
        steps = None if wanted is None or reached is None else command_lag(wanted, reached)
        if steps is not None:
            return Lag(steps, steps * recorded.spec.control_dt)
    return None


def command_lag(commanded: np.ndarray, measured: np.ndarray) -> float | None:
    """Return by how many steps the measured velocity follows the commanded one.

    The lag k maximises the correlation of c[t + 1] - c[t] with m[t + k + 1] - m[t + k]; a parabola
    through the best three gives its fraction. A position that is reached one step after its command,
    m[t + 1] = c[t], has lag 1.

    Args:
        commanded: (T, 3) positions [m].
        measured: (T + 1, 3) positions [m].
    """
    wanted, reached = np.diff(commanded, axis=0), np.diff(measured, axis=0)
    if np.linalg.norm(wanted, axis=1).sum() < LEAST_TRAVEL or len(wanted) < 2 * LATEST:
        return None
    wanted, reached = _capped(wanted), _capped(reached)
    lags = np.arange(EARLIEST, LATEST + 1)
    scores = np.array([_correlation(wanted, reached, int(lag)) for lag in lags])
    best = int(scores.argmax())
    if not scores[best] > 0.0:
        return None
    if best in (0, len(lags) - 1):
        return float(lags[best])
    before, peak, after = scores[best - 1 : best + 2]
    bend = before - 2.0 * peak + after
    return float(lags[best] + (0.5 * (before - after) / bend if bend < 0 else 0.0))


def _capped(steps: np.ndarray) -> np.ndarray:
    """Return steps (T, 3) none of which is longer than the fast ones, so that one jump decides nothing."""
    lengths = np.linalg.norm(steps, axis=1, keepdims=True)
    longest = np.quantile(lengths, FAST_SHARE)
    return steps * np.minimum(1.0, longest / np.maximum(lengths, 1e-12))


def _correlation(wanted: np.ndarray, reached: np.ndarray, lag: int) -> float:
    first, last = max(0, -lag), min(len(wanted), len(reached) - lag)
    a, b = wanted[first:last], reached[first + lag : last + lag]
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return float((a * b).sum() / size) if size > 0 else 0.0


def judge_lag(reduced: Mapping[int, Lag]) -> list[Finding]:
    """Find episodes that follow their commands late, or unlike the others."""
    usual = float(np.median([lag.steps for lag in reduced.values()]))
    findings = []
    for number, lag in reduced.items():
        if lag.seconds <= LARGE_LAG_S and abs(lag.steps - usual) <= ODD_LAG_STEPS:
            continue
        text = (
            f"the measured position follows its command after {lag.steps:.1f} steps"
            f" ({1000 * lag.seconds:.0f} ms); the dataset's median is {usual:.1f} steps"
        )
        findings.append(Finding(LAG, WARNING, number, None, "action", text))
    return findings


def measure_lag(reduced: Mapping[int, Lag]) -> dict[str, float]:
    """Return the median lag."""
    steps = float(np.median([lag.steps for lag in reduced.values()]))
    seconds = float(np.median([lag.seconds for lag in reduced.values()]))
    return {"command_lag_steps": round(steps, 2), "command_lag_ms": round(1000 * seconds)}


def _commanded(spec: EnvSpec) -> list[tuple[Group, Group]]:
    """Return the commanded and the observed position of each body that is commanded in its frame."""
    observed = {(group.body, group.frame): group for group in observed_groups(spec, POSITION)}
    commanded = find_groups("action", spec.action, POSITION)
    return [
        (group, observed[group.body, group.frame])
        for group in commanded
        if (group.body, group.frame) in observed
    ]


def _no_position_names(spec: EnvSpec) -> str:
    return "" if observed_groups(spec, POSITION) else "no observation names <body>_pos_<frame>_<axis>"


def _no_commanded_position(spec: EnvSpec) -> str:
    return "" if _commanded(spec) else "the action commands no position that an observation measures, by name"


IDLE_CHECK = EpisodeCheck("idle", check_idle, _no_position_names)
LAG_CHECK = DatasetCheck("lag", reduce_lag, judge_lag, measure_lag, _no_commanded_position)
