"""A frozen diffusion policy whose starting noise a small network chooses (DSRL; arXiv 2506.15799)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from robofb.policies.noise_base import AroundNoisePolicy, NoisePolicy
from robofb.policies.squashed import SquashedActor
from robofb.rng import EpisodeRng
from robofb.types import Batch, EnvSpec, Obs


class SteeredPolicy(AroundNoisePolicy):
    """Act with a frozen policy that starts from the noise which an actor picks; a chunk policy itself.

    The noise lies in a box, as unit noise mostly does: what the base was never trained on stays out of reach.

    Args:
        spec: what the environment shows and accepts.
        base: builds the frozen policy from the spec.
        hidden: sizes of the actor's hidden layers.
        bound: largest absolute noise.
        shared_noise: pick one noise vector (A,) for all rows of a chunk; else one for each row.
        obs_dim: C, size of what the base sees, as its `encode` returns it.
        generator: draws the actor's initial weights.

    Raises:
        UserError: the base does not start from noise.
    """

    def __init__(
        self,
        spec: EnvSpec,
        base: Callable[[EnvSpec], NoisePolicy],
        *,
        obs_dim: int,
        hidden: Sequence[int] = (256, 256),
        bound: float = 1.5,
        shared_noise: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, base, obs_dim, "DSRL steers")
        self.shared_noise = shared_noise
        action_dim = self.spec.action.shape[0]
        self.noise_dim = action_dim if shared_noise else self.horizon * action_dim
        self.actor = SquashedActor(obs_dim, self.noise_dim, hidden=hidden, bound=bound, generator=generator)

    def chunk(self, cond: Tensor, noise: Tensor) -> Tensor:
        """Return the base's chunks (B, H, A) in environment units from picked noise (B, noise_dim)."""
        rows = noise.unflatten(1, (-1, self.spec.action.shape[0]))
        return self.base.act_from_noise(cond, rows.expand(-1, self.horizon, -1))

    @torch.no_grad()
    def act(self, obs: Obs, rng: EpisodeRng) -> Tensor:
        """Return chunks (B, H, A) in environment units for histories (B, To, ...). Draws nothing."""
        cond = self.encode(obs)
        return self.chunk(cond, self.actor(cond).mode)

    @torch.no_grad()
    def explore(self, obs: Obs, rng: EpisodeRng) -> tuple[Tensor, dict[str, Tensor]]:
        """Return chunks (B, H, A) from noise that the actor draws, and what was seen and picked."""
        cond = self.encode(obs)
        noise, _ = self.actor(cond).sample(rng.normal(self.noise_dim).to(cond))
        return self.chunk(cond, noise), {"obs": cond, "action": noise}

    @torch.no_grad()
    def wander(self, obs: Obs, rng: EpisodeRng) -> tuple[Tensor, dict[str, Tensor]]:
        """Do the same with unit noise, cut off at the bound: the base as it is, but for that."""
        cond = self.encode(obs)
        noise = rng.normal(self.noise_dim).to(cond).clamp(-self.actor.bound, self.actor.bound)
        return self.chunk(cond, noise), {"obs": cond, "action": noise}

    def loss(self, batch: Batch, rng: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the base, which steering leaves as it is."""
        return self.base.loss(batch, rng)
