"""The networks of ResiP's residual (Ankile et al., arXiv 2407.16677)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robofb.policies.gaussian import Gaussian, GaussianActor, relu_mlp


class ResidualActorCritic(nn.Module):
    """Separate actor and critic of the residual; the mean residual is exactly zero at the start.

    Args:
        obs_dim: size of the actor's input.
        action_dim: A.
        critic_obs_dim: size of the critic's input; `obs_dim` where None.
        hidden: sizes of the hidden layers of both networks.
        scale: normalised action = base + scale * residual.
        init_log_std: natural logarithm of the residual's initial standard deviation, before scaling.
        learn_std: train the standard deviation.
        generator: draws the initial weights; the global one where None.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        *,
        critic_obs_dim: int | None = None,
        hidden: Sequence[int] = (256, 256),
        scale: float = 0.1,
        init_log_std: float = -1.0,
        learn_std: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.actor = GaussianActor(
            obs_dim,
            action_dim,
            hidden=hidden,
            init_log_std=init_log_std,
            learn_std=learn_std,
            generator=generator,
        )
        self.obs_dim = obs_dim
        self.critic_obs_dim = obs_dim if critic_obs_dim is None else critic_obs_dim
        self.critic = relu_mlp(self.critic_obs_dim, hidden, 1, out_bias=True, generator=generator)
        head: Any = self.critic[-1]
        nn.init.orthogonal_(head.weight, gain=0.25, generator=generator)
        nn.init.constant_(head.bias, 0.25)

    def distribution(self, obs: Tensor) -> Gaussian:
        """Return the distribution of the residual, before scaling, for actor inputs (B, obs_dim)."""
        return self.actor(obs)

    def value(self, critic_obs: Tensor) -> Tensor:
        """Return the values (B,) of critic inputs (B, critic_obs_dim)."""
        return self.critic(critic_obs)[:, 0]
