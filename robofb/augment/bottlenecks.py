"""Find bottleneck states by rule: gripper changes, first contacts, and nearest approaches.

A bottleneck is a state that the task must pass through with precision, such as the grasp or the start of
an insertion. JUICER (arXiv 2404.03729) lets a person mark them; these rules propose them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import numpy as np

from robofb.errors import UserError
from robofb.sim.recorded import RecordedScene
from robofb.store.bottlenecks import BY_PERSON, BY_RULE, Bottleneck
from robofb.store.named_values import PoseTrack, find_values, group_values, pose_tracks, value_groups
from robofb.types import SIM_STATE, EnvSpec, Episode

MERGE_STEPS = 6  # marks nearer than this to the one before are one bottleneck
COMMAND_MARGIN = 0.25  # of a gripper command in -1..1 before it counts as another
WIDTH_SHARES = (0.35, 0.65)  # of the episode's own range of widths: closed below, open above
LEAST_WIDTH_RANGE_M = 0.005
QUIET_STEPS = 3  # without contact before a new one counts
HOLD_STEPS = 2  # that a contact must last
CONTACT_FORCE_N = 2.0
APPROACH_FALL_M = 0.04  # that a distance must fall before its minimum counts
APPROACH_NEAR_M = 0.005  # to its minimum: there the bottleneck begins
APPROACH_AHEAD_STEPS = 5  # in which it may still come nearer: longer than a person hesitates

Marks = list[tuple[int, str]]
"""Steps with a few words why."""


def find_bottlenecks(
    episode: Episode, spec: EnvSpec, rule: str, scene: RecordedScene | None = None
) -> tuple[Bottleneck, ...]:
    """Return the bottlenecks of an episode by one rule, by step.

    Args:
        episode: of a dataset.
        spec: that of the dataset.
        rule: one of RULES, or "auto" for all that the episode's values allow, merged.
        scene: of the task, to recompute contacts from the key `sim_state`.

    Raises:
        UserError: there is no such rule, or it needs values that the dataset lacks.
    """
    if rule == "auto":
        found = [marks for find in RULES.values() if (marks := find(episode, spec, scene)) is not None]
        if not found:
            raise UserError(f"no rule applies to task {spec.task}: " + "; ".join(_NEEDS.values()))
        marks = [mark for rule_marks in found for mark in rule_marks]
    elif rule in RULES:
        single = RULES[rule](episode, spec, scene)
        if single is None:
            raise UserError(f"rule {rule} does not apply to task {spec.task}: it {_NEEDS[rule]}")
        marks = single
    else:
        raise UserError(f"rule must be one of {', '.join([*RULES, 'auto'])}, not {rule!r}")
    return tuple(Bottleneck(step, BY_RULE, why) for step, why in merge(marks))


def merge(marks: Iterable[tuple[int, str]], within: int = MERGE_STEPS) -> Marks:
    """Join marks nearer than `within` steps to the first of their group: the state before it all.

    The reasons of a group are joined, each once: (3, "a"), (5, "b"), (20, "c") is (3, "a, b"), (20, "c").
    """
    groups: list[tuple[int, list[str]]] = []
    for step, why in sorted(marks):
        if groups and step - groups[-1][0] < within:
            groups[-1][1].append(why)
        else:
            groups.append((step, [why]))
    return [(step, ", ".join(dict.fromkeys(reasons))) for step, reasons in groups]


def with_rule_marks(
    present: Iterable[Bottleneck], found: Iterable[Bottleneck], within: int = MERGE_STEPS
) -> tuple[Bottleneck, ...]:
    """Return marks in which `found` replaces what rules marked before; a person's marks stay.

    A rule's mark nearer than `within` steps to a person's says nothing new and is left out.
    """
    kept = [mark for mark in present if mark.by == BY_PERSON]
    new = [mark for mark in found if all(abs(mark.step - other.step) >= within for other in kept)]
    return tuple(sorted([*kept, *new]))


def gripper_marks(episode: Episode, spec: EnvSpec, scene: RecordedScene | None) -> Marks | None:
    """Mark where the gripper is commanded to close or open, and where its width crosses over."""
    groups = value_groups(spec)
    commands = groups.get(("action", "gripper"), [])
    widths = find_values(episode, groups, "(.*_)?gripper_width")
    if not commands and not widths:
        return None
    marks: Marks = []
    if commands:
        marks += command_switches(group_values(episode, "action", commands[:1])[:, 0])
    for values in widths.values():
        width_m = values[:, 0].astype(np.float64)
        span_m = float(np.ptp(width_m))
        if span_m >= LEAST_WIDTH_RANGE_M:
            low, high = (float(width_m.min()) + share * span_m for share in WIDTH_SHARES)
            marks += switches(width_m, low, high, ("gripper is closing", "gripper is opening"))
    return marks


def command_switches(gripper: np.ndarray) -> Marks:
    """Return where a gripper command (T,) in -1..1 goes over to the other side."""
    words = ("gripper is told to open", "gripper is told to close")
    return switches(gripper, -COMMAND_MARGIN, COMMAND_MARGIN, words)


def switches(values: np.ndarray, low: float, high: float, words: tuple[str, str]) -> Marks:
    """Return where values (T,) go below `low` (first word) or above `high` (second), with hysteresis.

    What lies between belongs to the side it came from; the side at the start is no switch.
    """
    side, marks = 0, []
    for step, value in enumerate(values):
        now = -1 if value < low else 1 if value > high else side
        if side and now != side:
            marks.append((step, words[now > 0]))
        side = now
    return marks


def contact_marks(episode: Episode, spec: EnvSpec, scene: RecordedScene | None) -> Marks | None:
    """Mark where things begin to touch: by recomputed contacts, else where a measured force sets in."""
    forces = find_values(episode, value_groups(spec), r".*force.*")
    if scene is not None and (states := _states(episode, scene)) is not None:
        touching = []
        for row in states:
            scene.show(row)
            touching.append({pair for pair in scene.touching() if not scene.parts.isdisjoint(pair)})
        tracks = {
            _contact_words(pair, scene): [pair in pairs for pairs in touching]
            for pair in sorted(set().union(*touching))
        }
    elif forces:
        tracks = {
            f"{name} sets in": list(np.linalg.norm(values, axis=1) > CONTACT_FORCE_N)
            for name, values in forces.items()
        }
    else:
        return None
    return [(step, why) for why, contact in tracks.items() for step in onsets(contact)]


def _contact_words(pair: tuple[str, str], scene: RecordedScene) -> str:
    first, second = sorted(pair, key=lambda thing: thing in scene.parts)  # robots first
    return f"{first if first in scene.parts else f'robot ({first})'} touches {second}"


def onsets(active: Sequence[bool]) -> list[int]:
    """Return the steps at which something begins that lasts HOLD_STEPS, after QUIET_STEPS without it."""
    found = []
    for step in range(QUIET_STEPS, len(active)):
        quiet = not any(active[step - QUIET_STEPS : step])
        if quiet and active[step] and all(active[step : step + HOLD_STEPS]):
            found.append(step)
    return found


def approach_marks(episode: Episode, spec: EnvSpec, scene: RecordedScene | None) -> Marks | None:
    """Mark where two things have come as near as they come for now.

    The gripper counts towards the part nearest to it alone: the others it passes by. Two parts are as far
    apart as their surfaces where contacts can be recomputed, else as their frames.
    """
    tracks = pose_tracks(spec, episode)
    marks: Marks = []
    hands, parts = [t for t in tracks if t.thing == "ee"], [t for t in tracks if t.thing != "ee"]
    for hand in hands:
        reached = [part for part in parts if part.frame == hand.frame]
        distances_m = np.array([_distance_m(hand, part) for part in reached])
        for part, distance_m in zip(reached, distances_m, strict=True):
            nearest = distance_m <= distances_m.min(0)
            marks += [
                (step, f"gripper has reached {part.thing}") for step in arrivals(distance_m) if nearest[step]
            ]
    pairs = {(a.thing, b.thing): _distance_m(a, b) for a, b in combinations(parts, 2) if a.frame == b.frame}
    if scene is not None and (states := _states(episode, scene)) is not None:
        pairs = _gaps_m(states, scene)
    for (first, second), distance_m in pairs.items():
        marks += [(step, f"{first} has reached {second}") for step in arrivals(distance_m)]
    return marks if pairs or (hands and parts) else None


def _distance_m(a: PoseTrack, b: PoseTrack) -> np.ndarray:
    return np.asarray(np.linalg.norm(a.pos_m - b.pos_m, axis=1))


def _states(episode: Episode, scene: RecordedScene) -> np.ndarray | None:
    """Return the recorded states (T + 1, S), None where there are none or another model's."""
    states = episode.obs.get(SIM_STATE)
    return states if states is not None and states.shape[1:] == (scene.state_size,) else None


