"""A Gaussian over executed chunks around a regression policy's own, and a critic: what PPO trains."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from robofb.errors import UserError
from robofb.interfaces import Policy
from robofb.policies.gaussian import Gaussian, relu_mlp
from robofb.rng import EpisodeRng
from robofb.types import Obs


class RegressionPolicy(Policy, Protocol):
    """A chunk policy, an nn.Module, that predicts one chunk and draws nothing."""

    normalizer: Any
    clip: float  # largest absolute normalised action

    @property
    def network(self) -> nn.Module:
        """Maps what is seen (B, C) to normalised chunks (B, H, A), with gradients."""
        ...

    def encode(self, obs: Obs) -> Tensor:
        """Return what it sees (B, C) of histories (B, To, ...)."""
        ...


class ChunkActor(nn.Module):
    """Give the distribution of the executed chunk, its mean by a policy's own network.

    Args:
        network: of a regression policy; trained in place.
        execute: Ta, rows of its chunks that are executed.
        action_dim: A.
        init_log_std: natural logarithm of the standard deviation of each normalised action at first.
        learn_std: train the standard deviations; else they stay.
    """

    def __init__(
        self, network: nn.Module, execute: int, action_dim: int, *, init_log_std: float, learn_std: bool
    ) -> None:
        super().__init__()
        self.network, self.execute = network, execute
        log_std = torch.full((execute * action_dim,), float(init_log_std))
        self.log_std = nn.Parameter(log_std, requires_grad=learn_std)

    def forward(self, cond: Tensor) -> Gaussian:
        """Return the distribution of flat normalised chunks (B, Ta A) for what is seen (B, C)."""
        return Gaussian(self.network(cond)[:, : self.execute].flatten(1), self.log_std)


class ChunkActorCritic(nn.Module):
    """Actor and critic of a regression policy, and the actor as it was at first, frozen.

    Args:
        policy: what is trained, in place; at first the actor's mean is exactly its chunk.
        obs_dim: C; the critic sees the share of the episode's time that is left besides.
        hidden: sizes of the critic's hidden layers.
        init_log_std, learn_std: see `ChunkActor`.
        generator: draws the critic's initial weights.

    Raises:
        UserError: the policy is no regression policy.
    """

    def __init__(
        self,
        policy: RegressionPolicy,
        obs_dim: int,
        *,
        hidden: Sequence[int],
        init_log_std: float,
        learn_std: bool,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not hasattr(policy, "predict"):
            raise UserError(
                f"{type(policy).__name__} predicts no chunk by itself: direct PPO trains regression "
                "policies, policy=mlp_chunk in train bc"
            )
        self._policy = [policy]  # no submodule: its network is one already
        self.action_dim = policy.spec.action.shape[0]
        network = policy.network.requires_grad_(True)
        self.actor = ChunkActor(
            network, policy.execute, self.action_dim, init_log_std=init_log_std, learn_std=learn_std
        )
        self.reference = copy.deepcopy(self.actor).requires_grad_(False)
        self.critic_obs_dim = obs_dim + 1
        self.critic = relu_mlp(self.critic_obs_dim, hidden, 1, out_bias=True, generator=generator)
        with torch.no_grad():
            self.critic[-1].weight.mul_(0.1)  # type: ignore[operator]

    def distribution(self, obs: Tensor) -> Gaussian:
        """Return the distribution of the executed chunk for what is seen (B, C)."""
        return self.actor(obs)

    def value(self, critic_obs: Tensor) -> Tensor:
        """Return the values (B,) of critic inputs (B, C + 1)."""
        return self.critic(critic_obs)[:, 0]

    @torch.no_grad()
    def explore(self, obs: Obs, rng: EpisodeRng) -> tuple[Tensor, dict[str, Tensor]]:
        """Return drawn chunks (B, Ta, A) in environment units, and what was seen and drawn.

        As the policy's own chunks, they are clipped; the density is that of the draw before.
        """
        policy = self._policy[0]
        cond = policy.encode(obs)
        distribution = self.actor(cond)
        noise = rng.normal(len(distribution.log_std)).to(cond)
        action = distribution.mean + distribution.log_std.exp() * noise
        normalised = action.clamp(-policy.clip, policy.clip).unflatten(1, (-1, self.action_dim))
        columns = {"obs": cond, "action": action, "mean": distribution.mean}
        chunk = policy.normalizer.inverse(normalised, "action")
        return chunk, columns | {"log_prob": distribution.log_prob(action)}
