"""Count how a rollout's episodes end, those from a reset bank apart."""

from __future__ import annotations

import torch

from robofb.types import Step


class EpisodeTally:
    """Sums over one rollout, kept on the env's device until they are read.

    Args:
        device: of the env.
    """

    def __init__(self, device: torch.device) -> None:
        self._banked = False
        self._counts = torch.zeros(2, 2, dtype=torch.int64, device=device)  # task or bank; ended, succeeded

    def add(self, step: Step) -> None:
        """Count the episodes that end with a step."""
        nowhere = torch.zeros_like(step.done)
        self._banked |= "from_bank" in step.info
        from_bank = step.info.get("from_bank", nowhere)
        for row, ended in enumerate((step.done & ~from_bank, step.done & from_bank)):
            self._counts[row, 0] += ended.sum()
            self._counts[row, 1] += (ended & step.info["success"]).sum()

    def metrics(self) -> dict[str, float]:
        """Return episodes and success: of the task's own starts, and of those in a bank."""
        metrics: dict[str, float] = {}
        for name, (ended, succeeded) in zip(("", "_bank"), self._counts.tolist(), strict=True):
            if name and not self._banked:
                break
            metrics[f"train/episodes{name}"] = ended
            if ended:
                metrics[f"train/success{name}"] = succeeded / ended
        return metrics
