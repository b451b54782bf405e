"""Tests of robofb.rl.ppo_losses."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from robofb.rl.ppo_losses import (
    clipped_surrogate_loss,
    explained_variance,
    gaussian_kl,
    magnitude_penalty,
    normalised,
    value_loss,
)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.5, 1.0, -1.2),  # good action, already likelier: clipped at 1 + 0.2
        (0.5, 1.0, -0.5),  # good action, less likely: free to come back
        (1.5, -1.0, 1.5),  # bad action, likelier: free to come back
        (0.5, -1.0, 0.8),  # bad action, already less likely: clipped at 1 - 0.2
        (1.1, 2.0, -2.2),  # inside the interval
    ],
)
def test_hand_worked_clip(ratio: float, advantage: float, expected: float) -> None:
    old = torch.tensor([-3.0])
    loss = clipped_surrogate_loss(old + math.log(ratio), old, torch.tensor([advantage]), clip=0.2)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_surrogate_gradient_equals_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    old = torch.randn(40, generator=generator, dtype=torch.float64)
    new = old + 0.4 * torch.randn(40, generator=generator, dtype=torch.float64)
    advantage = torch.randn(40, generator=generator, dtype=torch.float64)
    new.requires_grad_()
    clipped_surrogate_loss(new, old, advantage, 0.2).backward()
    step = 1e-6
    for k in range(40):
        shift = torch.zeros(40, dtype=torch.float64)
        shift[k] = step
        with torch.no_grad():
            up = clipped_surrogate_loss(new + shift, old, advantage, 0.2)
            down = clipped_surrogate_loss(new - shift, old, advantage, 0.2)
        assert new.grad is not None
        assert new.grad[k].item() == pytest.approx(((up - down) / (2 * step)).item(), abs=1e-8)
    assert int((new.grad == 0).sum()) > 0  # some samples are clipped, so this test saw both cases
    assert int((new.grad != 0).sum()) > 0


def test_hand_worked_value_loss_and_penalties() -> None:
    assert value_loss(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 0.0])).item() == 0.5 * (1 + 9) / 2
    mean = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    assert magnitude_penalty(mean, 0.1, 0.0).item() == pytest.approx(0.1 * 6 / 4)
    assert magnitude_penalty(mean, 0.0, 0.1).item() == pytest.approx(0.1 * 14 / 4)


def test_normalised_advantages() -> None:
    assert normalised(torch.tensor([1.0, 3.0])).tolist() == pytest.approx([-1.0, 1.0])
    assert normalised(torch.tensor([2.0, 2.0])).tolist() == [0.0, 0.0]


def test_explained_variance() -> None:
    returns = torch.tensor([0.0, 2.0, 4.0])
    assert explained_variance(returns, returns) == 1.0
    assert explained_variance(torch.full((3,), 9.0), returns) == 0.0
    assert explained_variance(returns / 2, returns) == pytest.approx(0.75)
    assert math.isnan(explained_variance(returns, torch.ones(3)))


def test_kl_agrees_with_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    old_mean, mean = torch.randn(2, 50, 3, generator=generator)
    old_log_std, log_std = torch.randn(2, 3, generator=generator)
    old = Independent(Normal(old_mean, old_log_std.exp()), 1)
    new = Independent(Normal(mean, log_std.exp()), 1)
    expected = kl_divergence(old, new)
    assert torch.allclose(gaussian_kl(old_mean, old_log_std, mean, log_std), expected, rtol=1e-4)
