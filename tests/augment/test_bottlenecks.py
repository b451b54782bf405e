"""Rules for bottlenecks: hand-made signals, and the scripted expert whose moments are known."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_dataset import played, task_scene

from robofb.augment.bottlenecks import (
    HOLD_STEPS,
    QUIET_STEPS,
    arrivals,
    command_switches,
    find_bottlenecks,
    merge,
    onsets,
    switches,
    with_rule_marks,
)
from robofb.envs.furniture.one_leg_insert_expert import Phase
from robofb.errors import UserError
from robofb.store.bottlenecks import BY_PERSON, BY_RULE, Bottleneck
from robofb.types import ArraySpec, EnvSpec, Episode

WORDS = ("down", "up")


def test_a_switch_counts_once_and_only_past_the_far_threshold():
    values = np.array([1.0, 0.1, -0.1, 0.2, -0.6, -0.2, 0.2, -0.7, 0.6])
    assert switches(values, -0.5, 0.5, WORDS) == [(4, "down"), (8, "up")]


def test_what_begins_between_the_thresholds_has_no_side_to_leave():
    assert switches(np.array([0.0, 0.1, 1.0, -1.0]), -0.5, 0.5, WORDS) == [(3, "down")]


def test_a_command_switches_once_it_is_clearly_on_the_other_side():
    steps = [step for step, _ in command_switches(np.array([-1, -1, 1, 0.5, -0.1, -1]))]
    assert steps == [2, 5]


def test_an_onset_needs_quiet_before_and_must_last():
    flicker = [0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 1, 1, 0, 0, 0, 1]
    assert onsets([bool(value) for value in flicker]) == [7, 15]
    assert onsets([True] * 9) == []  # it always touched


@given(st.lists(st.booleans(), max_size=60))
def test_onsets_are_those_of_the_definition(active):
    expected = [
        step
        for step in range(len(active))
        if step >= QUIET_STEPS
        and active[step - QUIET_STEPS : step] == [False] * QUIET_STEPS
        and active[step : step + HOLD_STEPS] == [True] * len(active[step : step + HOLD_STEPS])
    ]
    assert onsets(active) == expected


def test_an_arrival_ends_a_long_fall_not_a_pause_in_it():
    falling = np.linspace(0.20, 0.0, 11)  # 2 cm a step
    course = np.concatenate([falling[:6], [0.1] * 3, falling[6:], [0.0] * 5, falling[::-1], falling])
    first = 6 + 3 + 4  # the end of the first fall, three steps of pause in it
    second = len(course) - 1
    assert arrivals(course) == [first, second]


def test_a_small_fall_is_no_arrival():
    assert arrivals(np.linspace(0.5, 0.47, 10)) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_arrivals_are_increasing_steps(distances):
    found = arrivals(np.array(distances))
    assert found == sorted(set(found)) and all(0 <= step < len(distances) for step in found)


def test_near_marks_join_the_first():
    assert merge([(5, "b"), (3, "a"), (20, "c"), (8, "a"), (9, "d")], within=6) == [
        (3, "a, b"),
        (9, "d"),
        (20, "c"),
    ]


@given(st.lists(st.tuples(st.integers(0, 99), st.sampled_from("abc"))), st.integers(1, 9))
def test_merged_marks_stand_apart_and_lose_none(marks, within):
    merged = merge(marks, within)
    steps = [step for step, _ in merged]
    assert all(later - earlier >= within for earlier, later in pairwise(steps))
    assert all(any(0 <= step - start < within for start in steps) for step, _ in marks)
    assert {why for _, why in marks} == {why for _, words in merged for why in words.split(", ")}


def test_a_persons_marks_stay_and_a_rules_are_replaced():
    person, old = Bottleneck(10, BY_PERSON, "grasp"), Bottleneck(40, BY_RULE, "old")
    near, new = Bottleneck(12, BY_RULE, "closes"), Bottleneck(30, BY_RULE, "touches")
    assert with_rule_marks([old, person], [near, new], within=5) == (person, new)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_scripted_grasp_and_insertion_are_found(index):
    """The expert closes at the first step of its phase CLOSE, and aligns before it inserts."""
    spec, episodes = played()
    episode, phases = episodes[index]
    close, align = phases.index(Phase.CLOSE), phases.index(Phase.ALIGN)
    (gripper,) = find_bottlenecks(episode, spec, "gripper")
    assert gripper.step == close and gripper.by == BY_RULE
    contacts = find_bottlenecks(episode, spec, "contact", task_scene())
    assert contacts[0].why == "robot (base) touches leg" and close < contacts[0].step <= close + 5
    approaches = find_bottlenecks(episode, spec, "approach", task_scene())
    assert [mark.why for mark in approaches] == ["gripper has reached leg", "leg has reached top"]
    assert abs(approaches[0].step - close) <= 2 and abs(approaches[1].step - align) <= 6
    auto = find_bottlenecks(episode, spec, "auto", task_scene())
    assert abs(auto[0].step - close) <= 1 and 2 <= len(auto) <= 3


def made_episode(names, columns, action_names=("speed",)):
    """Return an episode of given observed columns (T + 1,) by name."""
    state = np.stack([np.asarray(column, np.float32) for column in columns], 1)
    spec = EnvSpec(
        "made",
        {"state": ArraySpec((len(names),), names=tuple(names))},
        ArraySpec((1,), names=action_names),
        0.1,
        99,
    )
    steps = len(state) - 1
    episode = Episode(
        {"state": state},
        np.zeros((steps, 1), np.float32),
        np.zeros(steps, np.float32),
        True,
        True,
        0.1 * np.arange(steps + 1),
        np.zeros(steps, np.uint8),
    )
    return spec, episode


def test_contacts_come_from_measured_forces_where_no_state_is_recorded():
    force = [0, 0.1, 0, 0, 3.0, 2.5, 0.2, 0.1]
    spec, episode = made_episode(["ee_force_base_x", "ee_force_base_y"], [force, [0] * 8])
    assert [(m.step, m.why) for m in find_bottlenecks(episode, spec, "contact")] == [
        (4, "ee_force_base sets in")
    ]


def test_a_width_that_hardly_changes_is_no_grasp():
    spec, episode = made_episode(["gripper_width"], [[0.08, 0.079, 0.078, 0.08]])
    assert find_bottlenecks(episode, spec, "gripper") == ()


@pytest.mark.parametrize("rule", ["gripper", "contact", "approach", "auto"])
def test_a_rule_that_finds_no_values_says_what_it_needs(rule):
    spec, episode = made_episode(["angle"], [[0, 1, 2]])
    with pytest.raises(UserError, match="needs"):
        find_bottlenecks(episode, spec, rule)


def test_an_unknown_rule_is_refused_with_the_valid_ones():
    spec, episodes = played()
    with pytest.raises(UserError, match="gripper, contact, approach, auto"):
        find_bottlenecks(episodes[0][0], spec, "magic")
