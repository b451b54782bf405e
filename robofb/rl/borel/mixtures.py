"""Trials of whole mixtures: anybody's steps, paid as one task would have paid all of them.

What relabelling allows where tasks move alike (see `relabel`), used to the full: any step of any log may be
in the trial of any task, in any order, however many there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robofb.meta_interfaces import MetaTask
from robofb.rl.borel.released import REPLACEMENT, Pay, pay_of
from robofb.rl.histories import Histories, Trials, below


@dataclass(frozen=True)
class Mixing:
    """How mixtures are made.

    Attributes:
        episodes: in a trial, or as many pieces as the longest have; more than K show beliefs that know more.
        piece: cut episodes into pieces of so many steps, and draw pieces; None leaves them whole. Who has
            walked to K goals and stayed has seen little of where the goal is not, and logs hold nobody's
            search: trials of pieces have been everywhere. A belief is of steps, and does not mind that they
            do not meet.
        early: above 1, episodes are drawn from the first ones of a log more often than from later ones: one
            is numbered below a share x of all with the chance x ** (1 / early). Agents that do not know
            their task yet search; later they walk to their goal.
        common: the trials drawn in a call are the same for each of its tasks, but for what they pay. As long
            as nothing was found they are one history, which several tasks have had: what can be told of it
            then is seen at once, and not over many draws.
    """

    episodes: int
    piece: int | None = None
    early: float = 1.0
    common: bool = False


class MixtureDraw:
    """Draw trials of some tasks, made of anybody's steps.

    Args:
        histories: N logs.
        family: whose `relabel` pays.
        tasks: (C, P) that trials are of: the agents' own, or others.
        mixing: how.
        generator: draws them.
        defects: of the released code; see `released`.
    """

    def __init__(
        self,
        histories: Histories,
        family: MetaTask,
        tasks: Tensor,
        mixing: Mixing,
        generator: torch.Generator,
        defects: frozenset[str] = frozenset(),
    ) -> None:
        self.histories, self.tasks, self.mixing, self.generator = histories, tasks, mixing, generator
        self._replaces = REPLACEMENT in defects
        self._pay = pay_of(family, defects)

    def __call__(self, num_tasks: int, per_task: int) -> Trials:
        """Return trials of `num_tasks` tasks drawn without replacement, `per_task` of each."""
        if self._replaces:
            task = torch.randint(len(self.tasks), (num_tasks,), generator=self.generator)
        else:
            task = torch.randperm(len(self.tasks), generator=self.generator)[:num_tasks]
        if not self.mixing.common:
            return self.of(task.repeat_interleave(per_task))
        some = self._anybodys(per_task)
        row = torch.arange(per_task).repeat(len(task))
        return self._paid_to(task.repeat_interleave(per_task), some.rows(row))

    def of(self, task: Tensor) -> Trials:
        """Return a trial of each of some tasks (M,), by their index."""
        return self._paid_to(task, self._anybodys(len(task)))

    def steps(self, task: Tensor, count: int) -> Trials:
        """Return steps (M, count) of anybody's, the same for each of M tasks, paid as it would."""
        histories = self.histories
        donor = torch.randint(histories.num_agents, (1, count), generator=self.generator)
        number = below(histories.num_episodes[donor], self.generator)
        first = below(histories.length[donor, number], self.generator)
        steps = histories.trials(donor[:, 0], number, donor, first, 1)
        return self._paid_to(task, steps.rows(torch.zeros_like(task)))

    def _anybodys(self, count: int) -> Trials:
        """Return some trials, paid as it happened."""
        histories, mixing = self.histories, self.mixing
        size = min(mixing.piece or histories.horizon, histories.horizon)
        each = -(-histories.horizon // size)  # pieces of an episode
        shape = (count, mixing.episodes * each)
        donor = torch.randint(histories.num_agents, shape, generator=self.generator)
        share = torch.rand(shape, generator=self.generator) ** mixing.early
        number = (share * histories.num_episodes[donor]).long()
        first = below((histories.length[donor, number] + size - 1) // size, self.generator) * size
        return histories.trials(donor[:, 0], number, donor, first, size)

    def _paid_to(self, task: Tensor, trials: Trials) -> Trials:
        """Return trials as some tasks (M,) would have paid them."""
        foreign = torch.ones(trials.starts.shape[:2], dtype=torch.bool)
        return repaid(trials._replace(task=task), self.tasks[task], foreign, self._pay)


def repaid(trials: Trials, params: Tensor, foreign: Tensor, pay: Pay) -> Trials:
    """Return trials in which steps of foreign episodes (M, K) bool earn what tasks `params` (M, P) pay."""
    told = pay(params, trials)
    of_others = foreign.gather(1, trials.episode) & trials.valid
    return trials._replace(reward=torch.where(of_others, told, trials.reward))
