"""Tests of robofb.policies.value_guided."""

import pytest
import torch
from fakes import POINT_SPEC, BiasedPolicy, NoisyPolicy
from torch import Tensor, nn

from robofb.errors import UserError
from robofb.policies.value_guided import ValueGuidedPolicy
from robofb.rng import EpisodeRng

OBS = {"state": torch.tensor([[[0.0, 0.0, 0.2, 0.1]]] * 3)}


class LeftIsBetter(nn.Module):
    """Two critics that value a chunk by minus its first action's x."""

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        return torch.stack([-action[:, 0], 1.0 - action[:, 0]])


def guided(num_samples: int = 8, temperature: float = 0.05) -> ValueGuidedPolicy:
    policy = ValueGuidedPolicy(
        POINT_SPEC,
        lambda spec: NoisyPolicy(),
        obs_dim=4,
        hidden=[8],
        num_samples=num_samples,
        temperature=temperature,
    )
    policy.q = LeftIsBetter()
    return policy


def streams() -> EpisodeRng:
    return EpisodeRng(torch.arange(3))


def test_takes_the_most_valued_of_what_the_base_proposes():
    policy = guided()
    chunks, values = policy.propose(policy.encode(OBS), streams())
    assert (chunks.shape, values.shape) == ((3, 8, 8, 2), (3, 8))
    taken = policy.act(OBS, streams())
    for row in range(3):
        best = chunks[row, :, 0, 0].argmin()
        assert torch.equal(taken[row], chunks[row, best])
        assert values[row, best].item() == pytest.approx(
            -chunks[row, best, 0, 0].item()
        )  # the lower critic's


def test_one_sample_is_the_base_itself():
    assert torch.equal(guided(num_samples=1).act(OBS, streams()), NoisyPolicy().act(OBS, streams()))
    assert torch.equal(guided().wander(OBS, streams())[0], NoisyPolicy().act(OBS, streams()))


def test_explores_by_a_softmax_of_the_values():
    """Cold it takes the best, hot any; in between the odds of two chunks follow their values."""
    policy = guided(temperature=1e-4)
    assert torch.equal(policy.explore(OBS, streams())[0], policy.act(OBS, streams()))
    many = {"state": OBS["state"][:1].expand(4000, -1, -1)}
    policy = guided(num_samples=2, temperature=0.1)
    rng = EpisodeRng(torch.arange(4000))
    chunk, columns = policy.explore(many, rng)
    chunks, values = policy.propose(policy.encode(many), EpisodeRng(torch.arange(4000)))
    chance = torch.softmax(values / 0.1, dim=1)[:, 0]
    first = (chunk == chunks[:, 0]).all(dim=(1, 2)).float()
    for low, high in ((0.0, 0.3), (0.3, 0.7), (0.7, 1.0)):
        chosen = (chance >= low) & (chance < high)
        assert first[chosen].mean().item() == pytest.approx(chance[chosen].mean().item(), abs=0.04)
    assert torch.equal(columns["action"], policy.normalizer(chunk[:, :4], "action").flatten(1))


def test_a_base_that_proposes_nothing_is_refused():
    with pytest.raises(UserError, match="BiasedPolicy makes no chunks from noise: IDQL guides diffusion"):
        ValueGuidedPolicy(POINT_SPEC, lambda spec: BiasedPolicy(), obs_dim=4)
