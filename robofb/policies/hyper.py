"""A policy of hyper-states: where one is, and what one believes of the task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robofb.nets.stacked import StackedMlp
from robofb.policies.squashed import SquashedGaussian
from robofb.rl.borel.belief import BeliefEncoder
from robofb.rng import EpisodeRng
from robofb.types import EnvSpec

_MOST = 5.0  # largest absolute normalised number of a belief


class HyperPolicy(nn.Module):
    """Values of choices, or a squashed Gaussian, of [state, mean, log-variance] (arXiv 2008.02598, sec. 4).

    Args:
        spec: of the environment, whose "state" is seen.
        encoder: settings of its `BeliefEncoder`.
        hidden: sizes of the hidden layers.
        temperature: of choices: above 0 one is made with a chance that grows as exp(Q / temperature).
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
        encoder: dict[str, Any],
        *,
        hidden: Sequence[int] = (64, 64),
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.hidden, self.temperature = spec.only(["state"]), tuple(hidden), temperature
        self.encoder = BeliefEncoder(spec, **encoder, generator=generator)
        self.num_choices, self.action_dim = self.encoder.num_choices, spec.action.shape[0]
        self.in_dim = self.encoder.place_dim + 2 * self.encoder.latent
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
        return torch.cat([self.encoder.places(state), scaled.clamp(-_MOST, _MOST)], -1)

    def forward(self, x: Tensor) -> Tensor:
        """Return values (1, b, n) of choices, or raw Gaussians (1, b, 2 A), of hyper-states (1, b, F)."""
        return self.net(x)

    def act(self, state: Tensor, belief: Tensor, rng: EpisodeRng) -> Tensor:
        """Return actions (b, A) in environment units.

        The best ones; of choices at a `temperature` above 0, drawn ones.

        Args:
            state: (b, D).
            belief: (b, 2 Z), flat.
            rng: b rows, draws them.
        """
        out = self.net(self.inputs(state, belief)[None])[0]
        if self.num_choices and self.temperature:
            out = out / self.temperature + rng.gumbel(self.num_choices)
        if self.num_choices:
            return out.argmax(-1, keepdim=True)
        return self.encoder.scale.to_env(SquashedGaussian.of(out, 1.0).mode)
