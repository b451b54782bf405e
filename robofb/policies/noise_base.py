"""What policies share that put something learnt around a frozen diffusion policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

from torch import Tensor, nn

from robofb.errors import UserError
from robofb.interfaces import Policy
from robofb.types import EnvSpec, Obs


class NoisePolicy(Policy, Protocol):
    """A chunk policy, an nn.Module, that makes its chunks from noise and else of nothing random."""

    normalizer: Any

    def eval(self) -> Any: ...

    def encode(self, obs: Obs) -> Tensor:
        """Return what it sees (B, C) of histories (B, To, ...)."""
        ...

    def act_from_noise(self, cond: Tensor, noise: Tensor) -> Tensor:
        """Return chunks (B, H, A) in environment units for what it sees and noise (B, H, A)."""
        ...


class AroundNoisePolicy(nn.Module):
    """A chunk policy around a frozen one, with what the frozen one says of itself.

    Args:
        spec: what the environment shows and accepts.
        base: builds the frozen policy from the spec.
        obs_dim: C, size of what the base sees, as its `encode` returns it.
        method: what is done to the base, such as "DSRL steers", for messages.

    Raises:
        UserError: the base does not start from noise.
    """

    def __init__(
        self, spec: EnvSpec, base: Callable[[EnvSpec], NoisePolicy], obs_dim: int, method: str
    ) -> None:
        super().__init__()
        self.base: Any = base(spec)
        if not hasattr(self.base, "act_from_noise"):
            raise UserError(
                f"{type(self.base).__name__} makes no chunks from noise: {method} diffusion policies"
            )
        self.base.eval().requires_grad_(False)
        self.spec: EnvSpec = self.base.spec
        self.obs_history, self.horizon = self.base.obs_history, self.base.horizon
        self.execute, self.obs_dim = self.base.execute, obs_dim

    @property
    def normalizer(self) -> Any:
        """The base's."""
        return self.base.normalizer

    def train(self, mode: bool = True) -> Self:
        """Set the mode of what is learnt; the base stays in evaluation mode."""
        super().train(mode)
        self.base.eval()
        return self

    def encode(self, obs: Obs) -> Tensor:
        """Return what the base and what is learnt see, (B, C), of histories (B, To, ...)."""
        return self.base.encode(obs)
