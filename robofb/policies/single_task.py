"""Policies of many tasks at once, one for each, with weights of their own and computed together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robofb.moments import RunningNormalizer
from robofb.nets.stacked import StackedMlp
from robofb.policies.action_scale import ActionScale
from robofb.policies.squashed import SquashedGaussian
from robofb.rng import EpisodeRng
from robofb.types import EnvSpec, num_choices

STATE = "state"


class SingleTaskPolicies(nn.Module):
    """N policies of a flat "state": values of n choices, or squashed Gaussians of continuous actions.

    The state is normalised by what all N have seen, alike for all.

    Args:
        spec: of the environment.
        num_agents: N.
        hidden: sizes of the hidden layers.
        generator: draws the initial weights; the global one where None.

    Attributes:
        in_dim: D, size of a state.
        num_choices: n of a discrete action, None of a continuous one.
        action_dim: A.
        scale: between normalised actions and the environment's.
    """

    def __init__(
        self,
        spec: EnvSpec,
        num_agents: int,
        *,
        hidden: Sequence[int] = (32, 32),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.num_agents, self.hidden = spec.only([STATE]), num_agents, tuple(hidden)
        self.num_choices, self.action_dim = num_choices(spec.action), spec.action.shape[0]
        self.in_dim = size = spec.obs[STATE].shape[0]
        self.normalizer = RunningNormalizer({STATE: (size,)})
        self.scale = ActionScale(spec)
        out = self.num_choices or 2 * self.action_dim
        self.net = StackedMlp([size, *hidden, out], num_agents, layer_norm=False, generator=generator)
        if not self.num_choices:
            with torch.no_grad():  # near the middle of the box, and wide, at the start
                self.net.weights[-1].mul_(0.01)
                self.net.biases[-1].zero_()

    def normalized(self, state: Tensor) -> Tensor:
        """Return states (N, b, D) as the networks take them."""
        return self.normalizer(state, STATE)

    def forward(self, x: Tensor) -> Tensor:
        """Return values (N, b, n) of choices, or raw Gaussians (N, b, 2 A), for normalised states."""
        return self.net(x)

    def best(self, out: Tensor) -> Tensor:
        """Return the likeliest of normalised actions (N, b, A): choices int64, or in [-1, 1]."""
        if self.num_choices:
            return out.argmax(-1, keepdim=True)
        return SquashedGaussian.of(out, 1.0).mode

    def explored(self, out: Tensor, rng: EpisodeRng, epsilon: float) -> Tensor:
        """Return actions (N, b, A) that try something: any choice with chance `epsilon`, or a drawn one.

        Args:
            out: (N, b, ...) of `forward`.
            rng: N * b rows.
        """
        if self.num_choices is None:
            noise = rng.normal(self.action_dim).view(*out.shape[:-1], -1)
            return SquashedGaussian.of(out, 1.0).sample(noise)[0]
        chance, which = rng.uniform(2).view(*out.shape[:-1], 2).unbind(-1)
        random = (which * self.num_choices).long()[..., None]
        return torch.where((chance < epsilon)[..., None], random, self.best(out))


class SingleTaskAgent:
    """Act with each policy in S envs of its own task, without exploring; implements `interfaces.Agent`.

    Args:
        policies: N.
        num_envs: N * S; those of the first policy come first.
    """

    def __init__(self, policies: SingleTaskPolicies, num_envs: int) -> None:
        if num_envs % policies.num_agents:
            raise ValueError(f"{num_envs} envs cannot be shared evenly by {policies.num_agents} policies")
        self.policies = policies

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        """Forget nothing: there is no memory."""

    @torch.no_grad()
    def next(self, obs: dict[str, Tensor]) -> Tensor:
        """Return the actions (N * S, A) of this control step, in environment units."""
        state = obs[STATE].view(self.policies.num_agents, -1, obs[STATE].shape[-1])
        out = self.policies(self.policies.normalized(state))
        return self.policies.scale.to_env(self.policies.best(out)).flatten(0, 1)
