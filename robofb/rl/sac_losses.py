"""What soft actor-critic minimises, one function each (Haarnoja et al., arXiv 1812.05905)."""

from __future__ import annotations

from torch import Tensor


def soft_target(
    reward: Tensor, discount: Tensor, next_q: Tensor, next_log_prob: Tensor, temperature: Tensor
) -> Tensor:
    """Return r + d (min_k Q_k(s', a') - alpha log pi(a' | s')) (B,), eqs. 2 and 3.

    Args:
        reward: (B,).
        discount: (B,), 0 after a termination; a time-out keeps it, so that its last state's value counts.
        next_q: (K, B) of the target critics.
        next_log_prob: (B,).
        temperature: alpha, ().
    """
    return reward + discount * (next_q.amin(0) - temperature * next_log_prob)


def critic_loss(q: Tensor, target: Tensor) -> Tensor:
    """Return the sum over critics of half the mean squared error of q (K, B) to target (B,), eq. 5."""
    return 0.5 * ((q - target) ** 2).mean(1).sum()


def actor_loss(q: Tensor, log_prob: Tensor, temperature: Tensor) -> Tensor:
    """Return the mean of alpha log pi - min_k Q_k for q (K, B) and log_prob (B,), eq. 7."""
    return (temperature * log_prob - q.amin(0)).mean()


def temperature_loss(log_temperature: Tensor, log_prob: Tensor, target_entropy: float) -> Tensor:
    """Return -alpha * mean(log pi + target entropy), eq. 18: alpha rises where the entropy is below it.

    The gradient is that with respect to log alpha, and none flows into `log_prob`.
    """
    return -(log_temperature.exp() * (log_prob.detach() + target_entropy)).mean()
