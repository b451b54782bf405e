"""ResiP: a small per-step correction on top of a frozen chunk policy (Ankile et al., arXiv 2407.16677)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from robofb.errors import UserError
from robofb.interfaces import Policy
from robofb.policies.executor import ChunkExecutor, forward_in_tiles
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

    Attributes:
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
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
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
        }
        action_dim = self.spec.action.shape[0]
        check_correction(correction, action_dim)
        obs_dim = sum(math.prod(self.spec.obs[key].shape) for key in self.obs_keys) + action_dim + 1
        self.actor_critic = ResidualActorCritic(
            obs_dim,
            action_dim,
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

    def features(self, obs: Obs, base_action: Tensor, phase: Tensor, time_left: Tensor) -> Features:
        """Build the networks' inputs.

        Args:
            obs: environment observations, (B, ...) each.
            base_action: (B, A) environment units.
            phase: (B,) in [0, 1), where in its chunk the base action stands.
            time_left: (B,) in [0, 1], share of the episode's time limit that is left.
        """
        normalizer = self.base.normalizer
        parts = [normalizer(obs[key], key).flatten(1) for key in self.obs_keys]
        parts += [normalizer(base_action, "action"), phase[:, None]]
        actor = torch.cat(parts, dim=1)
        critic = torch.cat([actor, time_left[:, None]], dim=1) if self.critic_sees_time else actor
        return Features(actor, critic)

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


def check_correction(correction: Sequence[float] | None, action_dim: int) -> None:
    """Refuse a correction that does not have one number for each of the A actions."""
    if correction is not None and len(correction) != action_dim:
        raise UserError(
            f"correction has {len(correction)} numbers for {action_dim} actions: give one each, "
            "or correction=null to use scale"
        )


class ResidualAgent:
    """Act in B envs with the base policy plus its residual. Implements `interfaces.Agent`.

    `next` is deterministic. Training calls its two halves instead, with exploration in between:
    `observe` asks the base and leaves the networks' inputs in `features`; `apply` turns a residual into
    the action.

    Args:
        policy: the residual policy.
        num_envs: B.
        execute: replanning horizon; only the one that the residual was trained with is allowed.
        device: where observations and actions live.
        tile: rows per network call, see `ChunkExecutor`.

    Raises:
        UserError: `execute` differs from training's.
    """

    def __init__(
        self,
        policy: ResidualPolicy,
        num_envs: int,
        *,
        execute: int | None = None,
        device: torch.device | str = "cpu",
        tile: int | None = None,
    ) -> None:
        if execute is not None and execute != policy.execute:
            raise UserError(
                f"execute={execute}: this residual was trained to replan every {policy.execute} actions "
                f"and corrects no other plan: use execute={policy.execute} or train a residual for {execute}"
            )
        self.policy = policy
        self.num_envs = num_envs
        self.device = torch.device(device)
        self.executor = ChunkExecutor(policy.base, num_envs, execute=policy.execute, device=device, tile=tile)
        self.base_action = torch.zeros(num_envs, policy.spec.action.shape[0], device=self.device)
        self.features = Features(torch.empty(0), torch.empty(0))
        self._num_actions = torch.zeros(num_envs, device=self.device)  # (B,) in this episode

    @property
    def execute(self) -> int:
        """Actions executed per chunk, as in training."""
        return self.policy.execute

    @property
    def phase(self) -> Tensor:
        """(B,) in [0, 1), where in its chunk the present base action stands."""
        return self.executor.phase

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        """Forget everything about the envs in `mask` (B,) bool; reseed the base's noise from `seeds` (B,)."""
        self.executor.reset(mask, seeds)
        self._num_actions.masked_fill_(mask.to(self.device), 0.0)

    @torch.no_grad()
    def observe(self, obs: Obs) -> None:
        """Ask the base for this step's action and build `features`."""
        self.base_action = self.executor.next(obs)
        time_left = self._time_left(self._num_actions)
        self.features = self.policy.features(obs, self.base_action, self.executor.phase, time_left)
        self._num_actions += 1

    @torch.no_grad()
    def apply(self, residual: Tensor) -> Tensor:
        """Return the base action corrected by `residual` (B, A), in environment units."""
        return self.policy.correct(self.base_action, residual)

    @torch.no_grad()
    def next(self, obs: Obs) -> Tensor:
        """Return the action (B, A) of this control step: the base's, corrected by the mean residual."""
        self.observe(obs)
        actor = self.policy.actor_critic.actor
        return self.apply(forward_in_tiles(actor.mean, self.features.actor, self.executor.tile))

    @torch.no_grad()
    def final_features(self, final_obs: Obs, rows: Tensor) -> Features:
        """Build the features of `rows` (n,) at final observations that nobody acts on, changing nothing.

        Args:
            final_obs: observations of all envs (B, ...); only `rows` are read.
        """
        base_action, phase = self.executor.peek(final_obs, rows)
        time_left = self._time_left(self._num_actions[rows])
        obs = {key: final_obs[key][rows] for key in self.policy.obs_keys}
        return self.policy.features(obs, base_action, phase, time_left)

    def _time_left(self, num_actions: Tensor) -> Tensor:
        return (1.0 - num_actions / self.policy.spec.max_steps).clamp(min=0.0)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that acting depends on except the policy's weights, for an exact resume."""
        return {
            "executor": self.executor.state_dict(),
            "base_action": self.base_action,
            "actor_features": self.features.actor,
            "critic_features": self.features.critic,
            "num_actions": self._num_actions.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, from an agent of the same size."""
        self.executor.load_state_dict(state["executor"])
        self.base_action = state["base_action"].to(self.device)
        self.features = Features(*(state[f"{name}_features"].to(self.device) for name in Features._fields))
        self._num_actions.copy_(state["num_actions"])
