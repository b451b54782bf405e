"""What an evaluation came to: success with its interval, failures by stage, rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from robofb.stats import SuccessRate


@dataclass(frozen=True)
class Evaluation:
    """Outcome of N numbered episodes; entry n belongs to episode n of `seed`.

    Attributes:
        task: name of the task.
        seed: of the episodes' start states and of every random draw in them.
        success: (N,) bool.
        stage: (N,) int64, how many of `stages` each episode reached at its best.
        length: (N,) int64, control steps.
        metrics: further (N,) values read at each episode's last step, and of a `Drifting` agent "kl_to_base",
            the mean over the episode's steps.
        stages: names of the task's stages.
        control_dt_s: time of one control step.
        seconds: wall time of the evaluation.
    """

    task: str
    seed: int
    success: np.ndarray
    stage: np.ndarray
    length: np.ndarray
    metrics: dict[str, np.ndarray]
    stages: tuple[str, ...]
    control_dt_s: float
    seconds: float

    @property
    def rate(self) -> SuccessRate:
        """Successes with their Wilson interval."""
        return SuccessRate(int(self.success.sum()), len(self.success))

    @property
    def failures(self) -> dict[str, int]:
        """Return how many episodes failed at each stage: the first one they did not reach."""
        missed = self.stage[~self.success]
        return {name: int((missed == index).sum()) for index, name in enumerate(self.stages)}

    @property
    def kl_to_base(self) -> float | None:
        """Return the mean over all steps of the KL from the base policy [nats]; None where none was asked."""
        if "kl_to_base" not in self.metrics:
            return None
        return float((self.metrics["kl_to_base"] * self.length).sum() / self.length.sum())

    @property
    def successes_per_10_min(self) -> float:
        """Return the rate of successes per ten minutes of robot time, resets not counted."""
        return float(self.success.sum()) * 600.0 / (float(self.length.sum()) * self.control_dt_s)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready facts: {successes, episodes, low, high} and what explains them."""
        return {
            **self.rate.to_dict(),
            "task": self.task,
            "seed": self.seed,
            "failures": self.failures,
            "mean_steps_of_success": float(self.length[self.success].mean()) if self.success.any() else None,
            "successes_per_10_min": self.successes_per_10_min,
            "kl_to_base": self.kl_to_base,
            "means": {
                name: float(values.mean()) for name, values in self.metrics.items() if name != "kl_to_base"
            },
            "seconds": self.seconds,
        }
