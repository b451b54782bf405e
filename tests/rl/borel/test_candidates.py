"""Pictures of beliefs: probes that tell tasks apart, and chances that follow from what decoders say."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from rl.borel.examples import FAMILY, walks
from robofb.envs.meta.wind import Wind
from robofb.rl.borel.belief import Belief, BeliefEncoder
from robofb.rl.borel.candidates import Candidates
from robofb.rl.borel.decoders import Said
from robofb.rl.histories import Histories, Trials


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_tasks_that_move_alike_are_asked_about_the_same_different_ends() -> None:
    histories = walks()
    found = Candidates.of(histories, FAMILY, 64, generator())
    assert torch.equal(found.params, histories.params)
    assert torch.equal(found.next_obs, found.next_obs[:1].expand_as(found.next_obs))
    ends = FAMILY.outcome(found.next_obs[0])
    assert len(ends) == len(ends.unique())  # one probe of each cell that the logs reach
    for task, reward in zip(found.params, found.reward, strict=True):
        assert torch.equal(reward, torch.where((found.next_obs[0] == task).all(-1), 1.0, -0.1))
    assert found.reward.max() == 1.0


def test_tasks_that_move_differently_are_asked_about_steps_of_their_own() -> None:
    family = Wind()
    params = torch.tensor([[0.05, 0.0], [-0.02, 0.03]])
    action = 2 * torch.rand(2, 6, 5, 2, generator=generator()) - 1
    obs = torch.zeros(2, 6, 6, 2)
    for t in range(5):
        obs[:, :, t + 1] = obs[:, :, t] + 0.1 * action[:, :, t] + params[:, None]
    length = torch.tensor([[5, 3, 5, 1, 0, 0], [5, 5, 5, 5, 5, 2]])
    by = torch.tensor([[0, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, 0]])
    histories = Histories(obs, action, torch.zeros(2, 6, 5), length, params, by)
    found = Candidates.of(histories, family, 9, generator())
    moved = found.next_obs - found.obs - 0.1 * found.action
    expected = params[:, None].expand_as(moved)
    torch.testing.assert_close(moved[found.valid], expected[found.valid], atol=1e-6, rtol=0)
    assert found.valid.sum(1).tolist() == [8, 9]  # 3 + 5 steps of the first's last two; 9 of the second's 10
    assert torch.equal(found.obs[0, :3], obs[0, 1, :3]) and torch.equal(found.obs[1, :5], obs[1, 0, :5])
    again = Candidates.from_state(found.state_dict())
    assert all(torch.equal(getattr(found, name), getattr(again, name)) for name in found.state_dict())


class Halves:
    """Finds tasks of the first half likely with chance p where z > 0, else with 1 - p."""

    def surprise(self, z: Tensor, trials: Trials, encoder: BeliefEncoder) -> Tensor:
        first = (torch.arange(len(trials.task)) < len(trials.task) // 2)[:, None]
        likely = (z[..., 0] > 0) == first
        return -torch.where(likely, math.log(0.8), math.log(0.2))


class Offset:
    """Finds probes of some tasks less likely than those of others, whatever the latent."""

    def surprise(self, z: Tensor, trials: Trials, encoder: BeliefEncoder) -> Tensor:
        return torch.arange(len(trials.task))[:, None].expand(-1, z.shape[1]).float()


def test_chances_are_the_mean_over_what_a_belief_holds_possible() -> None:
    found = Candidates.of(walks(), FAMILY, 8, generator())
    mean = torch.tensor([[9.0, 0.0], [-9.0, 0.0], [0.0, 0.0]])
    belief = Belief(mean, torch.zeros(3, 2))
    encoder = BeliefEncoder(FAMILY.spec, latent=2, memory=4, generator=generator())
    chances = found.chances(belief, [Said("reward", Halves())], encoder, generator())
    torch.testing.assert_close(chances.sum(1), torch.ones(3))
    # Sure of z > 0: 0.8 and 0.2 for two tasks each, normalised; sure of z < 0: the other way round.
    torch.testing.assert_close(chances[0], torch.tensor([0.4, 0.4, 0.1, 0.1]))
    torch.testing.assert_close(chances[1], torch.tensor([0.1, 0.1, 0.4, 0.4]))
    positive = torch.randn(3, 16, 2, generator=generator())[2, :, 0].gt(0).float().mean()
    share = (0.8 * positive + 0.2 * (1 - positive)) / 2
    torch.testing.assert_close(chances[2, 0], share)
    own = replace(found, shared=torch.tensor(False))
    apart = own.chances(belief, [Said("reward", Offset())], encoder, generator())
    torch.testing.assert_close(
        apart, torch.full_like(apart, 0.25)
    )  # what is alike for all beliefs is no sign
    twice = found.chances(belief, [Said("reward", Halves(), 2.0)], encoder, generator())
    torch.testing.assert_close(twice[0, 0] / twice[0, 2], torch.tensor(16.0))
