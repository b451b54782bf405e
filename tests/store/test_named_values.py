"""Quantities found by the names of their elements."""

import numpy as np
from episode_examples import make_episode

from robofb.store.named_values import find_values, group_values, pose_tracks, value_groups
from robofb.types import ArraySpec, EnvSpec

NAMES = (
    *(f"leg_pos_base_{axis}" for axis in "xyz"),
    "gripper_width",
    *(f"leg_rot6d_base_{index}" for index in range(6)),
    *(f"top_pos_w_{axis}" for axis in "xyz"),
)
SPEC = EnvSpec(
    task="named",
    obs={
        "state": ArraySpec((13,), names=NAMES),
        "image": ArraySpec((3, 4, 5), "uint8"),
        "plain": ArraySpec((2,)),
    },
    action=ArraySpec((2,), names=("gripper", "speed_x")),
    control_dt=0.1,
    max_steps=9,
)


def test_groups_are_the_names_without_their_axis():
    assert value_groups(SPEC) == {
        ("state", "leg_pos_base"): [0, 1, 2],
        ("state", "gripper_width"): [3],
        ("state", "leg_rot6d_base"): [4, 5, 6, 7, 8, 9],
        ("state", "top_pos_w"): [10, 11, 12],
        ("plain", ""): [0, 1],
        ("action", "gripper"): [0],
        ("action", "speed"): [1],
    }


def test_values_of_a_group_are_its_columns():
    episode = make_episode(1, 4, SPEC)
    np.testing.assert_array_equal(group_values(episode, "state", [4, 6]), episode.obs["state"][:, [4, 6]])
    np.testing.assert_array_equal(group_values(episode, "action", [1]), episode.action[:, [1]])
    found = find_values(episode, value_groups(SPEC), ".*width")
    assert list(found) == ["gripper_width"]


def test_a_pose_is_read_from_position_and_the_columns_of_its_matrix():
    """Columns (0, 1, 0) and (-1, 0, 0): a quarter turn about z, quaternion (sqrt(1/2), 0, 0, sqrt(1/2))."""
    episode = make_episode(1, 2, SPEC)
    episode.obs["state"][:, 4:10] = [0, 1, 0, -1, 0, 0]
    leg, top = pose_tracks(SPEC, episode)
    assert (leg.thing, leg.frame, top.thing, top.frame) == ("leg", "base", "top", "w")
    np.testing.assert_allclose(leg.pos_m, episode.obs["state"][:, :3])
    np.testing.assert_allclose(leg.quat_wxyz, np.tile([0.5**0.5, 0, 0, 0.5**0.5], (3, 1)), atol=1e-7)
    assert top.quat_wxyz is None
