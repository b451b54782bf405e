"""Episodes in a training: how they ended, and whether an env can go on with those that run."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch

from robofb.ranks import ALONE, Ranks
from robofb.types import Step


@runtime_checkable
class Resumable(Protocol):
    """A VecEnv whose running episodes can be saved and continued exactly."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


class EpisodeCount:
    """Count the episodes that end in some steps, and how many of them succeed."""

    def __init__(self, device: torch.device) -> None:
        self._episodes = self._successes = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, step: Step) -> None:
        """Take in one control step of all envs."""
        self._episodes = self._episodes + step.done.sum()
        self._successes = self._successes + (step.done & step.info["success"]).sum()

    def metrics(self, ranks: Ranks = ALONE) -> dict[str, float]:
        """Return "train/episodes" of all ranks together and, if there were any, "train/success"."""
        counts = torch.stack([self._episodes, self._successes])
        episodes, successes = ranks.gathered(counts).sum(0).tolist()
        metrics: dict[str, float] = {"train/episodes": episodes}
        return metrics | {"train/success": successes / episodes} if episodes else metrics
