"""What is earned by episode of a trial, whether episodes end together or not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from robofb.envs.meta.grid_navi import GridNavi
from robofb.evaluate_trials import evaluate_trials
from robofb.rng import EpisodeRng
from robofb.sim.torch_env import Outcome, State
from robofb.types import Obs, Step


class Knows:
    """Walk the shortest way to a goal that it is told."""

    def __init__(self, task: GridNavi) -> None:
        self._teacher, self.began, self.watched = task.teacher(), 0, 0

    def begin(self, seeds: Tensor) -> None:
        self.began += 1

    def next(self, obs: Obs) -> Tensor:
        return self._teacher.answer(obs).argmax(-1, keepdim=True)

    def watch(self, obs: Obs, action: Tensor, step: Step) -> None:
        self.watched += 1


class EndsAtTheGoal(GridNavi):
    """The same world, whose episodes end at the goal."""

    def advance(self, state: State, action: Tensor, rng: EpisodeRng) -> Outcome:
        outcome = super().advance(state, action, rng)
        return outcome._replace(terminated=outcome.success)


def test_who_knows_the_goal_earns_the_same_in_every_episode() -> None:
    task = GridNavi()
    params, agent = task.all_params(), Knows(task)
    env = task.fixed(params).make_env(21)
    result = evaluate_trials(agent, env, params, 4, seed=0)
    steps = params.sum(1)  # from (0, 0); the last one is paid, like those after it
    expected = (-0.1 * (steps - 1) + (15 - steps + 1)).numpy()
    for episode in range(4):
        assert result.returns[:, episode] == pytest.approx(expected, abs=1e-5)
    assert result.total == pytest.approx(44.29, abs=0.01)
    assert result.success.all() and (result.length == 15).all()
    assert (agent.began, agent.watched) == (1, 60)
    facts = result.to_dict()
    assert facts["returns"] == pytest.approx([11.0714] * 4, abs=1e-3)
    spread = expected.std(ddof=1) / 21**0.5
    assert facts["standard_errors"] == pytest.approx([spread] * 4, rel=1e-4)
    assert facts["success"][3]["successes"] == 21


def test_who_is_quicker_waits_for_the_others_and_earns_nothing_more() -> None:
    task = EndsAtTheGoal()
    params = torch.tensor([[2.0, 0.0], [4.0, 4.0]])
    result = evaluate_trials(Knows(task), task.fixed(params).make_env(2), params, 3, seed=0)
    assert result.length.tolist() == [[2, 2, 2], [8, 8, 8]]
    assert result.returns == pytest.approx(torch.tensor([[0.9] * 3, [0.3] * 3]).numpy(), abs=1e-5)
    assert result.success.all()
