"""Learn beliefs by what they say of all of a trial's steps, those to come included (a variational bound)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robofb.optimisation import Adams
from robofb.rl.borel.belief import Belief, BeliefEncoder, sequential_kl
from robofb.rl.borel.decoders import Said
from robofb.rl.histories import Trials


class BeliefLearner:
    """Minimise the mean over trials and over their beliefs q_t, t = 0..T, of

    E_{z ~ q_t}[surprise of all steps 1..T to z] + w KL(q_t || q_{t-1}), with q_{-1} = N(0, 1)

    (arXiv 2008.02598, sec. 4.1; VariBAD, arXiv 1910.08348, eqs. 6 and 8). One draw of z stands for each q_t.

    Few of a trial's steps are still to come when it ends, so that its last beliefs are hardly asked about
    where it has not been. `update` can ask about other steps, from anywhere, paid as the trial's task pays.

    Args:
        encoder: gives the beliefs.
        said: decoders and their weights.
        kl_weight: w.
        lr: of Adam.
        latents_per_trial: that are decoded in an update, drawn evenly; all where None.
        generator: draws noise and which of them.
        grad_clip: largest gradient norm.
    """

    def __init__(
        self,
        encoder: BeliefEncoder,
        said: Sequence[Said],
        generator: torch.Generator,
        *,
        kl_weight: float = 0.05,
        lr: float = 3e-4,
        latents_per_trial: int | None = None,
        grad_clip: float = 10.0,
    ) -> None:
        self.encoder, self.said, self.generator = encoder, tuple(said), generator
        self.kl_weight, self.latents_per_trial, self.grad_clip = kl_weight, latents_per_trial, grad_clip
        self.modules = nn.ModuleDict({"encoder": encoder, **{one.name: one.decoder for one in said}})
        self._adams = Adams({"belief": self.modules.parameters()}, lr=lr)

    def loss(self, trials: Trials, asked: Trials | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss () and its parts, detached.

        Args:
            trials: M, whose beliefs are judged.
            asked: M of the same tasks, whose steps the decoders are asked about; the trials' own where None.
        """
        asked = trials if asked is None else asked
        beliefs = self.encoder(trials)
        count = beliefs.mean.shape[1]  # T + 1
        there = torch.arange(count) <= trials.lengths[:, None]  # (M, T + 1)
        share = there.float() / there.sum(1, keepdim=True)  # of each belief in its trial's mean
        kl = (sequential_kl(beliefs) * share).sum(1).mean()
        loss, metrics = self.kl_weight * kl, {"kl": kl.detach()}
        z, share = self._decoded(beliefs, share)
        for one in self.said:
            surprise = (one.decoder.surprise(z, asked, self.encoder) * share).sum(1).mean()
            loss = loss + one.weight * surprise
            metrics[f"{one.name}_surprise"] = surprise.detach()
        return loss, metrics | {"loss": loss.detach()}

    def _decoded(self, beliefs: Belief, share: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents that are decoded (M, L, Z), and the share (M, L) of each in its trial's mean."""
        noise = torch.randn(beliefs.mean.shape, generator=self.generator)
        z, count = beliefs.sample(noise), beliefs.mean.shape[1]
        if self.latents_per_trial is None or self.latents_per_trial >= count:
            return z, share
        chosen = torch.multinomial(share, self.latents_per_trial, replacement=True, generator=self.generator)
        rows = torch.arange(len(z))[:, None]
        return z[rows, chosen], torch.full(chosen.shape, 1 / self.latents_per_trial)

    def update(self, trials: Trials, asked: Trials | None = None) -> dict[str, Tensor]:
        """Take one gradient step by `loss`; return metrics."""
        loss, metrics = self.loss(trials, asked)
        norm = self._adams.descend("belief", loss, self.grad_clip)
        return metrics if norm is None else metrics | {"grad_norm": norm}

    def set_rate(self, lr: float) -> None:
        """Go on at a learning rate."""
        self._adams.set_rate(lr)

    def state_dict(self) -> dict[str, Any]:
        """Return all that learning continues from, the encoder included."""
        return {
            "modules": self.modules.state_dict(),
            "optimizers": self._adams.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.modules.load_state_dict(state["modules"])
        self._adams.load_state_dict(state["optimizers"])
        self.generator.set_state(state["generator"])
