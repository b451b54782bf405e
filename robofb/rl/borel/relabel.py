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
        generator: draws them.
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
        defects: frozenset[str] = frozenset(),
    ) -> None:
        self.histories, self.count, self.defects = histories, episodes_per_trial, defects
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
        return self.of(order.repeat_interleave(per_agent))

    def of(self, agent: Tensor) -> Trials:
        """Return a trial of each of some agents (M,)."""
        own = self.histories.draw(agent, self.count, self.generator)
        if not self.mixed or self.histories.num_agents == 1:
            return self.histories.trials(agent, own)
        is_mixed = torch.rand(len(agent), generator=self.generator) < self.mixed
        donor, theirs, foreign = self._anybodys(agent) if self.whole else self._anothers(agent)
        foreign = foreign & is_mixed[:, None]
        source = torch.where(foreign, donor, agent[:, None])
        trials = self.histories.trials(agent, torch.where(foreign, theirs, own), source)
        return repaid(trials, self.histories.params[agent], foreign, self._pay)

    def _anybodys(self, agent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return for each episode (M, K) whose it is, its number, and that it is foreign."""
        shape = (len(agent), self.count)
        donor = torch.randint(self.histories.num_agents, shape, generator=self.generator)
        share = torch.rand(shape, generator=self.generator)
        number = (share * self.histories.num_episodes[donor]).long()
        return donor, number, torch.ones(shape, dtype=torch.bool)

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
