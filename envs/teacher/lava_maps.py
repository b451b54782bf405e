"""Maps of Lava Crossing, drawn for many episodes at once, and the lengths of their shortest ways.

Rivers of lava run from wall to wall, each with one gap. The gaps lie on one random way through the rooms
between rivers, which crosses only to the right and down: so the rooms that can be reached are a chain, and
every way to the goal leads through the gaps that remain, in their order. Rooms are empty rectangles: a
shortest way through them is as long as its moves and turns. No search is needed.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise, permutations, product
from typing import NamedTuple

import torch
from torch import Tensor

from robofb.rng import EpisodeRng

UNSEEN, WALL, FREE, LAVA, GOAL = range(5)
"""What a cell is; beyond the map nothing is seen."""

_RIGHT, _DOWN = 0, 1  # headings in which gaps are crossed; where a gap leads, with `_ANYWHERE` for the goal
_ANYWHERE = 2
_IN_NO_GAP = 2  # else the heading in which that gap is crossed


class Maps(NamedTuple):
    """Maps of N episodes.

    Attributes:
        kinds: (N, size * size + 1) uint8 of each flat cell; the last stands for all beyond the map.
        places: (N, size * size) uint8: 3 times the number of gaps that lead to a cell, itself included, plus
            the heading in which the cell is crossed if it is a gap, else 2. Says nothing where nobody can be.
        route: (N, rivers + 1, 4) int16: x and y of each gap, the heading in which it is crossed, and the
            steps from there to the goal once one faces that way; the last is the goal itself, of heading 2.
    """

    kinds: Tensor
    places: Tensor
    route: Tensor


def draw_maps(rng: EpisodeRng, size: int, rivers: int) -> Maps:
    """Draw maps of `size` x `size` cells with rivers on even coordinates, one for each row of `rng`."""
    lines = torch.arange(2, size - 2, 2, device=rng.device)
    drawn = rng.uniform(2 * len(lines) + 2 * rivers)
    order, keys, where = drawn.split([2 * len(lines), rivers, rivers], 1)
    chosen = torch.zeros_like(order, dtype=torch.bool).scatter(1, order.argsort(1)[:, :rivers], True)
    upright, level = chosen.split(len(lines), 1)  # (N, lines) each
    crosses_right = keys.argsort(1).argsort(1) < upright.sum(1, keepdim=True)  # (N, rivers), in their order
    gaps = _gaps(_edges(upright, lines, size), _edges(level, lines, size), crosses_right, where)
    goal = gaps.new_tensor([size - 2, size - 2, _ANYWHERE]).expand(len(gaps), 1, 3)
    route = torch.cat([gaps, goal], 1)
    at_x, at_y = _is_river(upright, lines, size), _is_river(level, lines, size)
    kinds = _kinds(at_x, at_y, gaps, size)
    places = 3 * (at_y.cumsum(1)[:, :, None] + at_x.cumsum(1)[:, None]).flatten(1) + _IN_NO_GAP
    gap_cells = gaps[..., 1] * size + gaps[..., 0]
    places = places.scatter_add(1, gap_cells, gaps[..., 2] - _IN_NO_GAP)
    route = torch.cat([route, _steps_left(route)[..., None]], -1)
    return Maps(kinds, places.to(torch.uint8), route.to(torch.int16))


def _edges(chosen: Tensor, lines: Tensor, size: int) -> Tensor:
    """Return (N, lines + 2) int64: wall, rivers in their order, wall, and walls again for want of rivers."""
    rivers = torch.where(chosen, lines, size - 1).sort(1).values
    wall = rivers.new_zeros(len(rivers), 1)
    return torch.cat([wall, rivers, wall + size - 1], 1)


def _gaps(x_edges: Tensor, y_edges: Tensor, crosses_right: Tensor, where: Tensor) -> Tensor:
    """Return x, y and heading (N, rivers, 3) of the gaps.

    Args:
        x_edges, y_edges: (N, lines + 2) where rooms begin and end.
        crosses_right: (N, rivers) bool, which gaps lead to the right; the others lead down.
        where: (N, rivers) uniform in [0, 1), place along the wall of the room.
    """
    right = crosses_right.to(torch.int64)
    column = right.cumsum(1) - right  # of the room before the gap
    row = (1 - right).cumsum(1) - (1 - right)
    x_low, x_high = x_edges.gather(1, column), x_edges.gather(1, column + 1)
    y_low, y_high = y_edges.gather(1, row), y_edges.gather(1, row + 1)
    x_free = x_low + 1 + (where * (x_high - x_low - 1)).to(torch.int64)
    y_free = y_low + 1 + (where * (y_high - y_low - 1)).to(torch.int64)
    x, y = torch.where(crosses_right, x_high, x_free), torch.where(crosses_right, y_free, y_high)
    return torch.stack([x, y, torch.where(crosses_right, _RIGHT, _DOWN)], -1)


def _is_river(chosen: Tensor, lines: Tensor, size: int) -> Tensor:
    """Return (N, size) bool."""
    river = chosen.new_zeros(len(chosen), size)
    return river.index_copy(1, lines, chosen)


def _kinds(at_x: Tensor, at_y: Tensor, gaps: Tensor, size: int) -> Tensor:
    """Return `Maps.kinds` of rivers at x and at y (N, size) bool and of gaps (N, rivers, 3)."""
    kinds = torch.where(at_x[:, None] | at_y[:, :, None], LAVA, FREE).to(torch.uint8)
    kinds[:, [0, -1]] = kinds[:, :, [0, -1]] = WALL
    kinds = kinds.flatten(1).scatter(1, gaps[..., 1] * size + gaps[..., 0], FREE)
    kinds[:, (size - 2) * (size + 1)] = GOAL
    return torch.cat([kinds, kinds.new_full((len(kinds), 1), UNSEEN)], 1)


def _steps_left(route: Tensor) -> Tensor:
    """Return the steps (N, rivers + 1) left in each gap of a route (N, rivers + 1, 3), facing across it."""
    here, there = route[:, :-1], route[:, 1:]
    right, down = there[..., 0] - here[..., 0], there[..., 1] - here[..., 1]
    turns = turns_left(_case(here[..., 2], there[..., 2], right, down), here[..., 2])
    left = (right.abs() + down.abs() + turns).flip(1).cumsum(1).flip(1)
    return torch.cat([left, torch.zeros_like(left[:, :1])], 1)


def steps_to_goal(maps: Maps, x: Tensor, y: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return moves and case (N, K) int64 each of the shortest ways from K cells (N, K) to the goal.

    The fewest steps of one with a heading there are the moves and `turns_left` of case and heading.
    """
    place = maps.places.gather(1, y * size + x).to(torch.int64)
    passed = torch.div(place, 3, rounding_mode="floor")
    route = maps.route.gather(1, passed[..., None].expand(*passed.shape, 4)).to(torch.int64)
    right, down = route[..., 0] - x, route[..., 1] - y
    case = _case(place - 3 * passed, route[..., 2], right, down)
    return right.abs() + down.abs() + route[..., 3], case


