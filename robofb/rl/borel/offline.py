"""Learn a policy of hyper-states from logs alone: what the choices of `offline=` have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from robofb.policies.hyper import HyperPolicy


class OfflineLearner(Protocol):
    """Improves a `HyperPolicy` on batches of transitions between hyper-states."""

    policies: HyperPolicy

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take one step; return metrics, on the device.

        Args:
            batch: "state", "next_state" (1, b, F), "action" (1, b, A), "reward" and "discount" (1, b).
        """
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class MakeOffline(Protocol):
    """Makes an `OfflineLearner`; what a config of `offline` names."""

    def __call__(self, policy: HyperPolicy, generator: torch.Generator) -> OfflineLearner: ...
