"""What a diffusion policy asks of its network."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

Context = tuple[Tensor, ...]
"""What a network makes of diffusion step and observation alone."""


class Denoiser(nn.Module, ABC):
    """A network in three parts, so that sampling need not repeat what does not depend on the chunk.

    Sampling knows its diffusion steps once and for all, and the observation beforehand: it keeps the
    features of the steps, and computes the contexts of all steps in one call. At batch 1, where reading
    weights is what takes the time, that reads them once.

    Attributes:
        step: maps diffusion steps (...), whole or not, to features (..., F).
    """

    step: nn.Module

    @property
    def undecayed(self) -> list[nn.Parameter]:
        """The parameters that weight decay leaves alone."""
        return []

    def forward(self, noisy: Tensor, step: Tensor, cond: Tensor) -> Tensor:
        """Return the prediction (B, H, A) for noisy chunks (B, H, A), steps (B,), conditions (B, C)."""
        return self.denoise(noisy, self.context(self.step(step), cond))

    @abstractmethod
    def context(self, step_features: Tensor, cond: Tensor) -> Context:
        """Return what the network makes of steps and conditions, paired by broadcasting.

        Features (B, F) and conditions (B, C) give tensors (B, ...); features (S, 1, F) give (S, B, ...).
        """

    @abstractmethod
    def denoise(self, noisy: Tensor, context: Context) -> Tensor:
        """Return the prediction (B, H, A) for noisy chunks (B, H, A) and their context (B, ...)."""
