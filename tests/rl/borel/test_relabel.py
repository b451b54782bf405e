"""What other agents did is paid as the task would have paid it; what the own agent did stays as it was."""

from __future__ import annotations

import pytest
import torch

from rl.borel.examples import FAMILY, walks
from robofb.rl.borel.relabel import TrialDraw
from robofb.rl.histories import Histories, Trials


def draw(
    histories: Histories, mixed: float, whole: bool, *, early: float = 1.0, piece: int | None = None
) -> TrialDraw:
    generator = torch.Generator().manual_seed(0)
    return TrialDraw(
        histories, FAMILY, 4, mixed=mixed, whole=whole, early=early, piece=piece, generator=generator
    )


def own_reward(histories: Histories, trials: Trials) -> torch.Tensor:
    params = histories.params[trials.agent][:, None]
    return FAMILY.relabel(params, trials.obs, trials.action, trials.next_obs)


@pytest.mark.parametrize(("whole", "piece"), [(False, None), (True, None), (True, 5)])
def test_every_step_earns_what_the_trials_task_pays(whole: bool, piece: int | None) -> None:
    histories = walks(horizon=12, episodes=8)
    trials = draw(histories, 1.0, whole, piece=piece)(4, 25)
    valid = trials.valid
    torch.testing.assert_close(trials.reward[valid], own_reward(histories, trials)[valid])
    assert (trials.reward[valid] > 0).any()


def owner(histories: Histories, trials: Trials, row: int, episode: int) -> int:
    """Return whose log holds an episode of a trial, found by its states and actions."""
    which = trials.valid[row] & (trials.episode[row] == episode)
    states, actions = trials.obs[row][which], trials.action[row][which]
    for agent in range(histories.num_agents):
        for number in range(histories.obs.shape[1]):
            steps = int(histories.length[agent, number])
            if steps != len(states) or not torch.equal(histories.obs[agent, number, :steps], states):
                continue
            if torch.equal(histories.action[agent, number, :steps], actions):
                return agent
    raise AssertionError("nobody's")


def test_the_first_half_is_one_other_agents_and_the_rest_its_own() -> None:
    histories = walks(horizon=12, episodes=8, ragged=False)
    trials = draw(histories, 1.0, whole=False)(4, 5)
    for row in range(20):
        agent = int(trials.agent[row])
        owners = [owner(histories, trials, row, episode) for episode in range(4)]
        assert owners[0] == owners[1] != agent and owners[2:] == [agent, agent]


def test_whole_mixtures_are_anybodys() -> None:
    histories = walks(horizon=12, episodes=8, ragged=False)
    trials = draw(histories, 1.0, whole=True)(4, 10)
    owners = torch.tensor([[owner(histories, trials, row, e) for e in range(4)] for row in range(40)])
    own = (owners == trials.agent[:, None]).float().mean().item()
    assert own == pytest.approx(0.25, abs=0.12)


def test_the_share_of_mixed_trials_is_as_said() -> None:
    histories = walks(horizon=12, episodes=8, ragged=False)
    trials = draw(histories, 0.4, whole=False)(4, 100)
    foreign = torch.tensor([owner(histories, trials, row, 0) for row in range(400)]) != trials.agent
    assert foreign.float().mean().item() == pytest.approx(0.4, abs=0.08)
    nobody = draw(histories, 0.0, whole=True)(4, 5)
    assert all(owner(histories, nobody, row, 3) == int(nobody.agent[row]) for row in range(20))


def test_a_single_agent_has_nobody_to_mix_with() -> None:
    histories = walks(num_agents=1, horizon=12, episodes=8)
    trials = draw(histories, 1.0, whole=False)(1, 5)
    torch.testing.assert_close(trials.reward[trials.valid], own_reward(histories, trials)[trials.valid])


def test_pieces_are_anybodys_and_each_is_as_likely() -> None:
    """Of episodes of 12 steps, in pieces of 5: the steps 0 to 4, 5 to 9 and 10 to 11 of somebody's."""
    histories = walks(horizon=12, episodes=8, ragged=False)
    histories.obs[..., 0] = torch.arange(13).float()  # tells a step's number
    histories.obs[..., 1] = torch.arange(4.0)[:, None, None]  # and whose it is
    trials = draw(histories, 1.0, True, piece=5)(4, 100)
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


def test_a_trial_that_is_not_mixed_is_the_same_in_pieces() -> None:
    histories = walks(horizon=12, episodes=8)
    cut, uncut = (draw(histories, 0.0, True, piece=piece)(4, 5) for piece in (5, None))
    for name in ("obs", "action", "reward", "next_obs", "ends"):
        assert torch.equal(getattr(cut, name)[cut.valid], getattr(uncut, name)[uncut.valid]), name


def test_early_episodes_come_as_often_as_said() -> None:
    """A share x of the log comes first with the chance x ** (1 / early): here the first half, 0.5 ** 0.5."""
    histories = walks(horizon=12, episodes=8, ragged=False)
    histories.obs[..., 0] = torch.arange(8.0)[:, None]  # tells an episode's number
    trials = draw(histories, 1.0, True, early=2.0)(4, 500)
    assert (trials.starts[..., 0] < 4).float().mean().item() == pytest.approx(0.5**0.5, abs=0.02)


def test_steps_of_anybodys_are_paid_as_the_task_pays() -> None:
    histories = walks(horizon=12, episodes=8)
    steps = draw(histories, 0.7, True).steps(torch.tensor([2, 0, 2]), 500)
    assert steps.valid.all() and steps.obs.shape == (3, 500, 2) and steps.agent.tolist() == [2, 0, 2]
    assert torch.equal(steps.obs[0], steps.obs[1]) and not torch.equal(steps.reward[0], steps.reward[1])
    torch.testing.assert_close(steps.reward, own_reward(histories, steps))
    assert len(steps.obs[0].unique(dim=0)) > len(histories.obs[2].flatten(0, 1).unique(dim=0)) / 2
    assert (steps.reward > 0).any() and (steps.reward < 0).any()


def test_common_trials_differ_in_pay_alone() -> None:
    """Three tasks, two trials each: the same two, paid as each task pays."""
    histories = walks(horizon=12, episodes=8)
    generator = torch.Generator().manual_seed(0)
    draw_common = TrialDraw(histories, FAMILY, 4, mixed=1.0, whole=True, common=True, generator=generator)
    trials = draw_common(3, 2)
    assert len(trials.agent) == 6 and trials.agent.tolist()[::2] == trials.agent.tolist()[1::2]
    assert len(set(trials.agent.tolist())) == 3
    for name in ("obs", "action", "next_obs", "valid", "ends", "episode", "starts"):
        part = getattr(trials, name)
        assert torch.equal(part[:2], part[2:4]) and torch.equal(part[:2], part[4:]), name
    assert not torch.equal(trials.obs[0], trials.obs[1])
    torch.testing.assert_close(trials.reward[trials.valid], own_reward(histories, trials)[trials.valid])
