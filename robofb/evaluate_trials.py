"""Measure what an agent earns in the episodes of a trial, in which it may learn what task it is in."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robofb.interfaces import VecEnv
from robofb.meta_interfaces import TrialAgent
from robofb.progress import progress_bar
from robofb.stats import SuccessRate


@dataclass(frozen=True)
class TrialEvaluation:
    """Outcome of N trials of K episodes, each in a task of its own.

    Attributes:
        task: name of the family.
        seed: of start states.
        params: (N, P) of the tasks.
        returns: (N, K) sum of each episode's rewards.
        success: (N, K) bool.
        length: (N, K) int64 control steps.
        seconds: wall time.
    """

    task: str
    seed: int
    params: np.ndarray
    returns: np.ndarray
    success: np.ndarray
    length: np.ndarray
    seconds: float

    @property
    def total(self) -> float:
        """Mean over trials of the sum of all episodes' returns."""
        return float(self.returns.sum(1).mean())

    @property
    def total_standard_error(self) -> float:
        """Standard error of `total` over trials; 0 where there is one."""
        trials = len(self.returns)
        return float(self.returns.sum(1).std(ddof=1) / trials**0.5) if trials > 1 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready facts: means by episode, with the standard error of the mean over trials."""
        trials, episodes = self.returns.shape
        spread = self.returns.std(0, ddof=1) if trials > 1 else np.zeros(episodes)
        rates = [SuccessRate(int(column.sum()), trials) for column in self.success.T]
        return {
            "task": self.task,
            "seed": self.seed,
            "trials": trials,
            "returns": self.returns.mean(0).tolist(),
            "standard_errors": (spread / trials**0.5).tolist(),
            "total": self.total,
            "total_standard_error": self.total_standard_error,
            "success": [rate.to_dict() for rate in rates],
            "mean_steps": self.length.mean(0).tolist(),
            "seconds": self.seconds,
        }


def evaluate_trials(
    agent: TrialAgent, env: VecEnv, params: Tensor, episodes: int, seed: int, *, progress: str | None = None
) -> TrialEvaluation:
    """Run one trial in each env, each in its own task.

    Args:
        agent: acts; remembers what it likes from episode to episode.
        env: N envs, held to tasks.
        params: (N, P) of these tasks.
        episodes: K.
        seed: of start states.
        progress: label of a progress bar, or None for no bar.
    """
    started = time.monotonic()
    obs = env.reset(seed)
    agent.begin(env.episode_seed)
    trials = env.num_envs
    returns = torch.zeros(trials, episodes)
    success = torch.zeros(trials, episodes, dtype=torch.bool)
    length = torch.zeros(trials, episodes, dtype=torch.int64)
    number = torch.zeros(trials, dtype=torch.int64)
    rows = torch.arange(trials)
    with progress_bar(trials * episodes, progress, "episode") as bar:
        while (running := number < episodes).any():
            action = agent.next(obs)
            step = env.step(action)
            agent.watch(obs, action, step)
            which = number.clamp(max=episodes - 1)
            returns[rows, which] += torch.where(running, step.reward.cpu(), 0.0)
            length[rows, which] += running.long()
            done = step.done.cpu() & running
            success[rows[done], which[done]] = step.info["success"].cpu()[done]
            number += step.done.cpu().long()
            bar.update(int(done.sum()))
            obs = step.obs
    return TrialEvaluation(
        task=env.spec.task,
        seed=seed,
        params=params.numpy(),
        returns=returns.numpy(),
        success=success.numpy(),
        length=length.numpy(),
        seconds=time.monotonic() - started,
    )
