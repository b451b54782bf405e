"""The benchmark that holds beliefs in GridNavi against Bayes' rule, by hand."""

from __future__ import annotations

import pytest
import torch
from borel_posterior import Posterior, blind, exact_of, judged

from robofb.envs.meta.grid_navi import GridNavi
from robofb.rl.histories import Trials

NEVER = torch.zeros(1, 2, dtype=torch.bool)
SEEN = torch.tensor([[[False] * 4, [True, True, False, False]]])  # two of four cells after one step


def test_what_a_walk_excludes_and_finds() -> None:
    """Over (1, 0), where no goal can be, and (2, 0), which is none, to (2, 1), which is one."""
    way = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [2.0, 1.0], [2.0, 0.0]]])
    valid = torch.ones(1, 4, dtype=torch.bool)
    trials = Trials(
        obs=way[:, :-1],
        action=torch.zeros(1, 4, 1, dtype=torch.int64),
        next_obs=way[:, 1:],
        reward=torch.tensor([[-0.1, -0.1, 1.0, -0.1]]),
        valid=valid,
        episode=torch.zeros(1, 4, dtype=torch.int64),
        ends=~valid,
        starts=way[:, :1],
        task=torch.zeros(1, dtype=torch.int64),
    )
    family = GridNavi()
    exact = exact_of(trials, family)
    cells = [tuple(cell) for cell in family.all_params().tolist()]
    excluded = torch.zeros(5, 21, dtype=torch.bool)
    excluded[2:, cells.index((2.0, 0.0))] = True
    assert torch.equal(exact.seen[0], excluded)
    assert exact.found[0].tolist() == [False, False, False, True, True]


def test_chances_are_judged_against_one_over_what_is_left() -> None:
    """Open cells at 0.4 and 0.1 where 0.5 is right, excluded ones at 0.2 and 0.05: three of four pairs."""
    chances = torch.tensor([[[0.25] * 4, [0.2, 0.05, 0.4, 0.1]]])
    row = judged(chances, Posterior(SEEN, NEVER), 1, 4)
    assert row["beliefs"] == 1 and row["exact_others"] == 0.5
    assert row["others"] == pytest.approx(0.25) and row["seen"] == pytest.approx(0.125)
    assert row["pairs_right"] == 0.75
    assert judged(chances, Posterior(SEEN, NEVER), 3, 4) == {}
    assert judged(chances, Posterior(SEEN, ~NEVER), 1, 4) == {}  # the goal was found


def test_a_belief_is_blind_to_cells_that_keep_their_chance() -> None:
    """The first cell falls from 0.3 to 0.03, the second keeps 0.3; the others were never seen."""
    chances = torch.tensor([[[0.3] * 4, [0.03, 0.3, 0.3, 0.3]]])
    assert blind(chances, Posterior(SEEN, NEVER)) == 1
