"""What worlds on a grid share, against examples drawn by hand."""

import torch

from robofb.envs.teacher.grid import one_hot_planes, seen, view_cells

# abc
# def
# ghi
LETTERS = "abcdefghi."  # the last stands for all beyond


def shown(cell, heading, view=3):
    """Return what an agent on the 3 x 3 map sees, its rows as words."""
    cells = view_cells(3, 3, view)[LETTERS.index(cell) * 4 + heading].reshape(view, view)
    return ["".join(LETTERS[index] for index in row) for row in cells.tolist()]


def test_views_turn_with_the_agent():
    """It stands in the middle of the last row: facing up, the map is as it is drawn."""
    assert shown("h", 3) == ["abc", "def", "ghi"]
    assert shown("d", 0) == ["cfi", "beh", "adg"]  # facing right, left of it is up
    assert shown("b", 1) == ["ihg", "fed", "cba"]
    assert shown("f", 2) == ["gda", "heb", "ifc"]


def test_views_reach_beyond_the_map():
    assert shown("e", 3) == ["...", "abc", "def"]
    assert shown("c", 0) == ["...", "...", ".cf"]
    # facing down from a, its left is right on the map: five rows, of which three lie on it
    assert shown("a", 1, 5) == [".....", ".....", "ihg..", "fed..", "cba.."]


def test_sight_goes_around_corners_but_not_through_walls():
    """A hallway with a door on its right: the room behind is seen, what lies behind closed walls is not."""
    view = [
        "#####",
        "#...#",  # out of sight: the wall below it is closed
        "#####",
        "##...",
        "##.##",  # the agent stands here, in the middle
    ]
    opaque = torch.tensor([[[cell == "#" for cell in row] for row in view]])
    expected = [
        ".....",
        ".....",
        ".xxxx",
        ".xxxx",
        ".xxxx",
    ]
    assert seen(opaque)[0].tolist() == [[cell == "x" for cell in row] for row in expected]


def test_planes_hold_one_at_the_kind_of_each_cell():
    kinds = torch.tensor([[[0, 2], [1, 2]], [[2, 2], [0, 0]]], dtype=torch.uint8)
    planes = one_hot_planes(kinds, 3)
    assert planes.shape == (2, 3, 2, 2) and planes.dtype == torch.uint8
    assert planes[0].tolist() == [[[1, 0], [0, 0]], [[0, 0], [1, 0]], [[0, 1], [0, 1]]]
    assert torch.equal(planes.argmax(1), kinds.to(torch.int64))
