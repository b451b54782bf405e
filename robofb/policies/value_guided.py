"""The best of several chunks that a frozen diffusion policy proposes (IDQL; arXiv 2304.10573)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from robofb.policies.gaussian import relu_mlp
from robofb.policies.noise_base import AroundNoisePolicy, NoisePolicy
from robofb.rl.q_ensemble import QEnsemble
from robofb.rng import EpisodeRng
from robofb.types import Batch, EnvSpec, Obs


class ValueGuidedPolicy(AroundNoisePolicy):
    """Draw N chunks from a frozen policy and take the one that the critics value most; a chunk policy itself.

    Args:
        spec: what the environment shows and accepts.
        base: builds the frozen policy from the spec.
        obs_dim: C, size of what the base sees, as its `encode` returns it.
        num_samples: N.
        temperature: in training a chunk is taken with a chance that grows as exp(Q / temperature).
        hidden: sizes of the critics' hidden layers.
        num_critics: members of Q; the lowest counts.
        generator: draws the critics' initial weights.

    Raises:
        UserError: the base does not start from noise.
    """

    def __init__(
        self,
        spec: EnvSpec,
        base: Callable[[EnvSpec], NoisePolicy],
        *,
        obs_dim: int,
        num_samples: int = 16,
        temperature: float = 0.05,
        hidden: Sequence[int] = (256, 256),
        num_critics: int = 2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, base, obs_dim, "IDQL guides")
        self.action_dim = self.spec.action.shape[0]
        self.chunk_dim = self.execute * self.action_dim
        self.num_samples, self.temperature = num_samples, temperature
        self.q = QEnsemble(
            obs_dim, self.chunk_dim, hidden=hidden, num_members=num_critics, generator=generator
        )
        self.v = relu_mlp(obs_dim, hidden, 1, out_bias=True, generator=generator)

    @torch.no_grad()
    def propose(self, cond: Tensor, rng: EpisodeRng) -> tuple[Tensor, Tensor]:
        """Return N chunks (B, N, H, A) in environment units and their values (B, N)."""
        noise = rng.normal(self.num_samples, self.horizon, self.action_dim).to(cond)
        repeated = cond.repeat_interleave(self.num_samples, dim=0)
        chunks = self.base.act_from_noise(repeated, noise.flatten(0, 1))
        values = self.q(repeated, self.flat(chunks)).amin(0)
        return chunks.unflatten(0, (-1, self.num_samples)), values.unflatten(0, (-1, self.num_samples))

    def flat(self, chunks: Tensor) -> Tensor:
        """Return the executed rows of chunks (B, H, A) as critics see them: normalised, flat (B, Ta A)."""
        return self.normalizer(chunks[:, : self.execute], "action").flatten(1)

    @torch.no_grad()
    def act(self, obs: Obs, rng: EpisodeRng) -> Tensor:
        """Return the most valued chunks (B, H, A) in environment units for histories (B, To, ...)."""
        chunks, values = self.propose(self.encode(obs), rng)
        return _take(chunks, values.argmax(1))

    @torch.no_grad()
    def explore(self, obs: Obs, rng: EpisodeRng) -> tuple[Tensor, dict[str, Tensor]]:
        """Return chunks drawn by their values (Gumbel's trick), and what was seen and done."""
        cond = self.encode(obs)
        chunks, values = self.propose(cond, rng)
        gumbel = rng.gumbel(self.num_samples).to(cond)
        chunk = _take(chunks, (values / self.temperature + gumbel).argmax(1))
        return chunk, {"obs": cond, "action": self.flat(chunk)}

    @torch.no_grad()
    def wander(self, obs: Obs, rng: EpisodeRng) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the base's own chunks, and what was seen and done."""
        cond = self.encode(obs)
        chunk = self.base.act_from_noise(cond, rng.normal(self.horizon, self.action_dim).to(cond))
        return chunk, {"obs": cond, "action": self.flat(chunk)}

    def loss(self, batch: Batch, rng: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the base, which guidance leaves as it is."""
        return self.base.loss(batch, rng)


def _take(chunks: Tensor, index: Tensor) -> Tensor:
    """Return chunk `index` (B,) of chunks (B, N, H, A)."""
    return chunks[torch.arange(len(chunks), device=chunks.device), index]
