"""What other agents did is paid as the task would have paid it; what the own agent did stays as it was."""

from __future__ import annotations

import pytest
import torch

from rl.borel.examples import FAMILY, walks
from robofb.rl.borel.relabel import TrialDraw
from robofb.rl.histories import Histories, Trials


def draw(histories: Histories, mixed: float, whole: bool) -> TrialDraw:
    generator = torch.Generator().manual_seed(0)
    return TrialDraw(histories, FAMILY, 4, mixed=mixed, whole=whole, generator=generator)


def own_reward(histories: Histories, trials: Trials) -> torch.Tensor:
    params = histories.params[trials.task][:, None]
    return FAMILY.relabel(params, trials.obs, trials.action, trials.next_obs)


@pytest.mark.parametrize("whole", [False, True])
def test_every_step_earns_what_the_trials_task_pays(whole: bool) -> None:
    histories = walks(horizon=12, episodes=8)
    trials = draw(histories, 1.0, whole)(4, 25)
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
        agent = int(trials.task[row])
        owners = [owner(histories, trials, row, episode) for episode in range(4)]
        assert owners[0] == owners[1] != agent and owners[2:] == [agent, agent]


def test_whole_mixtures_are_anybodys() -> None:
    histories = walks(horizon=12, episodes=8, ragged=False)
    trials = draw(histories, 1.0, whole=True)(4, 10)
    owners = torch.tensor([[owner(histories, trials, row, e) for e in range(4)] for row in range(40)])
    own = (owners == trials.task[:, None]).float().mean().item()
    assert own == pytest.approx(0.25, abs=0.12)


def test_the_share_of_mixed_trials_is_as_said() -> None:
    histories = walks(horizon=12, episodes=8, ragged=False)
    trials = draw(histories, 0.4, whole=False)(4, 100)
    foreign = torch.tensor([owner(histories, trials, row, 0) for row in range(400)]) != trials.task
    assert foreign.float().mean().item() == pytest.approx(0.4, abs=0.08)
    nobody = draw(histories, 0.0, whole=True)(4, 5)
    assert all(owner(histories, nobody, row, 3) == int(nobody.task[row]) for row in range(20))


def test_a_single_agent_has_nobody_to_mix_with() -> None:
    histories = walks(num_agents=1, horizon=12, episodes=8)
    trials = draw(histories, 1.0, whole=False)(1, 5)
    torch.testing.assert_close(trials.reward[trials.valid], own_reward(histories, trials)[trials.valid])