def _gaps_m(states: np.ndarray, scene: RecordedScene) -> dict[tuple[str, str], np.ndarray]:
    """Return the distances (T,) between the surfaces of each two parts [m]."""
    pairs = list(combinations(sorted(scene.parts), 2))
    gaps_m = np.empty((len(pairs), len(states)))
    for step, state in enumerate(states):
        scene.show(state)
        gaps_m[:, step] = [scene.gap_m(first, second) for first, second in pairs]
    return dict(zip(pairs, gaps_m, strict=True))


def arrivals(distance_m: np.ndarray) -> list[int]:
    """Return the steps at which distances (T,) end a fall of at least APPROACH_FALL_M.

    A fall ends where APPROACH_AHEAD_STEPS bring it less than APPROACH_NEAR_M further. The next counts after
    a rise as large.
    """
    found: list[int] = []
    highest, lowest, falling = -math.inf, math.inf, True
    for step, distance in enumerate(distance_m):
        if not falling:
            lowest = min(lowest, distance)
            falling, highest = distance >= lowest + APPROACH_FALL_M, distance
            continue
        highest = max(highest, distance)
        ahead = distance_m[step : step + APPROACH_AHEAD_STEPS + 1]
        if highest - distance >= APPROACH_FALL_M and distance - ahead.min() < APPROACH_NEAR_M:
            found.append(step)
            lowest, falling = distance, False
    return found


RULES: dict[str, Callable[[Episode, EnvSpec, RecordedScene | None], Marks | None]] = {
    "gripper": gripper_marks,
    "contact": contact_marks,
    "approach": approach_marks,
}
_NEEDS = {
    "gripper": "needs an action 'gripper' or a state value 'gripper_width'",
    "contact": f"needs '{SIM_STATE}' of a task known here, or state values named after forces",
    "approach": "needs the named positions of two things, such as ee_pos_base_x and leg_pos_base_x",
}
