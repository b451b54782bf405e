"""Trials of what anybody did in a task: what policy replaying allows where tasks move differently."""

from __future__ import annotations

import torch
from torch import Tensor

from robofb.rl.histories import Histories, Trials, below


class VisitDraw:
    """Draw trials of agents' tasks, made of episodes that agents had there: the task's own and its visitors.

    Each agent that ever acted there is as likely to have acted in an episode as any other, early or late in
    its learning. So who acts does not tell what task it is, and what somebody found in one episode is known
    to whoever acts in the next: neither is so in the trials of one agent, who always knew.

    Args:
        histories: N logs.
        episodes: in a trial.
        generator: draws them.
    """

    def __init__(self, histories: Histories, episodes: int, generator: torch.Generator) -> None:
        self.histories, self.episodes, self.generator = histories, episodes, generator
        self.tasks = histories.params
        there = (histories.length > 0).double()
        count = torch.zeros(len(there), int(histories.by.max()) + 1, dtype=torch.double)
        count.scatter_add_(1, histories.by, there)
        self._weight = there / count.gather(1, histories.by).clamp_min(1.0)

    def __call__(self, num_tasks: int, per_task: int) -> Trials:
        """Return trials of `num_tasks` tasks drawn without replacement, `per_task` of each."""
        task = torch.randperm(len(self.tasks), generator=self.generator)[:num_tasks]
        return self.of(task.repeat_interleave(per_task))

    def of(self, task: Tensor) -> Trials:
        """Return a trial of each of some tasks (M,), by the number of their agent."""
        return self.histories.trials(task, self._numbers(task, self.episodes))

    def steps(self, task: Tensor, count: int) -> Trials:
        """Return steps (M, count) that somebody took in each of M tasks."""
        number = self._numbers(task, count)
        first = below(self.histories.length[task[:, None], number], self.generator)
        return self.histories.trials(task, number, first=first, steps=1)

    def _numbers(self, task: Tensor, count: int) -> Tensor:
        """Return numbers (M, count) of episodes of some tasks (M,)."""
        return torch.multinomial(self._weight[task], count, replacement=True, generator=self.generator)
