"""Trials of one task made of episodes from others, paid as this task would pay (reward relabelling).

Where no agent of task i ever goes, its log does not say what it would find there, and an encoder learns to
tell tasks by their agents' habits instead (MDP ambiguity; arXiv 2008.02598, sec. 4.2). What others did
elsewhere, paid by task i's own reward, fills the gap; for tasks that differ in rewards alone it is exactly
what would have happened.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robofb.meta_interfaces import MetaTask
from robofb.rl.borel.released import REPLACEMENT, Pay, pay_of
from robofb.rl.histories import Histories, Trials


class TrialDraw:
    """Draw trials of K episodes from histories, some of them with episodes of other agents.

    Args:
        histories: the logs.
        family: whose `relabel` pays.
        episodes_per_trial: K.
        mixed: share of the trials that have foreign episodes.
        whole: each of their episodes is anybody's; else the first K // 2 are one other agent's, as in the
            paper. Agents know their task: what one does where the belief is still vague betrays it, and a
            policy that learns from it by values hopes for too much. Nobody's habits do, in whole mixtures.
        common: the trials drawn in a call are the same for each of its tasks, but for what they pay. As long
            as nothing was found they are one history, which several tasks have had: what can be told of it
            then is seen at once, and not over many draws. Of whole mixtures alone.
        generator: draws them.
        piece: cut episodes into pieces of so many steps, and make trials of as many steps of anybody's
            pieces at random; None leaves them whole. Who has walked to K goals and stayed has seen little
            of where the goal is not, and logs hold nobody's search: trials of pieces have been everywhere.
            A belief is of steps, and does not mind that they do not meet.
        early: above 1, anybody's episodes are drawn from the first ones of a log more often than from later
            ones: one is numbered below a share x of all with the chance x ** (1 / early). Agents that do not
            know their task yet search; later they walk to their goal.
        defects: of the released code; see `released`.
    """

    def __init__(
        self,
        histories: Histories,
        family: MetaTask,
        episodes_per_trial: int,
        *,
        mixed: float,
        whole: bool,
        generator: torch.Generator,
        early: float = 1.0,
        piece: int | None = None,
        common: bool = False,
        defects: frozenset[str] = frozenset(),
    ) -> None:
        self.histories, self.count, self.defects = histories, episodes_per_trial, defects
        self.early, self.piece, self.common = early, piece, common
        self.mixed, self.whole, self.generator = mixed, whole, generator
        self._pay = pay_of(family, defects)

    def __call__(self, num_agents: int, per_agent: int) -> Trials:
        """Return trials of `num_agents` agents drawn without replacement, `per_agent` of each."""
        most = self.histories.num_agents
        if REPLACEMENT in self.defects:
            return self.of(
                torch.randint(most, (num_agents,), generator=self.generator).repeat_interleave(per_agent)
            )
        order = torch.randperm(most, generator=self.generator)[:num_agents]
        if not self.common:
            return self.of(order.repeat_interleave(per_agent))
        some = self.of(order[torch.arange(per_agent) % len(order)])
        row = torch.arange(per_agent).repeat(len(order))
        return self._paid_to(order.repeat_interleave(per_agent), some.rows(row))

    def of(self, agent: Tensor) -> Trials:
        """Return a trial of each of some agents (M,)."""
        histories = self.histories
        own, first, size = self._cut(histories.draw(agent, self.count, self.generator))
        if not self.mixed or histories.num_agents == 1:
            return histories.trials(agent, own, None, first, size)
        is_mixed = torch.rand(len(agent), generator=self.generator) < self.mixed
        donor, theirs, foreign = self._anybodys(own) if self.whole else self._anothers(agent)
        foreign = foreign & is_mixed[:, None]
        source = torch.where(foreign, donor, agent[:, None])
        number = torch.where(foreign, theirs, own)
        if first is not None:
            first = torch.where(foreign, self._a_piece_of(histories.length[source, number]), first)
        trials = histories.trials(agent, number, source, first, size)
        return repaid(trials, histories.params[agent], foreign, self._pay)

    def steps(self, agent: Tensor, count: int) -> Trials:
        """Return steps (M, count) of anybody's, the same for each of M agents, paid as its task would."""
        histories = self.histories
        donor = torch.randint(histories.num_agents, (1, count), generator=self.generator)
        number = self._part_of(histories.num_episodes[donor])
        first = self._part_of(histories.length[donor, number])
        steps = histories.trials(agent[:1], number, donor, first, 1)
        return self._paid_to(agent, steps.rows(torch.zeros_like(agent)))

    def _paid_to(self, agent: Tensor, trials: Trials) -> Trials:
        """Return trials as the tasks of some agents (M,) would have paid them."""
        foreign = torch.ones(trials.starts.shape[:2], dtype=torch.bool)
        return repaid(trials._replace(agent=agent), self.histories.params[agent], foreign, self._pay)

    def _part_of(self, most: Tensor) -> Tensor:
        """Return whole numbers below `most`, each as likely."""
        return (torch.rand(most.shape, generator=self.generator) * most).long()

    def _cut(self, own: Tensor) -> tuple[Tensor, Tensor | None, int | None]:
        """Return the episodes (M, K) piece by piece: whose each is, its first step, and steps in one."""
        if self.piece is None:
            return own, None, None
        first = torch.arange(0, self.histories.horizon, self.piece)
        return own.repeat_interleave(len(first), 1), first.tile(self.count).expand(len(own), -1), self.piece

    def _a_piece_of(self, length: Tensor) -> Tensor:
        """Return with which step one of the pieces of episodes of some lengths begins, drawn evenly."""
        assert self.piece is not None
        return self._part_of((length + self.piece - 1) // self.piece) * self.piece

    def _anybodys(self, own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return for each place (M, K) whose episode comes there, its number, and that it is foreign."""
        donor = torch.randint(self.histories.num_agents, own.shape, generator=self.generator)
        share = torch.rand(own.shape, generator=self.generator) ** self.early
        number = (share * self.histories.num_episodes[donor]).long()
        return donor, number, torch.ones(own.shape, dtype=torch.bool)

    def _anothers(self, agent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the same for consecutive episodes of one other agent, of which the first half is foreign."""
        others = self.histories.num_agents - 1
        donor = (agent + 1 + torch.randint(others, agent.shape, generator=self.generator)) % (others + 1)
        number = self.histories.draw(donor, self.count, self.generator)
        early = torch.arange(self.count) < self.count // 2
        return donor[:, None].expand_as(number), number, early.expand_as(number)


def repaid(trials: Trials, params: Tensor, foreign: Tensor, pay: Pay) -> Trials:
    """Return trials in which steps of foreign episodes (M, K) bool earn what tasks `params` (M, P) pay."""
    told = pay(params, trials)
    of_others = foreign.gather(1, trials.episode) & trials.valid
    return trials._replace(reward=torch.where(of_others, told, trials.reward))
