"""Actions that stand still, touch their bounds, or open and close the gripper in a hurry."""

from __future__ import annotations

import math

import numpy as np

from robofb.store.doctor.finding import ERROR, WARNING, EpisodeCheck, Finding, runs
from robofb.store.doctor.recorded import Recorded
from robofb.store.element_names import ROT6D, find_groups, gripper_columns
from robofb.types import EnvSpec

STUCK, CLIPPED, OUT_OF_BOUNDS, CHATTER = (
    "stuck_action",
    "clipped_action",
    "action_out_of_bounds",
    "gripper_chatter",
)

STUCK_S = 1.0  # the same action for so long ...
STUCK_STEPS = 8  # ... and for so many steps
CLIPPED_STEPS = 3  # in a row exactly at a bound
BOUND_TOLERANCE = 1e-5  # share of the range within which a value counts as at its bound
CHATTER_CHANGES = 3  # openings and closings of the gripper ...
CHATTER_S = 1.0  # ... within this time; a person who misses a grasp makes two


def check_stuck(recorded: Recorded) -> list[Finding]:
    """Find runs of the same action, bit for bit: a device or a driver that stopped talking."""
    action = recorded.columns("action")
    if action is None:
        return []
    dt = recorded.spec.control_dt
    least = max(STUCK_STEPS, math.ceil(STUCK_S / dt - 1e-9))
    findings = []
    for first, last in runs((np.diff(action, axis=0) == 0).all(1)):
        count = last - first + 2  # actions first .. last + 1 are equal
        if count >= least:
            text = f"{count} equal actions in a row, {count * dt:.1f} s"
            findings.append(Finding(STUCK, WARNING, recorded.number, (first, last + 1), "action", text))
    return findings


def check_bounds(recorded: Recorded) -> list[Finding]:
    """Find actions beyond the spec's bounds, and elements that stay at one for several steps.

    Rotations, grippers and other commands of few values may well lie at their bounds.
    """
    action, array = recorded.columns("action"), recorded.spec.action
    if action is None or array.low is None or array.high is None:
        return []
    low, high = np.array(array.low), np.array(array.high)
    margin = BOUND_TOLERANCE * (high - low)
    findings = []
    for first, last in runs(((action < low - margin) | (action > high + margin)).any(1)):
        part = action[first : last + 1]
        excess = np.maximum(part - high, low - part)
        column = int(excess.max(0).argmax())
        text = f"{_name(recorded.spec, column)} is {excess[:, column].max():.3g} beyond its bound"
        findings.append(Finding(OUT_OF_BOUNDS, ERROR, recorded.number, (first, last), "action", text))
    free = _free_columns(recorded.spec, action)
    for bound, name in ((low, "lowest"), (high, "highest")):
        at_bound = np.abs(action - bound) <= margin
        for column in free:
            for first, last in runs(at_bound[:, column]):
                if last - first + 1 >= CLIPPED_STEPS:
                    text = f"{_name(recorded.spec, column)} stays at its {name} value {bound[column]:g}"
                    finding = Finding(CLIPPED, WARNING, recorded.number, (first, last), "action", text)
                    findings.append(finding)
    return findings


def _free_columns(spec: EnvSpec, action: np.ndarray) -> list[int]:
    """Return the columns that have no business at a bound."""
    bound = set(gripper_columns(spec.action))
    bound |= {column for group in find_groups("action", spec.action, ROT6D) for column in group.columns}
    few = 3  # values: open, closed, hold
    return [c for c in range(action.shape[1]) if c not in bound and len(np.unique(action[:, c])) > few]


def _name(spec: EnvSpec, column: int) -> str:
    return spec.action.names[column] if spec.action.names else f"element {column}"


def check_chatter(recorded: Recorded) -> list[Finding]:
    """Find grippers that are told to open and close again and again within a moment."""
    action = recorded.columns("action")
    if action is None:
        return []
    dt = recorded.spec.control_dt
    findings = []
    for column in gripper_columns(recorded.spec.action):
        changes = gripper_changes(action[:, column])
        close = [
            (changes[index], changes[index + CHATTER_CHANGES - 1])
            for index in range(len(changes) - CHATTER_CHANGES + 1)
            if (changes[index + CHATTER_CHANGES - 1] - changes[index]) * dt <= CHATTER_S + 1e-9
        ]
        hurried = np.zeros(len(action), bool)
        for first, last in close:
            hurried[first : last + 1] = True
        for first, last in runs(hurried):
            count = sum(first <= change <= last for change in changes)
            text = f"{count} openings and closings within {(last - first) * dt:.2f} s"
            findings.append(Finding(CHATTER, WARNING, recorded.number, (first, last), "action", text))
    return findings


def gripper_changes(command: np.ndarray) -> list[int]:
    """Return the steps at which a gripper command (T,) goes over to the other quarter of its range.

    -1 -1 1 1 -1 changes at 2 and 4; values between the quarters change nothing.
    """
    low, high = command.min(), command.max()
    if high <= low:
        return []
    share = (command - low) / (high - low)
    changes, state = [], None
    for step, value in enumerate(share):
        side = True if value > 0.75 else False if value < 0.25 else state
        if state is not None and side is not state:
            changes.append(step)
        state = side
    return changes


def _no_bounds(spec: EnvSpec) -> str:
    return "" if spec.action.low is not None and spec.action.high is not None else "the action has no bounds"


def _no_gripper(spec: EnvSpec) -> str:
    return "" if gripper_columns(spec.action) else "no element of the action is named gripper..."


STUCK_CHECK = EpisodeCheck("stuck", check_stuck)
BOUNDS_CHECK = EpisodeCheck("bounds", check_bounds, _no_bounds)
CHATTER_CHECK = EpisodeCheck("chatter", check_chatter, _no_gripper)
