"""Reward scaling by the running deviation of the return."""

from __future__ import annotations

import torch
from torch import Tensor

from robofb.moments import Moments
from robofb.ranks import ALONE, Ranks

_SAVED = ("count", "mean", "sum_of_squares")  # the moments' names in checkpoints


class RewardScaler:
    """Divide rewards by the running standard deviation of the discounted return, and clip.

    The return is accumulated forwards, R <- gamma R + r, and restarts with each episode, as in
    Engstrom et al., "Implementation matters in deep RL" (2020).

    Args:
        num_envs: B.
        gamma: discount.
        clip: largest magnitude of a scaled reward.
        ranks: whose rewards are scaled alike.
    """

    def __init__(
        self,
        num_envs: int,
        gamma: float,
        *,
        clip: float = 5.0,
        device: torch.device | str = "cpu",
        ranks: Ranks = ALONE,
    ) -> None:
        self.gamma = gamma
        self.clip = clip
        self._return = torch.zeros(num_envs, device=device)
        self._ranks = ranks
        self._moments = Moments(*torch.zeros(3, dtype=torch.float64, device=device))

    def scale(self, reward: Tensor, done: Tensor) -> Tensor:
        """Return the scaled rewards (B,) after taking `reward` (B,) into account."""
        self._return = self.gamma * self._return + reward
        self._moments = self._moments.merged(Moments.of(self._return).over(self._ranks))
        self._return = self._return * ~done
        std = self._moments.std.to(reward)
        return (reward / (std + 1e-8)).clamp(-self.clip, self.clip)

    def state_dict(self) -> dict:
        """Return statistics and open returns, for a checkpoint."""
        statistics = dict(zip(_SAVED, map(float, self._moments), strict=True))
        return {"return": self._return, "statistics": statistics}

    def load_state_dict(self, state: dict) -> None:
        """Restore what `state_dict` returned."""
        self._return = state["return"].to(self._return.device)
        values = [state["statistics"][name] for name in _SAVED]
        self._moments = Moments(*torch.tensor(values, dtype=torch.float64, device=self._return.device))
