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
    """Count the episodes that end in some steps, and how many of them succeed; those from a bank apart."""

    def __init__(self, device: torch.device) -> None:
        self._counts = torch.zeros(2, 2, dtype=torch.int64, device=device)  # task or bank; ended, succeeded
        self._banked = False

    def add(self, step: Step) -> None:
        """Take in one control step of all envs."""
        from_bank = step.info.get("from_bank", torch.zeros_like(step.done))
        self._banked = "from_bank" in step.info
        ended = torch.stack([step.done & ~from_bank, step.done & from_bank])
        self._counts += torch.stack([ended, ended & step.info["success"]], 1).sum(-1)

    def metrics(self, ranks: Ranks = ALONE) -> dict[str, float]:
        """Return "train/episodes" of all ranks together and, if there were any, "train/success".

        Both are of the task's own starts; with a reset bank there are "train/episodes_bank" and so on too.
        """
        metrics: dict[str, float] = {}
        names = ("", "_bank") if self._banked else ("",)
        for name, (episodes, successes) in zip(
            names, ranks.gathered(self._counts).sum(0).tolist(), strict=False
        ):
            metrics[f"train/episodes{name}"] = episodes
            if episodes:
                metrics[f"train/success{name}"] = successes / episodes
        return metrics
