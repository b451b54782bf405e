"""Maps of Lava Crossing, drawn for many episodes at once, and the lengths of their shortest ways in closed form.

Rivers of lava run from wall to wall, each with one gap. The gaps lie on one random way through the rooms between
rivers that only ever crosses to the right and down: so the rooms which can be reached are a chain, and the shortest
way leads through the gaps in their order. Rooms are empty rectangles, in which a way's length is that of its
moves and turns. No search is needed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robofb.rng import EpisodeRng

UNSEEN, WALL, FREE, LAVA, GOAL = range(5)
"""What a cell is; beyond the map nothing is seen."""

_RIGHT, _DOWN = 0, 1  # headings in which gaps are crossed
_TURNS_INTO_GAP = ((0, 2, 2), (1, 1, 3), (2, 2, 2), (1, 3, 1))
"""Quarter turns to enter a gap ahead, by heading against the gap's, and by whether the gap lies straight ahead,
further to its right, or further to its left."""


class Maps(NamedTuple):
    """Maps of N episodes.

    Attributes:
        kinds: (N, size * size + 1) uint8 of each flat cell; the last stands for all beyond the map.
        rooms: (N, size * size) uint8, how many gaps one has come through who stands in a cell, the gap itself
            among them. Says nothing where nobody can be.
        route: (N, rivers + 1, 4) int16: x, y and heading of each gap, and the steps that are left in it to the
            goal; the last is the goal itself.
    """

    kinds: Tensor
    rooms: Tensor
    route: Tensor


def draw_maps(rng: EpisodeRng, size: int, rivers: int) -> Maps:
    """Draw maps of `size` x `size` cells with `rivers` rivers on even coordinates, one for each row of `rng`."""
    lines = torch.arange(2, size - 2, 2, device=rng.device)
    drawn = rng.uniform(2 * len(lines) + 2 * rivers)
    order, keys, where = drawn.split([2 * len(lines), rivers, rivers], 1)
    chosen = torch.zeros_like(order, dtype=torch.bool).scatter(1, order.argsort(1)[:, :rivers], True)
    upright, level = chosen.split(len(lines), 1)  # (N, lines) each
    crosses_right = keys.argsort(1).argsort(1) < upright.sum(1, keepdim=True)  # (N, rivers), in their order
    route = _gaps(_edges(upright, lines, size), _edges(level, lines, size), crosses_right, where)
    route = torch.cat([route, route.new_tensor([size - 2, size - 2, _RIGHT]).expand(len(route), 1, 3)], 1)
    x_rooms, y_rooms = _rooms_along(upright, lines, size), _rooms_along(level, lines, size)
    rooms = (y_rooms[:, :, None] + x_rooms[:, None]).flatten(1)
    kinds = _kinds(_is_river(upright, lines, size), _is_river(level, lines, size), route, size)
    route = torch.cat([route, _steps_left(route)[..., None]], -1)
    return Maps(kinds, rooms.to(torch.uint8), route.to(torch.int16))


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


def _rooms_along(chosen: Tensor, lines: Tensor, size: int) -> Tensor:
    """Return (N, size) int64, rivers up to each coordinate, itself included."""
    return _is_river(chosen, lines, size).cumsum(1)


def _kinds(upright: Tensor, level: Tensor, route: Tensor, size: int) -> Tensor:
    """Return `Maps.kinds` of rivers at x (N, size) and at y (N, size), and of a route (N, rivers + 1, 3)."""
    lava = upright[:, None] | level[:, :, None]
    kinds = torch.where(lava, LAVA, FREE).to(torch.uint8)
    kinds[:, [0, -1]] = kinds[:, :, [0, -1]] = WALL
    kinds = kinds.flatten(1).scatter(1, route[..., 1] * size + route[..., 0], FREE)
    kinds[:, (size - 2) * (size + 1)] = GOAL
    return torch.cat([kinds, kinds.new_full((len(kinds), 1), UNSEEN)], 1)


def _steps_left(route: Tensor) -> Tensor:
    """Return the steps (N, rivers + 1) left in each gap of a route (N, rivers + 1, 3), once one faces across it."""
    here, then = route[:, :-1], route[:, 1:]
    legs = torch.cat([_into_gap(here, then)[:, :-1], _to_goal(here, then)[:, -1:]], 1)
    left = legs.flip(1).cumsum(1).flip(1)
    return torch.cat([left, torch.zeros_like(route[:, :1, 0])], 1)


def steps_to_goal(maps: Maps, cell: Tensor, heading: Tensor, size: int) -> Tensor:
    """Return (N, K) int64 the fewest steps from K places that can be reached to the goal.

    Args:
        cell, heading: (N, K) int64, the flat cell and the heading of each place.
    """
    passed = maps.rooms.gather(1, cell).to(torch.int64)
    last = maps.route.shape[1] - 1
    x, y = cell % size, cell // size
    gap = _at(maps.route, (passed - 1).clamp_min(0))
    in_gap = (passed > 0) & (gap[..., 0] == x) & (gap[..., 1] == y)
    turns = torch.where(in_gap, _quarters(heading, gap[..., 2]), 0)  # only across a gap a way leads on
    here = torch.stack([x, y, torch.where(in_gap, gap[..., 2], heading)], -1)
    then = _at(maps.route, passed)
    way = torch.where(passed == last, _to_goal(here, then), _into_gap(here, then))
    return turns + way + then[..., 3]


def _at(route: Tensor, index: Tensor) -> Tensor:
    """Return (N, K, 4) int64, the rows `index` (N, K) of a route (N, R, 4)."""
    return route.gather(1, index[..., None].expand(*index.shape, route.shape[-1])).to(torch.int64)


def _into_gap(here: Tensor, gap: Tensor) -> Tensor:
    """Return the steps (...) from x, y, heading (..., 3) in a room into a gap (..., 3+) out of it, facing across."""
    right, down = gap[..., 0] - here[..., 0], gap[..., 1] - here[..., 1]
    aside = torch.where(gap[..., 2] == _RIGHT, down, -right)  # to the right hand of who faces across the gap
    side = torch.where(aside > 0, 1, torch.where(aside < 0, 2, 0))
    table = torch.tensor(_TURNS_INTO_GAP, device=here.device).flatten()
    return right.abs() + down.abs() + table[(here[..., 2] - gap[..., 2]) % 4 * 3 + side]


def _to_goal(here: Tensor, goal: Tensor) -> Tensor:
    """Return the steps (...) from x, y, heading (..., 3) in the last room to the goal in its lower right corner."""
    right, down = goal[..., 0] - here[..., 0], goal[..., 1] - here[..., 1]
    to_right, to_down = _quarters(here[..., 2], _RIGHT), _quarters(here[..., 2], _DOWN)
    both = 1 + torch.minimum(to_right, to_down)
    straight = torch.where(right > 0, to_right, torch.where(down > 0, to_down, 0))
    return right + down + torch.where((right > 0) & (down > 0), both, straight)


def _quarters(heading: Tensor, wanted: Tensor | int) -> Tensor:
    """Return how many quarter turns lead from one heading to another, the shorter way around."""
    turned = (heading - wanted) % 4
    return torch.minimum(turned, 4 - turned)
