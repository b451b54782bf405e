"""Holds are found however many there are; lost frames are no holds."""

from __future__ import annotations

import numpy as np
import pytest

from robofb.store.gaps import find_gaps, find_holds, num_pauses

DT_S = 0.1


def times(*intervals: float) -> np.ndarray:
    return np.cumsum([0.0, *intervals])


@pytest.mark.parametrize("pauses", [1, 20])
def test_each_gap_of_an_episode_that_counts_pauses_is_one(pauses: int) -> None:
    often = times(DT_S, 1.6, 1.6, 0.17, 1.6, DT_S, 1.6)
    assert find_holds(often, DT_S, {"pauses": pauses}).tolist() == [2, 3, 4, 5, 7]
    assert find_holds(times(60.0), DT_S, {"pauses": pauses}).tolist() == [1]


@pytest.mark.parametrize("meta", [{}, {"pauses": 0}, {"pauses": "two"}])
def test_of_others_the_quickest_quarter_says_what_is_usual(meta: dict[str, object]) -> None:
    assert find_holds(times(0.125, 60.0, 0.125, 60.0, 60.0), DT_S, meta).tolist() == [2, 4, 5]
    assert find_holds(times(*[0.5] * 6), DT_S, meta).tolist() == []  # slower than it says, all of it
    assert find_holds(times(DT_S, 2 * DT_S, 3 * DT_S, DT_S, 4 * DT_S), DT_S, meta).tolist() == [5]


def test_a_lost_frame_is_a_gap_and_no_hold() -> None:
    assert find_gaps(times(DT_S, 2 * DT_S, DT_S), DT_S).tolist() == [2]


@pytest.mark.parametrize("count", [0, 1])
def test_so_few_observations_have_none(count: int) -> None:
    few = np.zeros(count)
    assert not len(find_gaps(few, DT_S)) and not len(find_holds(few, DT_S, {"pauses": 3}))


def test_only_a_number_counts_pauses() -> None:
    assert [num_pauses({"pauses": value}) for value in (2, "2", True, 2.0, None)] == [2] + [None] * 4