def _case(gap: Tensor, towards: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Return the row of `_turns_table`.

    Args:
        gap: heading in which the gap one stands in is crossed, or `_IN_NO_GAP`.
        towards: heading in which what comes next is entered, or `_ANYWHERE`.
        right, down: cells to there.
    """
    return ((gap * 3 + towards) * 3 + right.sign() + 1) * 3 + down.sign() + 1


def turns_left(case: Tensor, heading: Tensor) -> Tensor:
    """Return the quarter turns of a way's next stretch, by its case (see `steps_to_goal`) and the heading."""
    return _turns_table().to(case.device)[case * 4 + heading]


@cache
def _turns_table() -> Tensor:
    """Return (81 * 4,) int64: quarter turns by the arguments of `_turns` in their order."""
    cases = product((_RIGHT, _DOWN, _IN_NO_GAP), (_RIGHT, _DOWN, _ANYWHERE), (-1, 0, 1), (-1, 0, 1), range(4))
    return torch.tensor([_turns(*case) for case in cases])


def _turns(gap: int, towards: int, right: int, down: int, heading: int) -> int:
    """Return the fewest quarter turns: across the gap one stands in, then straight lines in any order."""
    if gap != _IN_NO_GAP:
        return _quarters(heading, gap) + _turns(_IN_NO_GAP, towards, right, down, gap)
    lines = ([0] if right > 0 else [2] if right < 0 else []) + ([1] if down > 0 else [3] if down < 0 else [])
    ways = [[heading, *order] for order in permutations(lines)]
    if towards != _ANYWHERE:  # moves along the gap's direction are made last: they enter it
        ways = [[*way, towards] for way in ways]
    return min(sum(_quarters(a, b) for a, b in pairwise(way)) for way in ways)


def _quarters(heading: int, wanted: int) -> int:
    """Return how many quarter turns lead from one heading to another, the shorter way around."""
    return min((heading - wanted) % 4, (wanted - heading) % 4)
