"""The benchmark that holds beliefs in PointRobotSparse against Bayes' rule, by hand."""

from __future__ import annotations

import pytest
import torch
from borel_arc import compared, expected_pay, goals, possible

from robofb.rl.histories import Trials

EAST_NORTH_WEST = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])


def trials(places: list[tuple[float, float]], rewards: list[float]) -> Trials:
    way = torch.tensor([[(0.0, 0.0), *places]])
    valid = torch.ones(1, len(places), dtype=torch.bool)
    return Trials(
        obs=way[:, :-1],
        action=torch.zeros(1, len(places), 2),
        next_obs=way[:, 1:],
        reward=torch.tensor([rewards]),
        valid=valid,
        episode=torch.zeros(1, len(places), dtype=torch.int64),
        ends=~valid,
        starts=way[:, :1],
        task=torch.zeros(1, dtype=torch.int64),
    )


def test_steps_exclude_goals_until_one_is_found() -> None:
    left = possible(trials([(0.5, 0.5), (0.9, 0.1), (0.1, 0.9)], [0.0, 0.0, 1.0]), EAST_NORTH_WEST)
    assert left[0].tolist() == [[True] * 3, [True] * 3, [False, True, True], [False, True, False]]


def test_what_is_expected_is_the_share_of_the_goals_left() -> None:
    left = torch.tensor([[[True, True, True], [False, True, True], [False, True, False]]])
    pay = expected_pay(left, EAST_NORTH_WEST, torch.tensor([[0.95, 0.0], [0.0, 0.95], [0.0, 0.0]]))
    expected = [[1 / 3, 1 / 3, 0.0], [0.0, 1 / 2, 0.0], [0.0, 1.0, 0.0]]
    torch.testing.assert_close(pay[0], torch.tensor(expected))


def test_goals_lie_on_the_half_circle() -> None:
    assert goals().shape == (73, 2)
    torch.testing.assert_close(goals().norm(dim=1), torch.ones(73))
    assert (goals()[:, 1] > -1e-6).all()


def test_comparison_by_hand() -> None:
    told, exact = torch.tensor([[[0.0, 1.0], [9.0, 9.0]]]), torch.tensor([[[0.0, 0.5], [0.0, 0.0]]])
    found = compared(told, exact, torch.tensor([[True, False]]))
    assert found["beliefs"] == 1 and found["correlation"] == pytest.approx(1.0)
    assert found["rms_error"] == pytest.approx((0.25 / 2) ** 0.5)
