"""Episodes unlike the rest in length, successes that do not look like one, or no success at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch

from robofb.geometry import rot6d_to_matrix
from robofb.store.doctor.finding import ERROR, WARNING, DatasetCheck, Finding, robust_scale
from robofb.store.doctor.recorded import Recorded
from robofb.store.element_names import POSITION, ROT6D, Group, commanded_bodies

LENGTH = "length_outlier"
NO_REWARD, REWARDED_FAILURE, FAR_END = "success_without_reward", "failure_with_reward", "success_ends_apart"
NO_SUCCESS = "no_success"

LEAST_EPISODES = 5  # to know what is usual
LENGTH_DEVIATIONS = 6.0  # robust standard deviations of the logarithm of the length ...
LENGTH_FACTOR = 1.5  # ... and at least this factor from the median
REWARD_SHARE = 0.5  # of the successes that must earn a reward before lacking one is a fault
END_DEVIATIONS = 4.5  # robust standard deviations of where bodies end as others see them
END_LEAST_SCALE = 0.001  # m, below which a spread of end states tells nothing
NAMELESS_DEVIATIONS = 15.0  # of any element, where no names tell positions
NAMELESS_LEAST_SCALE = 0.05  # of the element's range over all end states


def reduce_length(recorded: Recorded) -> int:
    """Return the number of actions."""
    return recorded.length


def judge_lengths(reduced: Mapping[int, int]) -> list[Finding]:
    """Find episodes much shorter or longer than the dataset's."""
    if len(reduced) < LEAST_EPISODES:
        return []
    numbers, lengths = list(reduced), np.array(list(reduced.values()), float)
    usual = np.ones(len(lengths), bool)
    while True:  # many outliers widen the spread and hide the least of them: look again without those found
        middle, scale = robust_scale(np.log(lengths[usual]))
        bound = max(LENGTH_DEVIATIONS * float(scale), np.log(LENGTH_FACTOR))
        inside = usual & (np.abs(np.log(lengths) - middle) <= bound)
        if (inside == usual).all():
            break
        usual = inside
    median = float(np.exp(middle))
    return [
        Finding(LENGTH, WARNING, numbers[i], None, "", f"{lengths[i]:g} steps; the median is {median:.0f}")
        for i in np.flatnonzero(~inside)
    ]


@dataclass(frozen=True)
class Outcome:
    """How an episode ended.

    Attributes:
        success: as marked.
        total_reward: None where the rewards cannot be read.
        end: (E,) where bodies are as others see them [m], or elements of the last observation where no
            positions can be read by name.
        labels: name of each entry of `end`.
        in_metres: whether `end` is in metres.
    """

    success: bool
    total_reward: float | None
    end: np.ndarray
    labels: tuple[str, ...]
    in_metres: bool


def reduce_outcome(recorded: Recorded) -> Outcome:
    """Return how an episode ended."""
    reward = recorded.arrays.get("reward")
    total = None if reward is None else float(reward.sum(dtype=np.float64))
    positions = recorded.groups(POSITION)
    tools = commanded_bodies(recorded.spec)
    objects = [(group, xyz) for group, xyz in positions if group.body not in tools]
    if len(objects) >= 2:
        positions = objects  # where the tool ends is less certain than where the parts do
    if len(positions) >= 2:
        return Outcome(recorded.success, total, *_relative_positions(recorded, positions), in_metres=True)
    keys = [key for key in recorded.spec.obs if key not in recorded.images() and key in recorded.arrays]
    elements = [
        (f"{key} element {i}", value) for key in keys for i, value in enumerate(recorded.arrays[key][-1].flat)
    ]
    end = np.array([float(value) for _, value in elements])
    return Outcome(recorded.success, total, end, tuple(name for name, _ in elements), in_metres=False)


