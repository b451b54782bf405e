"""Tests of robofb.rl.sac_losses, by hand."""

import math

import pytest
import torch

from robofb.rl.sac_losses import actor_loss, critic_loss, soft_target, temperature_loss


def test_target_takes_the_lower_critic_and_pays_for_entropy():
    """1 + 0.9 (min(4, 3) - 0.5 * -2) = 4.6; a termination leaves the reward alone."""
    target = soft_target(
        torch.tensor([1.0, 1.0]),
        torch.tensor([0.9, 0.0]),
        torch.tensor([[4.0, 9.0], [3.0, 9.0]]),
        torch.tensor([-2.0, -2.0]),
        torch.tensor(0.5),
    )
    assert target.tolist() == pytest.approx([4.6, 1.0])


def test_critic_loss_is_half_the_mean_square_of_each_critic():
    """Errors 1, 3 and 0, 2: (1 + 9) / 4 + (0 + 4) / 4."""
    loss = critic_loss(torch.tensor([[1.0, 3.0], [0.0, 2.0]]), torch.zeros(2))
    assert loss.item() == pytest.approx(3.5)


def test_actor_loss_weighs_density_against_value():
    """(0.5 * 2 - 1 + 0.5 * -4 - 3) / 2 with the lower of both values."""
    loss = actor_loss(torch.tensor([[1.0, 5.0], [2.0, 3.0]]), torch.tensor([2.0, -4.0]), torch.tensor(0.5))
    assert loss.item() == pytest.approx(-2.5)


@pytest.mark.parametrize(("log_prob", "sign"), [(3.0, -1.0), (-3.0, 1.0)])
def test_temperature_rises_where_the_entropy_is_too_low(log_prob, sign):
    """Entropy -3 is below the target of 1: d loss / d log alpha = -alpha (3 + 1) < 0, descent raises it."""
    log_temperature = torch.tensor(math.log(0.5), requires_grad=True)
    density = torch.tensor([log_prob], requires_grad=True)
    temperature_loss(log_temperature, density, 1.0).backward()
    assert log_temperature.grad.item() == pytest.approx(-0.5 * (log_prob + 1.0))
    assert math.copysign(1, log_temperature.grad) == sign
    assert density.grad is None
