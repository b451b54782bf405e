"""Chunks by regression: behaviour cloning with no noise, the "MLP, chunks" of ResiP (arXiv 2407.16677)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robofb.errors import UserError
from robofb.policies.chunk_policy import ChunkPolicy
from robofb.policies.guesser import Guesser
from robofb.policies.schedule import checked_clip
from robofb.rng import EpisodeRng
from robofb.types import Batch, EnvSpec, Obs

ERRORS = {"l1": F.l1_loss, "l2": F.mse_loss}


class MlpChunkPolicy(ChunkPolicy):
    """Predict one chunk for one history: the median (L1) or mean (L2) of what was demonstrated there.

    It draws no random numbers. Where demonstrations go different ways, it goes between.

    Args:
        spec: what the environment shows and accepts.
        regressor: builds the network, conditions (B, C) -> (B, H, A), from (action_dim, horizon, cond_dim).
        error: "l1" or "l2", what training makes small.
        clip: largest absolute normalised action when acting; 1 keeps chunks within the range of the data.
        guess: flat observations that are there in training and that the policy learns to tell from what it
            sees, as beginnings of their elements' names by key, such as {"state": ["leg_", "top_"]}, or None
            for all elements that it does not see. The regressor gets what was guessed beside what is seen.
            None: nothing.
        guess_weight: of the guess's error in the loss.
        seen: what it sees and how long its chunks are: see `ChunkPolicy`.

    Raises:
        UserError: an argument out of range, or an observation that is missing or cannot be seen.
    """

    def __init__(
        self,
        spec: EnvSpec,
        regressor: Callable[..., nn.Module],
        *,
        error: str = "l1",
        clip: float = 1.0,
        guess: Mapping[str, Sequence[str] | None] | None = None,
        guess_weight: float = 1.0,
        **seen: Any,
    ) -> None:
        super().__init__(spec, **seen)
        if error not in ERRORS:
            raise UserError(f"error '{error}' is unknown; valid: {', '.join(ERRORS)}")
        self.error, self.clip = ERRORS[error], checked_clip(clip)
        if guess_weight < 0:
            raise UserError(f"guess_weight={guess_weight}: needs at least 0")
        self.guess_weight = guess_weight
        shown = seen.get("elements")
        self.guesser = Guesser(self.spec, self.flat_keys, self.cond_dim, guess, shown) if guess else None
        cond_dim = self.cond_dim + (0 if self.guesser is None else self.guesser.num_guessed)
        self.regressor = regressor(action_dim=self.action_dim, horizon=self.horizon, cond_dim=cond_dim)

    @property
    def network(self) -> nn.Module:
        """The regressor."""
        return self.regressor

    def predict(self, obs: Obs) -> Tensor:
        """Return normalised chunks (B, H, A) for histories (B, To, ...), not clipped, with gradients."""
        return self._predict(obs)[0]

    def _predict(self, obs: Obs) -> tuple[Tensor, Tensor | None]:
        """Return what `predict` does, and what is guessed (B, G) where anything is."""
        seen = self.encode(obs)
        guessed = None if self.guesser is None else self.guesser(seen)
        cond = seen if guessed is None else torch.cat([seen, guessed], -1)
        return self.regressor(cond).to(torch.float32), guessed

    def act(self, obs: Obs, rng: EpisodeRng) -> Tensor:
        """Return chunks (B, H, A) in environment units for histories (B, To, ...); draws nothing."""
        with torch.inference_mode():
            chunk = self.normalizer.inverse(self.predict(obs).clamp(-self.clip, self.clip), "action")
        return chunk.clone()  # an ordinary tensor, of which autograd may keep a reference

    def loss(self, batch: Batch, rng: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted mean error of the chunks; draws nothing.

        Args:
            batch: in environment units.
            rng: not drawn from.
        """
        chunk, guessed = self._predict(batch.obs)
        target = self.normalizer(batch.action, "action")
        loss, metrics = self.weigh(self.error(chunk, target, reduction="none"), batch)
        if self.guesser is None or guessed is None:
            return loss, metrics
        truth = self.guesser.truth({key: self.normalizer(batch.obs[key], key) for key in self.guesser.keys})
        error = F.l1_loss(guessed.float(), truth, reduction="none").unsqueeze(1)  # (B, 1, G)
        missed, _ = self.weigh(error, batch)
        return loss + self.guess_weight * missed, {**metrics, "guess": missed.detach()}
