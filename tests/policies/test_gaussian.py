"""Tests of robofb.policies.gaussian."""

from __future__ import annotations

import torch
from torch.distributions import Independent, Normal

from robofb.policies.gaussian import Gaussian, GaussianActor


def test_log_prob_and_entropy_agree_with_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, value = torch.randn(2, 50, 3, generator=generator)
    log_std = torch.randn(3, generator=generator)
    ours, oracle = Gaussian(mean, log_std), Independent(Normal(mean, log_std.exp()), 1)
    assert torch.allclose(ours.log_prob(value), oracle.log_prob(value), rtol=1e-5)
    assert torch.allclose(ours.entropy(), oracle.entropy(), rtol=1e-5)


def test_samples_have_the_mean_and_deviation() -> None:
    gaussian = Gaussian(torch.tensor([[1.0, -2.0]]).expand(40_000, 2), torch.tensor([0.5, 2.0]).log())
    sample = gaussian.sample(torch.Generator().manual_seed(0))
    # standard errors: 0.5 / 200 and 2 / 200
    assert torch.allclose(sample.mean(0), torch.tensor([1.0, -2.0]), atol=0.04)
    assert torch.allclose(sample.std(0), torch.tensor([0.5, 2.0]), rtol=0.02)


def test_actor_starts_at_exactly_zero_and_same_seed_same_weights() -> None:
    def actor(seed: int) -> GaussianActor:
        return GaussianActor(5, 2, hidden=(8,), generator=torch.Generator().manual_seed(seed))

    assert torch.equal(actor(0)(torch.randn(7, 5)).mean, torch.zeros(7, 2))
    assert torch.equal(actor(0).mean[0].weight, actor(0).mean[0].weight)
    assert not torch.equal(actor(0).mean[0].weight, actor(1).mean[0].weight)


def test_the_deviation_learns_only_where_asked() -> None:
    for learn_std in (False, True):
        actor = GaussianActor(5, 2, init_log_std=-1.2, learn_std=learn_std)
        assert actor.log_std.requires_grad is learn_std
        assert torch.equal(actor.log_std.detach(), torch.full((2,), -1.2))
