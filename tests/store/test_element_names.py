"""Positions, rotations and poses found by the names of their elements."""

from robofb.store.element_names import (
    PoseColumns,
    commanded_bodies,
    find_groups,
    find_hand,
    find_poses,
    gripper_columns,
)
from robofb.types import ArraySpec, EnvSpec


def array_of(*names):
    return ArraySpec((len(names),), names=names)


def test_groups_are_found_by_name_in_the_order_of_their_axes():
    array = array_of(
        "cup_pos_base_z",
        "cup_pos_base_x",
        "other",
        "cup_pos_base_y",
        "lid_pos_base_x",
        "peg_x_tanh_1cm",
    )
    (group,) = find_groups("state", array, "pos")  # the lid has no y
    assert (group.body, group.frame, group.columns) == ("cup", "base", (1, 3, 0))
    assert group.label == "state cup_pos_base"
    (group,) = find_groups("state", array_of("quat_0", "quat_1", "quat_2", "quat_3"), "quat")
    assert (group.body, group.frame, group.columns) == ("", "", (0, 1, 2, 3))
    assert gripper_columns(array_of("ee_x", "gripper_width")) == [1]


def test_poses_are_found_by_their_names():
    names = ("a_pos_base_x", "w", "a_pos_base_y", "a_pos_base_z", *(f"a_rot6d_base_{i}" for i in range(6)))
    assert find_poses(array_of(*names)) == [PoseColumns((0, 2, 3), (4, 5, 6, 7, 8, 9), "base", "a")]
    assert find_poses(array_of(*names[:2])) == []  # not a whole position
    assert find_poses(array_of("pos_x", "pos_y", "pos_z")) == []  # of what, in which frame?
    (pose,) = find_poses(array_of(*names[:4], *(f"a_rot6d_w_{i}" for i in range(6))))
    assert pose.rotation == ()  # given in another frame


def test_the_hand_is_found_in_the_first_observation_that_names_it():
    hand = array_of(*(f"ee_pos_base_{axis}" for axis in "xyz"))
    cup = array_of(*(f"cup_pos_base_{axis}" for axis in "xyz"))
    spec = EnvSpec("t", {"cup": cup, "arm": hand, "more": hand}, hand, 0.1, 9)
    assert find_hand(spec) == ("arm", PoseColumns((0, 1, 2), (), "base", "ee"))
    assert commanded_bodies(spec) == {"ee"}
    assert find_hand(EnvSpec("t", {"cup": cup}, cup, 0.1, 9)) is None
