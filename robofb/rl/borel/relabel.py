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
from robofb.rl.borel.mixtures import Mixing, MixtureDraw, repaid
from robofb.rl.borel.released import REPLACEMENT, pay_of
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
        mixing = Mixing(episodes_per_trial)
        self._mixtures = MixtureDraw(histories, family, histories.params, mixing, generator, defects)

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
        histories = self.histories
        own = histories.trials(agent, histories.draw(agent, self.count, self.generator))
        if not self.mixed or histories.num_agents == 1:
            return own
        is_mixed = torch.rand(len(agent), generator=self.generator) < self.mixed
        mixed = self._mixtures.of(agent) if self.whole else self._halves(agent)
        parts = zip(mixed, own, strict=True)
        return Trials(*(torch.where(is_mixed.view(-1, *[1] * (m.dim() - 1)), m, o) for m, o in parts))

    def _halves(self, agent: Tensor) -> Trials:
        """Return consecutive episodes of some agents, of which another agent's replace the first half."""
        histories, others = self.histories, self.histories.num_agents - 1
        own = histories.draw(agent, self.count, self.generator)
        donor = (agent + 1 + torch.randint(others, agent.shape, generator=self.generator)) % (others + 1)
        theirs = histories.draw(donor, self.count, self.generator)
        foreign = (torch.arange(self.count) < self.count // 2).expand_as(own)
        source = torch.where(foreign, donor[:, None], agent[:, None])
        trials = histories.trials(agent, torch.where(foreign, theirs, own), source)
        return repaid(trials, histories.params[agent], foreign, self._pay)
