"""What a diffusion policy asks of its network."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

Context = tuple[Tensor, ...]
"""What a network makes of diffusion step and observation alone."""


class Denoiser(nn.Module, ABC):
    """A network in four parts, so that sampling need not repeat what does not depend on the chunk.

    Sampling knows its diffusion steps once and for all, and the observation beforehand: it keeps the
    features of the steps, makes those of the observation once, and the contexts of all steps in one call.
    At batch 1, where reading weights is what takes the time, that reads them once.

    Attributes:
        step: maps diffusion steps (...), whole or not, to features (..., F).
        cond: maps conditions (B, C) to features (B, ...).
    """

    step: nn.Module
    cond: nn.Module

    @property
    def undecayed(self) -> list[nn.Parameter]:
        """The parameters that weight decay leaves alone."""
        return []

    def forward(self, noisy: Tensor, step: Tensor, cond: Tensor) -> Tensor:
        """Return the prediction (B, H, A) for noisy chunks (B, H, A), steps (B,), conditions (B, C)."""
        return self.denoise(noisy, self.context(self.step(step), self.cond(cond)))

    @abstractmethod
    def context(self, step_features: Tensor, cond_features: Tensor) -> Context:
        """Return what the network makes of steps and conditions, by their features, paired by broadcasting.

        Those of steps (B, F) give tensors (B, ...); (S, 1, F) give (S, B, ...).
        """

    @abstractmethod
    def denoise(self, noisy: Tensor, context: Context) -> Tensor:
        """Return the prediction (B, H, A) for noisy chunks (B, H, A) and their context (B, ...)."""
