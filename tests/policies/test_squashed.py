"""Tests of robofb.policies.squashed."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution
from torch.distributions.transforms import AffineTransform

from robofb.policies.squashed import SquashedActor, SquashedGaussian


def test_one_number_by_hand():
    """u = 0 at mean 0 and std 1: density 1 / sqrt(2 pi) of u, and the slope there is the bound, 2."""
    action, log_prob = SquashedGaussian(torch.zeros(1, 1), torch.zeros(1, 1), 2.0).sample(torch.zeros(1, 1))
    assert action.item() == 0.0
    assert log_prob.item() == pytest.approx(-0.5 * math.log(2 * math.pi) - math.log(2))


def test_agrees_with_torchs_transformed_normal():
    generator = torch.Generator().manual_seed(0)
    mean, log_std, noise = torch.randn(3, 50, 4, generator=generator).unbind()
    action, log_prob = SquashedGaussian(mean, 0.3 * log_std, 1.5).sample(noise)
    transforms = [TanhTransform(cache_size=1), AffineTransform(0.0, 1.5, cache_size=1)]
    base = Independent(Normal(mean.double(), (0.3 * log_std).exp().double()), 1)
    theirs = TransformedDistribution(base, transforms)
    u = mean.double() + (0.3 * log_std).exp().double() * noise.double()
    expected = theirs.log_prob(1.5 * torch.tanh(u))
    torch.testing.assert_close(log_prob.double(), expected, rtol=1e-4, atol=1e-4)
    assert bool((action.abs() <= 1.5).all())


def test_the_density_of_an_action_is_that_with_which_it_was_drawn():
    mean, log_std, noise = torch.randn(3, 50, 4, generator=torch.Generator().manual_seed(0)).unbind()
    distribution = SquashedGaussian(0.5 * mean, 0.3 * log_std - 1, 1.5)
    action, log_prob = distribution.sample(noise)
    torch.testing.assert_close(distribution.log_prob(action), log_prob, rtol=1e-3, atol=1e-3)
    edge = distribution.log_prob(torch.full((50, 4), 1.5))
    assert bool(edge.isfinite().all())


def test_far_tails_stay_finite():
    action, log_prob = SquashedGaussian(torch.tensor([[40.0, -40.0]]), torch.zeros(1, 2), 1.0).sample(
        torch.zeros(1, 2)
    )
    assert action.tolist() == [[1.0, -1.0]]
    # log slope at u = 40: 2 (log 2 - 40)
    assert log_prob.item() == pytest.approx(-math.log(2 * math.pi) - 4 * (math.log(2) - 40), rel=1e-5)


def test_an_actor_starts_in_the_middle_and_its_sample_has_a_gradient():
    actor = SquashedActor(3, 2, hidden=[16], bound=1.5, generator=torch.Generator().manual_seed(0))
    distribution = actor(torch.randn(64, 3, generator=torch.Generator().manual_seed(1)))
    assert distribution.mode.abs().max() < 0.1
    action, _ = distribution.sample(torch.randn(64, 2, generator=torch.Generator().manual_seed(2)))
    assert 0.5 < action.std() < 1.3
    action.sum().backward()
    assert all(parameter.grad is not None for parameter in actor.parameters())
