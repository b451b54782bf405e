"""Tell successes of simulators that were not made for us, from what their steps say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robofb.errors import UserError

COMMON_KEYS = ("is_success", "success")
STAGES = ("success",)
"""The stages of a task of which only success is known."""


@dataclass(frozen=True)
class SuccessRule:
    """What counts as a success; one of the three may be set.

    Attributes:
        key: what each step's info calls it; the first of `COMMON_KEYS` that is there where nothing is set.
        reward: least reward of a step that succeeds.
        total: least sum of an episode's rewards so far.

    Raises:
        UserError: more than one is set.
    """

    key: str | None = None
    reward: float | None = None
    total: float | None = None

    def __post_init__(self) -> None:
        given = {f"success_{name}": value for name, value in vars(self).items() if value is not None}
        if len(given) > 1:
            raise UserError(f"{' and '.join(given)}: say one of them")

    def judge(self, info: Mapping[str, Any], reward: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """Return which envs succeed in this step, and of which it is known, (B,) bool each.

        Args:
            info: (B,) values by key, those under `_<key>` telling where `<key>` holds something, as
                Gymnasium's vector envs put them.
            reward: (B,) of this step.
            total: (B,) of the episode so far.
        """
        known = torch.ones_like(reward, dtype=torch.bool)
        if self.reward is not None:
            return reward >= self.reward, known
        if self.total is not None:
            return total >= self.total, known
        key = next(
            (key for key in self._keys if key in info and np.shape(info[key]) == tuple(reward.shape)), None
        )
        if key is None:
            return torch.zeros_like(known), ~known
        known = torch.as_tensor(info.get(f"_{key}", known), device=reward.device)
        values = info[key]
        if not isinstance(values, Tensor):  # objects, with None where nothing is known
            values = torch.from_numpy(np.where(known.cpu().numpy(), values, 0).astype(np.float32))
        return known & (values.to(reward.device) > 0.5), known  # some say 1.0

    @property
    def _keys(self) -> tuple[str, ...]:
        return COMMON_KEYS if self.key is None else (self.key,)

    def require_known(self, known: Tensor, ended: Tensor, task: str) -> None:
        """Raise UserError unless it is known of the envs of `ended` (B,) whether they succeeded."""
        if bool((ended & ~known).any()):
            said = " or ".join(f"'{key}'" for key in self._keys)
            raise UserError(
                f"{task} ends an episode without {said} in its info: set task.success_key, "
                "task.success_reward (of a step) or task.success_total (of an episode)"
            )
