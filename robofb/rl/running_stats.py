"""Running statistics of a stream of numbers, and the reward scaling built on them."""

from __future__ import annotations

import torch
from torch import Tensor


class RunningVariance:
    """Track mean and population variance of all numbers seen, in float64.

    Batches are merged by the parallel formula of Chan, Golub and LeVeque (1983).
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._sum_of_squares = 0.0  # of deviations from the mean

    def update(self, values: Tensor) -> None:
        """Take in a tensor of numbers of any shape."""
        values = values.double().flatten()
        count = len(values)
        mean = float(values.mean())
        sum_of_squares = float(((values - mean) ** 2).sum())
        total = self.count + count
        shift = mean - self.mean
        self._sum_of_squares += sum_of_squares + shift**2 * self.count * count / total
        self.mean += shift * count / total
        self.count = total

    @property
    def variance(self) -> float:
        """Population variance; 0 before any number."""
        return self._sum_of_squares / self.count if self.count else 0.0

    def state_dict(self) -> dict[str, float]:
        """Return the statistics, for a checkpoint."""
        return {"count": self.count, "mean": self.mean, "sum_of_squares": self._sum_of_squares}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore what `state_dict` returned."""
        self.count = int(state["count"])
        self.mean = state["mean"]
        self._sum_of_squares = state["sum_of_squares"]


class RewardScaler:
    """Divide rewards by the running standard deviation of the discounted return, and clip.

    The return is accumulated forwards, R <- gamma R + r, and restarts with each episode, as in
    Engstrom et al., "Implementation matters in deep RL" (2020).

    Args:
        num_envs: B.
        gamma: discount.
        clip: largest magnitude of a scaled reward.
    """

    def __init__(
        self, num_envs: int, gamma: float, *, clip: float = 5.0, device: torch.device | str = "cpu"
    ) -> None:
        self.gamma = gamma
        self.clip = clip
        self._return = torch.zeros(num_envs, device=device)
        self._statistics = RunningVariance()

    def scale(self, reward: Tensor, done: Tensor) -> Tensor:
        """Return the scaled rewards (B,) after taking `reward` (B,) into account."""
        self._return = self.gamma * self._return + reward
        self._statistics.update(self._return)
        self._return = self._return * ~done
        std = self._statistics.variance**0.5
        return (reward / (std + 1e-8)).clamp(-self.clip, self.clip)

    def state_dict(self) -> dict:
        """Return statistics and open returns, for a checkpoint."""
        return {"return": self._return, "statistics": self._statistics.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Restore what `state_dict` returned."""
        self._return = state["return"].to(self._return.device)
        self._statistics.load_state_dict(state["statistics"])
