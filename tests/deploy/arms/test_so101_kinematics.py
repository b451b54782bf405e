"""The SO-101's chain of joints, worked by hand where it is simple, and its inverse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robofb.deploy.arms.so101_kinematics import LINKS, So101Kinematics
from robofb.deploy.pose import (
    Pose,
    angle_between,
    between,
    columns_of,
    difference,
    length,
    product,
    turn_of,
    unit,
)

LOWER = np.array([link.reach_rad[0] for link in LINKS.values()])
UPPER = np.array([link.reach_rad[1] for link in LINKS.values()])
CHAIN = So101Kinematics(LOWER, UPPER)
HOME = (0.0, -0.35, 0.2, 1.2, 0.0)
QUARTER = math.pi / 2
AHEAD_M = 0.0388353 + 0.0303992  # of the shoulder's axis
UP_M = 0.0624 + 0.0542
HAND_M = 0.0611 + 0.0981274  # from the wrist's axis to the tool, straight out
OFF_M = 0.0079  # of the tool, beside the axis of the roll
TWIST = 0.0487  # of the hand where the roll is at zero: it moves the tool by 0.4 mm


@pytest.mark.parametrize(
    ("joints", "place"),
    [
        # upper arm up, forearm and hand ahead
        ((0, 0, 0, 0, 0), (AHEAD_M + 0.028 + 0.1349 + HAND_M, 0, UP_M + 0.11257 + 0.0052 - OFF_M)),
        # the same, turned to the right about the first axis
        (
            (QUARTER, 0, 0, 0, 0),
            (0.0388353, -(0.0303992 + 0.028 + 0.1349 + HAND_M), UP_M + 0.11257 + 0.0052 - OFF_M),
        ),
        # the whole arm tipped forwards: what was up is ahead, what was ahead is down
        (
            (0, QUARTER, 0, 0, 0),
            (AHEAD_M + 0.11257 + 0.0052 - OFF_M, 0, UP_M - (0.028 + 0.1349 + HAND_M)),
        ),
        # the forearm tipped down at the elbow
        ((0, 0, QUARTER, 0, 0), (AHEAD_M + 0.028 + 0.0052 - OFF_M, 0, UP_M + 0.11257 - 0.1349 - HAND_M)),
        # the hand tipped down at the wrist
        ((0, 0, 0, QUARTER, 0), (AHEAD_M + 0.028 + 0.1349 - OFF_M, 0, UP_M + 0.11257 + 0.0052 - HAND_M)),
        # a quarter turn of the hand: the tool, below the axis of the roll at first, is to the right of it
        (
            (0, 0, 0, 0, QUARTER + TWIST),
            (AHEAD_M + 0.028 + 0.1349 + HAND_M, 0.0181 - 0.0182778 - OFF_M, UP_M + 0.11257 + 0.0052),
        ),
    ],
)
def test_the_tool_is_where_the_lengths_of_the_links_say(joints, place) -> None:
    np.testing.assert_allclose(CHAIN.forward(joints).position_m, place, atol=5e-4)


def test_the_tool_points_out_of_the_gripper_and_opens_upwards_at_zero() -> None:
    x, y, z = columns_of(CHAIN.forward((0, 0, 0, 0, 0)).turn)
    np.testing.assert_allclose(z, (1, 0, 0), atol=1e-4)
    np.testing.assert_allclose(y, (0, 0, 1), atol=0.05)  # the roll's twist
    np.testing.assert_allclose(np.cross(y, z), x, atol=1e-9)


def test_the_jacobian_is_what_small_steps_come_to() -> None:
    generator, step = np.random.default_rng(0), 1e-6
    for _ in range(20):
        joints = generator.uniform(LOWER, UPPER)
        jacobian = CHAIN.jacobian(joints)
        for index in range(5):
            nudge = step * np.eye(5)[index]
            after, before = CHAIN.forward(joints + nudge), CHAIN.forward(joints - nudge)
            rate = [*difference(after.position_m, before.position_m), *between(before.turn, after.turn)]
            np.testing.assert_allclose(np.array(rate) / (2 * step), jacobian[:, index], atol=1e-6)


def test_what_joints_reach_is_found_again() -> None:
    generator = np.random.default_rng(1)
    turned = []
    for _ in range(200):
        joints = generator.uniform(LOWER, UPPER)
        pose = CHAIN.forward(joints)
        found = CHAIN.inverse(pose, joints + generator.uniform(-0.2, 0.2, 5))
        there = CHAIN.forward(found)
        assert (found >= LOWER).all() and (found <= UPPER).all()
        assert length(difference(there.position_m, pose.position_m)) < 5e-4
        turned.append(angle_between(there.turn, pose.turn))
    assert np.quantile(turned, 0.95) < 1e-3  # the rest are the other way to the same place


def test_small_steps_are_followed_without_a_leap_of_the_joints() -> None:
    home = CHAIN.forward(HOME)
    x, y, z = home.position_m
    joints = np.array(HOME)
    for angle in np.linspace(0, 2 * math.pi, 200):
        place = (x + 0.03 * math.sin(angle), y + 0.06 * math.sin(2 * angle), z + 0.03 * (1 - math.cos(angle)))
        found = CHAIN.inverse(Pose(place, home.turn), joints)
        assert np.abs(found - joints).max() < 0.06
        joints = found
        assert length(difference(CHAIN.forward(joints).position_m, place)) < 5e-4
    np.testing.assert_allclose(joints, HOME, atol=0.01)  # a closed way ends where it began


def cost(joints: np.ndarray, pose: Pose) -> float:
    """What the docstring of `inverse` says that it minimises."""
    there = CHAIN.forward(joints)
    far_m = length(difference(there.position_m, pose.position_m))
    return far_m**2 + (0.003 * angle_between(there.turn, pose.turn)) ** 2


def test_an_orientation_out_of_reach_is_approached_where_the_tool_should_be() -> None:
    generator = np.random.default_rng(2)
    for _ in range(30):
        joints = generator.uniform(0.6 * LOWER, 0.6 * UPPER)
        start = CHAIN.forward(joints)
        axis = generator.normal(size=3)
        turn = turn_of(tuple(0.4 * axis / np.linalg.norm(axis)))
        wanted = Pose(start.position_m, unit(product(turn, start.turn)))
        found = joints
        for _ in range(5):  # as a controller asks again and again
            found = CHAIN.inverse(wanted, found)
        there = CHAIN.forward(found)
        assert length(difference(there.position_m, wanted.position_m)) < 1e-3
        assert angle_between(there.turn, wanted.turn) < 0.4 + 1e-6
        least = cost(found, wanted)
        for _ in range(100):  # nothing nearby is better
            nearby = np.clip(found + generator.normal(scale=1e-3, size=5), LOWER, UPPER)
            assert cost(nearby, wanted) > least * (1 - 1e-3)


def test_what_lies_too_far_away_is_pointed_at_with_the_arm_stretched_out() -> None:
    target = Pose((1.0, 0.0, UP_M), CHAIN.forward(HOME).turn)
    joints = np.array(HOME)
    for _ in range(5):
        joints = CHAIN.inverse(target, joints)
    x, _, z = CHAIN.forward(joints).position_m
    # 0.116 m of upper arm, 0.135 m of forearm and the hand, in one line from the shoulder
    reach_m = math.hypot(0.11257, 0.028) + math.hypot(0.1349, 0.0052) + math.hypot(HAND_M, OFF_M)
    assert x == pytest.approx(AHEAD_M + reach_m, abs=0.003)
    assert z == pytest.approx(UP_M, abs=0.005)


def test_limits_narrower_than_the_models_are_kept() -> None:
    narrow = So101Kinematics(0.3 * LOWER, 0.3 * UPPER)
    found = narrow.inverse(CHAIN.forward((0.9, 0, 0, 0, 0)), np.zeros(5))
    assert found[0] == pytest.approx(0.3 * UPPER[0])
