"""A policy of hyper-states: where one is, and what one believes of the task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robofb.interfaces import Teacher
from robofb.nets.stacked import StackedMlp
from robofb.policies.squashed import SquashedGaussian
from robofb.rl.borel.belief import Belief, BeliefEncoder
from robofb.rng import SAMPLER_STREAM, EpisodeRng, derive_seeds
from robofb.types import EnvSpec, Obs, Step

_MOST = 5.0  # largest absolute normalised number of a belief


class HyperPolicy(nn.Module):
    """Values of choices, or a squashed Gaussian, of [state, mean, log-variance] (arXiv 2008.02598, sec. 4).

    Args:
        spec: of the environment, whose "state" is seen.
        encoder: settings of its `BeliefEncoder`.
        hidden: sizes of the hidden layers.
        generator: draws the initial weights; the global one where None.

    Attributes:
        in_dim: F, size of a hyper-state as networks take it.
        certain: (Z,) log-variance of somebody who is sure.
        num_choices, action_dim: see `StudentPolicy`; of choices `action_dim` is 1.
    """

    num_agents = 1  # of what `rl.single_task` trains
    belief_mean: Tensor
    belief_std: Tensor
    certain: Tensor

    def __init__(
        self,
        spec: EnvSpec,
        encoder: dict[str, int],
        *,
        hidden: Sequence[int] = (64, 64),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.hidden = spec.only(["state"]), tuple(hidden)
        self.encoder = BeliefEncoder(spec, **encoder, generator=generator)
        self.num_choices, self.action_dim = self.encoder.num_choices, spec.action.shape[0]
        self.in_dim = self.encoder.state_dim + 2 * self.encoder.latent
        self.register_buffer("belief_mean", torch.zeros(2 * self.encoder.latent))
        self.register_buffer("belief_std", torch.ones(2 * self.encoder.latent))
        self.register_buffer("certain", torch.zeros(self.encoder.latent))
        out = self.num_choices or 2 * self.action_dim
        self.net = StackedMlp([self.in_dim, *hidden, out], 1, generator=generator)

    def watch(self, beliefs: Tensor) -> None:
        """Normalise beliefs by the mean and deviation of these, (n, 2 Z), from now on.

        `certain` becomes the log-variance that one in ten of them is below, in each dimension.
        """
        log_variance = beliefs[:, self.encoder.latent :]
        rank = max(1, len(beliefs) // 10)
        self.certain.copy_(log_variance.kthvalue(rank, 0).values)
        self.belief_mean.copy_(beliefs.mean(0))
        self.belief_std.copy_(beliefs.std(0).clamp_min(1e-3))

    def inputs(self, state: Tensor, belief: Tensor) -> Tensor:
        """Return hyper-states (..., F) of states (..., D) and flat beliefs (..., 2 Z)."""
        scaled = (belief - self.belief_mean) / self.belief_std
        return torch.cat([self.encoder.states(state), scaled.clamp(-_MOST, _MOST)], -1)

    def forward(self, x: Tensor) -> Tensor:
        """Return values (1, b, n) of choices, or raw Gaussians (1, b, 2 A), of hyper-states (1, b, F)."""
        return self.net(x)

    def act(self, state: Tensor, belief: Tensor) -> Tensor:
        """Return the best actions (b, A) in environment units for states (b, D) and flat beliefs (b, 2 Z)."""
        out = self.net(self.inputs(state, belief)[None])[0]
        if self.num_choices:
            return out.argmax(-1, keepdim=True)
        middle, radius = self.encoder.get_buffer("_middle"), self.encoder.get_buffer("_radius")
        return middle + radius * SquashedGaussian.of(out, 1.0).mode


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
        self._hidden = policy.encoder.blank(num_envs)
        self.belief: Belief = policy.encoder.read(self._hidden)

    @torch.no_grad()
    def begin(self, seeds: Tensor) -> None:
        """Forget everything."""
        self._hidden = self.policy.encoder.blank(self.num_envs)
        self.belief = self.policy.encoder.read(self._hidden)

    @torch.no_grad()
    def next(self, obs: Obs) -> Tensor:
        """Return actions (B, A) in environment units."""
        return self.policy.act(obs["state"], self.acts_on().flat())

    def acts_on(self) -> Belief:
        """Return the belief that actions go by."""
        return self.belief

    @torch.no_grad()
    def watch(self, obs: Obs, action: Tensor, step: Step) -> None:
        """Take in what happened."""
        after = step.final_obs["state"]
        self._hidden = self.policy.encoder.after(self._hidden, obs["state"], action, after, step.reward)
        self.belief = self.policy.encoder.read(self._hidden)

    def state_dict(self) -> dict[str, Any]:
        """Return the encoder's memories."""
        return {"hidden": self._hidden.clone()}


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

    def state_dict(self) -> dict[str, Any]:
        """Return nothing."""
        return {}
