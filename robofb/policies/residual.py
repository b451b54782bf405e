"""ResiP: a small per-step correction on top of a frozen chunk policy (Ankile et al., arXiv 2407.16677)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from robofb.errors import UserError
from robofb.interfaces import Policy
from robofb.moments import RunningNormalizer
from robofb.policies.residual_networks import ResidualActorCritic
from robofb.types import EnvSpec, Obs


class ActionNormalizer(Protocol):
    """What the residual needs of a base policy's normaliser."""

    def __call__(self, x: Tensor, key: str) -> Tensor: ...

    def inverse(self, y: Tensor, key: str) -> Tensor: ...


class BasePolicy(Policy, Protocol):
    """A chunk policy, an nn.Module, whose normaliser defines the units that the residual works in."""

    normalizer: ActionNormalizer

    def eval(self) -> Any: ...


class Features(NamedTuple):
    """What the residual's networks see of one control step.

    Attributes:
        actor: (B, F) normalised observation, base action (normalised), chunk phase.
        critic: (B, F) or (B, F + 1): the same and, if asked for, the share of the episode's time left.
    """

    actor: Tensor
    critic: Tensor


class ResidualPolicy(nn.Module):
    """A frozen base policy and the residual trained on it: the weights of a residual checkpoint.

    Args:
        base: frozen here: its parameters take no gradient, and `train()` leaves it in evaluation mode.
        execute: actions executed per chunk, in training and ever after; the base's own where None.
        obs_keys: observations that the residual sees, each normalised by the base's normaliser; the base's
            own where None.
        critic_sees_time: also show the critic the share of the episode's time that is left.
        correction: (A,) what one unit of residual adds to the action, in environment units; None for the
            paper's choice, `scale` times half the range that the base's normaliser knows.
        hidden, scale, init_log_std, learn_std, generator: see `ResidualActorCritic`.
        chunked: decide once per chunk, for all its actions, on the observation and the chunk at its start.
        open_loop: let the actor see the observation at its chunk's start in every step of the chunk; the
            critic, which does not act, still sees the present one.
        running_obs_stats: normalise what the residual sees by the statistics of its own training, which the
            trainer keeps in `running`, instead of the base's.
        base_precision: "float32", or "bfloat16" for the products of the base's network, in training and ever
            after: faster, and another policy by the rounding.

    Attributes:
        residual_dim: numbers per decision: A, or Ta * A where `chunked`.
        running: normalises observations; None where the base's normaliser does.
        settings: the plain keyword arguments that rebuild this policy around an equal base.
    """

    def __init__(
        self,
        base: BasePolicy,
        *,
        execute: int | None = None,
        obs_keys: Sequence[str] | None = None,
        critic_sees_time: bool = True,
        hidden: Sequence[int] = (256, 256),
        scale: float = 0.1,
        correction: Sequence[float] | None = None,
        init_log_std: float = -1.0,
        learn_std: bool = False,
        chunked: bool = False,
        open_loop: bool = False,
        running_obs_stats: bool = False,
        base_precision: str = "float32",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_base(base)
        self.base: Any = base
        self.base.eval().requires_grad_(False)
        self.spec: EnvSpec = self.base.spec
        self.execute = self.base.execute if execute is None else execute
        self.obs_keys = tuple(self.spec.obs if obs_keys is None else obs_keys)
        self.critic_sees_time = critic_sees_time
        self.settings = {
            "execute": self.execute,
            "obs_keys": list(self.obs_keys),
            "critic_sees_time": critic_sees_time,
            "hidden": list(hidden),
            "scale": scale,
            "correction": None if correction is None else list(correction),
            "init_log_std": init_log_std,
            "learn_std": learn_std,
            "chunked": chunked,
            "open_loop": open_loop,
            "running_obs_stats": running_obs_stats,
            "base_precision": base_precision,
        }
        action_dim = self.spec.action.shape[0]
        check_correction(correction, action_dim)
        self.chunked, self.open_loop = chunked, open_loop
        self.base_dtype: torch.dtype = getattr(torch, base_precision)
        self.residual_dim = action_dim * (self.execute if chunked else 1)
        shapes = {key: self.spec.obs[key].shape for key in self.obs_keys}
        self.running = RunningNormalizer(shapes) if running_obs_stats else None
        obs_dim = sum(map(math.prod, shapes.values())) + self.residual_dim + 1
        self.actor_critic = ResidualActorCritic(
            obs_dim,
            self.residual_dim,
            critic_obs_dim=obs_dim + critic_sees_time,
            hidden=hidden,
            scale=scale,
            init_log_std=init_log_std,
            learn_std=learn_std,
            generator=generator,
        )

    def train(self, mode: bool = True) -> ResidualPolicy:
        """Set the mode of the residual; the base stays in evaluation mode."""
        super().train(mode)
        self.base.eval()
        return self

    def features(
        self, obs: Obs, plan: Tensor, phase: Tensor, time_left: Tensor, seen: Obs | None = None
    ) -> Features:
        """Build the networks' inputs.

        Args:
            obs: environment observations, (B, ...) each.
            plan: what is to be corrected, in environment units: the base's action (B, A), or its chunk
                (B, Ta, A) where `chunked`.
            phase: (B,) in [0, 1), where in its chunk the base action stands.
            time_left: (B,) in [0, 1], share of the episode's time limit that is left.
            seen: what the actor sees instead of `obs`.
        """
        context = [self.base.normalizer(plan, "action").flatten(1), phase[:, None]]
        present = torch.cat([*self._normalised(obs), *context], dim=1)
        actor = present if seen is None else torch.cat([*self._normalised(seen), *context], dim=1)
        critic = torch.cat([present, time_left[:, None]], dim=1) if self.critic_sees_time else present
        return Features(actor, critic)

    def _normalised(self, obs: Obs) -> list[Tensor]:
        normalizer = self.base.normalizer if self.running is None else self.running
        return [normalizer(obs[key], key).flatten(1) for key in self.obs_keys]

    def correct(self, base_action: Tensor, residual: Tensor) -> Tensor:
        """Return the corrected action (B, A) in environment units.

        base + scale * residual in normalised units (or base + correction * residual), computed as a
        correction in environment units, so that a zero residual returns the base action bit for bit.
        """
        if self.settings["correction"] is not None:
            return base_action + residual * base_action.new_tensor(self.settings["correction"])
        one = torch.ones_like(base_action[:1])
        inverse = self.base.normalizer.inverse
        units_per_normalised = (inverse(one, "action") - inverse(-one, "action")) / 2  # (1, A)
        return base_action + self.actor_critic.scale * residual * units_per_normalised


def check_base(base: Any) -> None:
    """Refuse a base policy that cannot say in which units its residual works."""
    if not hasattr(base, "normalizer"):
        raise UserError(
            f"base policy {type(base).__name__} has no `normalizer`: a residual works in its units"
        )


def check_correction(correction: Sequence[float] | None, action_dim: int) -> None:
    """Refuse a correction that does not have one number for each of the A actions."""
    if correction is not None and len(correction) != action_dim:
        raise UserError(
            f"correction has {len(correction)} numbers for {action_dim} actions: give one each, "
            "or correction=null to use scale"
        )
