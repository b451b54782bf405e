"""Who acts in the episodes of a trial: by a belief, by a draw from it, by none, or told which task it is."""

from __future__ import annotations

import torch
from torch import Tensor

from robofb.interfaces import Teacher
from robofb.policies.hyper import HyperPolicy
from robofb.rl.borel.belief import Belief
from robofb.rng import ACTIONS_STREAM, SAMPLER_STREAM, EpisodeRng, derive_seeds
from robofb.types import Obs, Step


class BeliefAgent:
    """Act by a `HyperPolicy`, and carry the belief from episode to episode; a `meta_interfaces.TrialAgent`.

    Args:
        policy: acts, without exploring: what it does to find out is what it has learnt.
        num_envs: B.

    Attributes:
        belief: after what has been seen so far, (B, Z) each.
    """

    def __init__(self, policy: HyperPolicy, num_envs: int) -> None:
        self.policy, self.num_envs = policy, num_envs
        self._choices = EpisodeRng(torch.zeros(num_envs, dtype=torch.int64))
        self._hidden = policy.encoder.blank(num_envs)
        self.belief: Belief = policy.encoder.read(self._hidden)

    @torch.no_grad()
    def begin(self, seeds: Tensor) -> None:
        """Forget everything."""
        self._choices = EpisodeRng(derive_seeds(seeds, ACTIONS_STREAM))
        self._hidden = self.policy.encoder.blank(self.num_envs)
        self.belief = self.policy.encoder.read(self._hidden)

    @torch.no_grad()
    def next(self, obs: Obs) -> Tensor:
        """Return actions (B, A) in environment units."""
        return self.policy.act(obs["state"], self.acts_on().flat(), self._choices)

    def acts_on(self) -> Belief:
        """Return the belief that actions go by."""
        return self.belief

    @torch.no_grad()
    def watch(self, obs: Obs, action: Tensor, step: Step) -> None:
        """Take in what happened."""
        after = step.final_obs["state"]
        self._hidden = self.policy.encoder.after(self._hidden, obs["state"], action, after, step.reward)
        self.belief = self.policy.encoder.read(self._hidden)


class UnadaptedAgent(BeliefAgent):
    """Act as if every step were a trial's first: what is learnt in a trial is not used."""

    def acts_on(self) -> Belief:
        """Return the belief before anything was seen."""
        blank = self.policy.encoder.blank(self.num_envs)
        return self.policy.encoder.read(blank)


class SamplingAgent(BeliefAgent):
    """Draw a task from the belief at the start of each episode, and act as if one were sure of it.

    Posterior sampling (Thompson, 1933; Osband et al., arXiv 1306.0940) with the same belief and policy.
    """

    def __init__(self, policy: HyperPolicy, num_envs: int) -> None:
        super().__init__(policy, num_envs)
        self._rng = EpisodeRng(torch.zeros(num_envs, dtype=torch.int64))
        self._drawn = torch.zeros_like(self.belief.mean)

    def begin(self, seeds: Tensor) -> None:
        """Forget everything, and draw."""
        super().begin(seeds)
        self._rng = EpisodeRng(derive_seeds(seeds, SAMPLER_STREAM))
        self._draw(torch.ones(self.num_envs, dtype=torch.bool))

    def watch(self, obs: Obs, action: Tensor, step: Step) -> None:
        """Take in what happened; draw anew where an episode ended."""
        super().watch(obs, action, step)
        self._draw(step.done)

    def _draw(self, mask: Tensor) -> None:
        noise = self._rng.normal(self.policy.encoder.latent)
        self._drawn = torch.where(mask[:, None], self.belief.sample(noise), self._drawn)

    def acts_on(self) -> Belief:
        """Return a belief that is sure of what was drawn."""
        return Belief(self._drawn, self.policy.certain.expand_as(self._drawn))


class ToldAgent:
    """Do what a task's teacher does, who sees which task it is: the oracle; a `meta_interfaces.TrialAgent`.

    Args:
        teacher: answers.
        chooses: whether its answers are log-probabilities of choices.
    """

    def __init__(self, teacher: Teacher, chooses: bool) -> None:
        self._teacher, self._chooses = teacher, chooses

    def begin(self, seeds: Tensor) -> None:
        """Remember nothing."""

    def next(self, obs: Obs) -> Tensor:
        """Return the teacher's likeliest actions (B, A)."""
        answer = self._teacher.answer(obs)
        return answer.argmax(-1, keepdim=True) if self._chooses else answer

    def watch(self, obs: Obs, action: Tensor, step: Step) -> None:
        """Learn nothing."""