def _relative_positions(
    recorded: Recorded, positions: list[tuple[Group, np.ndarray]]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return where each body ends as another sees it [m], and names of the numbers.

    In the frame of the other body where its 6D rotation is observed, else as a distance.
    """
    rotations = {(g.body, g.frame): rows[-1] for g, rows in recorded.groups(ROT6D)}
    end: list[float] = []
    labels: list[str] = []
    for (other, seen_from), (body, xyz) in permutations(positions, 2):
        offset = xyz[-1] - seen_from[-1]
        rotation = rotations.get((other.body, other.frame))
        if rotation is None:
            end.append(float(np.linalg.norm(offset)))
            labels.append(f"the distance of {body.label} from {other.label}")
            continue
        matrix = rot6d_to_matrix(torch.from_numpy(rotation)).numpy()
        end += (matrix.T @ offset).tolist()
        labels += [f"{axis} of {body.label} in the frame of {other.body}" for axis in "xyz"]
    return np.array(end), tuple(labels)


def judge_outcomes(reduced: Mapping[int, Outcome]) -> list[Finding]:
    """Find episodes whose success flag their rewards or their end contradict, or that all failed."""
    return [*_judge_successes(reduced), *_judge_rewards(reduced), *_judge_ends(reduced)]


def _judge_successes(reduced: Mapping[int, Outcome]) -> list[Finding]:
    if not reduced or any(outcome.success for outcome in reduced.values()):
        return []
    text = f"none of {len(reduced)} episodes is marked a success: cloning them teaches failures"
    return [Finding(NO_SUCCESS, WARNING, None, None, "", text)]


def _judge_rewards(reduced: Mapping[int, Outcome]) -> list[Finding]:
    rewards = {number: o.total_reward for number, o in reduced.items() if o.total_reward is not None}
    earned = [reward for number, reward in rewards.items() if reduced[number].success]
    if len(earned) < LEAST_EPISODES or np.mean(np.array(earned) > 0) < REWARD_SHARE:
        return []
    usual = float(np.median(earned))
    findings = []
    for number, reward in rewards.items():
        if reduced[number].success and reward <= 0:
            text = f"marked a success, but its rewards sum to {reward:g}; a success usually earns {usual:g}"
            findings.append(Finding(NO_REWARD, ERROR, number, None, "reward", text))
        elif not reduced[number].success and reward >= usual:
            text = f"marked a failure, but its rewards sum to {reward:g} as a success's do ({usual:g})"
            findings.append(Finding(REWARDED_FAILURE, WARNING, number, None, "reward", text))
    return findings


def _judge_ends(reduced: Mapping[int, Outcome]) -> list[Finding]:
    successes = {number: outcome for number, outcome in reduced.items() if outcome.success}
    # Damaged episodes have other numbers to compare, or none.
    common = Counter(outcome.labels for outcome in successes.values() if outcome.labels).most_common(1)
    chosen = {n: outcome for n, outcome in successes.items() if common and outcome.labels == common[0][0]}
    if len(chosen) < LEAST_EPISODES:
        return []
    numbers, first = list(chosen), next(iter(chosen.values()))
    ends = np.stack([outcome.end for outcome in chosen.values()])
    limit = END_DEVIATIONS if first.in_metres else NAMELESS_DEVIATIONS
    middle, scale = robust_scale(ends)
    least = END_LEAST_SCALE if first.in_metres else NAMELESS_LEAST_SCALE * np.ptp(ends, axis=0) + 1e-9
    away = np.abs(ends - middle) / np.maximum(scale, least)
    findings = []
    for index in np.flatnonzero((away > limit).any(1)).tolist():
        worst = int(away[index].argmax())
        text = (
            f"marked a success, but ends with {first.labels[worst]} {ends[index, worst]:.4g},"
            f" {away[index, worst]:.0f} deviations from the {middle[worst]:.4g} of the successes"
        )
        findings.append(Finding(FAR_END, WARNING, numbers[index], None, "", text))
    return findings


LENGTH_CHECK = DatasetCheck("lengths", reduce_length, judge_lengths)
OUTCOME_CHECK = DatasetCheck("outcomes", reduce_outcome, judge_outcomes)
