"""Trials of what anybody did in a task say nothing of it by who acted."""

from __future__ import annotations

from dataclasses import replace

import torch

from rl.borel.examples import walks
from robofb.rl.borel.visits import VisitDraw


def marked(by: list[list[int]], lengths: list[list[int]]) -> VisitDraw:
    """Draw from walks whose rewards say the log and the number of the episode: 100 n + e."""
    histories = walks(num_agents=len(by), episodes=len(by[0]), ragged=False)
    number = 100 * torch.arange(len(by))[:, None] + torch.arange(len(by[0]))
    reward = number[..., None].expand_as(histories.reward).float()
    made = replace(histories, reward=reward, by=torch.tensor(by), length=torch.tensor(lengths))
    return VisitDraw(made, 3, torch.Generator().manual_seed(0))


def test_each_agent_that_was_there_acts_as_often_in_the_tasks_own_world() -> None:
    """The first log: its own agent four times, two visitors once each. 1/3 each, so 1/12 an own episode."""
    draw = marked([[0, 0, 1, 0, 2, 0], [1, 1, 1, 1, 1, 1]], [[5, 5, 5, 5, 5, 5], [5, 5, 5, 0, 0, 0]])
    trials = draw.of(torch.tensor([0] * 4000 + [1] * 1000))
    drawn = trials.reward.view(5000, 3, 5)[:, :, 0]
    share = torch.bincount(drawn[:4000].flatten().long(), minlength=6) / 12000
    assert ((share - torch.tensor([1, 1, 4, 1, 4, 1]) / 12).abs() < 0.015).all()
    assert drawn[4000:].unique().tolist() == [100, 101, 102]  # no episodes that are not there
    assert torch.equal(trials.task, torch.tensor([0] * 4000 + [1] * 1000))


def test_tasks_come_once_and_steps_are_from_anywhere_in_their_world() -> None:
    draw = marked([[0, 1], [1, 0], [2, 2]], [[5, 2], [5, 5], [5, 5]])
    assert torch.bincount(draw(3, 4).task).tolist() == [4, 4, 4]
    steps = draw.steps(torch.tensor([0, 2]), 2000)
    assert steps.valid.all() and steps.obs.shape[:2] == (2, 2000)
    assert steps.reward[0].unique().tolist() == [0, 1] and steps.reward[1].unique().tolist() == [200, 201]
    ends = steps.ends[0].float()
    of_first, of_second = (ends[steps.reward[0] == number].mean() for number in (0, 1))
    assert abs(of_first - 0.2) < 0.04 and abs(of_second - 0.5) < 0.05  # of five steps, and of two
