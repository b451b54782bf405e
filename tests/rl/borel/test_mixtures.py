"""Mixtures are anybody's steps, paid as one task would have paid them."""

from __future__ import annotations

import pytest
import torch

from rl.borel.examples import FAMILY, walks
from robofb.rl.borel.mixtures import Mixing, MixtureDraw
from robofb.rl.histories import Histories, Trials


def draw(histories: Histories, mixing: Mixing, tasks: torch.Tensor | None = None) -> MixtureDraw:
    generator = torch.Generator().manual_seed(0)
    return MixtureDraw(histories, FAMILY, histories.params if tasks is None else tasks, mixing, generator)


def own_reward(histories: Histories, trials: Trials) -> torch.Tensor:
    params = histories.params[trials.task][:, None]
    return FAMILY.relabel(params, trials.obs, trials.action, trials.next_obs)


@pytest.mark.parametrize("mixing", [Mixing(4), Mixing(7, piece=5), Mixing(2, piece=5, early=3.0)])
def test_every_step_earns_what_the_trials_task_pays(mixing: Mixing) -> None:
    histories = walks(horizon=12, episodes=8)
    trials = draw(histories, mixing)(4, 25)
    assert torch.bincount(trials.task).tolist() == [25] * 4
    assert trials.obs.shape[1] == mixing.episodes * (
        12 if mixing.piece is None else 15
    )  # 15: three pieces of 5
    valid = trials.valid
    torch.testing.assert_close(trials.reward[valid], own_reward(histories, trials)[valid])
    assert (trials.reward[valid] > 0).any()


def test_pieces_longer_than_episodes_are_episodes() -> None:
    histories = walks(horizon=12, episodes=8, ragged=False)
    long, exact = (draw(histories, Mixing(4, piece=piece)).of(torch.arange(4)) for piece in (500, 12))
    assert torch.equal(long.obs, exact.obs) and long.obs.shape[1] == 48


def test_tasks_may_be_others_than_the_agents() -> None:
    histories = walks(horizon=12, episodes=8)
    tasks = FAMILY.all_params()[[20, 3]]
    trials = draw(histories, Mixing(4), tasks).of(torch.tensor([0, 1, 1]))
    paid = FAMILY.relabel(tasks[[0, 1, 1]][:, None], trials.obs, trials.action, trials.next_obs)
    assert torch.equal(trials.reward[trials.valid], paid[trials.valid])


def test_pieces_are_anybodys_and_each_is_as_likely() -> None:
    """Of episodes of 12 steps, in pieces of 5: the steps 0 to 4, 5 to 9 and 10 to 11 of somebody's."""
    histories = walks(horizon=12, episodes=8, ragged=False)
    histories.obs[..., 0] = torch.arange(13).float()  # tells a step's number
    histories.obs[..., 1] = torch.arange(4.0)[:, None, None]  # and whose it is
    trials = draw(histories, Mixing(4, piece=5))(4, 100)
    pieces = trials.starts.shape[1]
    assert pieces == 12  # as many as four episodes have
    firsts, owners = [], []
    for row in range(400):
        for piece in range(pieces):
            mine = trials.obs[row][trials.valid[row] & (trials.episode[row] == piece)]
            first = int(mine[0, 0])
            assert mine[:, 0].tolist() == list(range(first, min(first + 5, 12)))
            firsts.append(first)
            owners.append(int(mine[0, 1]))
    assert torch.bincount(torch.tensor(firsts)).nonzero()[:, 0].tolist() == [0, 5, 10]
    assert torch.bincount(torch.tensor(firsts))[[0, 5, 10]].float().div(4800).numpy() == pytest.approx(
        1 / 3, abs=0.03
    )
    assert torch.bincount(torch.tensor(owners)).float().div(4800).numpy() == pytest.approx(0.25, abs=0.03)


def test_early_episodes_come_as_often_as_said() -> None:
    """A share x of the log comes first with the chance x ** (1 / early): here the first half, 0.5 ** 0.5."""
    histories = walks(horizon=12, episodes=8, ragged=False)
    histories.obs[..., 0] = torch.arange(8.0)[:, None]  # tells an episode's number
    trials = draw(histories, Mixing(4, early=2.0))(4, 500)
    assert (trials.starts[..., 0] < 4).float().mean().item() == pytest.approx(0.5**0.5, abs=0.02)


def test_steps_of_anybodys_are_paid_as_the_task_pays() -> None:
    histories = walks(horizon=12, episodes=8)
    steps = draw(histories, Mixing(4)).steps(torch.tensor([2, 0, 2]), 500)
    assert steps.valid.all() and steps.obs.shape == (3, 500, 2) and steps.task.tolist() == [2, 0, 2]
    assert torch.equal(steps.obs[0], steps.obs[1]) and not torch.equal(steps.reward[0], steps.reward[1])
    torch.testing.assert_close(steps.reward, own_reward(histories, steps))
    assert len(steps.obs[0].unique(dim=0)) > len(histories.obs[2].flatten(0, 1).unique(dim=0)) / 2
    assert (steps.reward > 0).any() and (steps.reward < 0).any()


def test_common_trials_differ_in_pay_alone() -> None:
    """Three tasks, two trials each: the same two, paid as each task pays."""
    histories = walks(horizon=12, episodes=8)
    trials = draw(histories, Mixing(4, common=True))(3, 2)
    assert len(trials.task) == 6 and trials.task.tolist()[::2] == trials.task.tolist()[1::2]
    assert len(set(trials.task.tolist())) == 3
    for name in ("obs", "action", "next_obs", "valid", "ends", "episode", "starts"):
        part = getattr(trials, name)
        assert torch.equal(part[:2], part[2:4]) and torch.equal(part[:2], part[4:]), name
    assert not torch.equal(trials.obs[0], trials.obs[1])
    torch.testing.assert_close(trials.reward[trials.valid], own_reward(histories, trials)[trials.valid])
