"""Act with a base policy and the residual trained on it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.policies.executor import ChunkExecutor, forward_in_tiles
from robofb.policies.residual import Features, ResidualPolicy
from robofb.types import Obs


class ResidualAgent:
    """Act in B envs with the base policy plus its residual. Implements `interfaces.Agent`.

    `next` is deterministic. Training calls its two halves instead, with exploration in between:
    `observe` asks the base and leaves the networks' inputs in `features`; `apply` turns a residual into
    the action. A chunked residual counts where `decides` says so, and then holds for its chunk.

    Args:
        policy: the residual policy.
        num_envs: B.
        execute: replanning horizon; only the one that the residual was trained with is allowed.
        device: where observations and actions live.
        tile: rows per network call, see `ChunkExecutor`.

    Attributes:
        most: each number of a residual that `next` acts by is cut to [-most, most]; as trained, nothing is.
        cut: (B,) bool, whether that happened to the last one.

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
        self.residual = torch.zeros_like(self.base_action)  # (B, A) of this step
        self._held = torch.zeros(num_envs, policy.residual_dim, device=self.device)
        self._obs: Obs = {}  # last given to `observe`
        self._seen: Obs = {}  # where open-loop: each (B, ...) at the start of the env's chunk
        self._num_actions = torch.zeros(num_envs, device=self.device)  # (B,) in this episode
        self.most = math.inf
        self.cut = torch.zeros(num_envs, dtype=torch.bool, device=self.device)

    @property
    def execute(self) -> int:
        """Actions executed per chunk, as in training."""
        return self.policy.execute

    @property
    def phase(self) -> Tensor:
        """(B,) in [0, 1), where in its chunk the present base action stands."""
        return self.executor.phase

    @property
    def decides(self) -> Tensor | None:
        """(B,) bool, envs in which this step's residual is a new decision; None where all are."""
        return self.phase == 0 if self.policy.chunked else None

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        """Forget everything about the envs in `mask` (B,) bool; reseed the base's noise from `seeds` (B,)."""
        self.executor.reset(mask, seeds)
        self._num_actions.masked_fill_(mask.to(self.device), 0.0)

    def replan(self) -> None:
        """Let every env begin a new chunk with the next observation."""
        self.executor.replan()

    @torch.no_grad()
    def observe(self, obs: Obs) -> None:
        """Ask the base for this step's action and build `features`."""
        with self._precision():
            self.base_action = self.executor.next(obs)
        if self.policy.open_loop:
            self._seen = {key: self._at_chunk_start(key, obs[key]) for key in self.policy.obs_keys}
        self._num_actions += 1
        self._obs = {key: obs[key] for key in self.policy.obs_keys}
        self.rebuild()

    @torch.no_grad()
    def rebuild(self) -> None:
        """Build `features` anew from what `observe` was last given, asking nobody."""
        plan = self.executor.chunk if self.policy.chunked else self.base_action
        seen = self._seen if self.policy.open_loop else None
        time_left = self._time_left(self._num_actions - 1)
        self.features = self.policy.features(self._obs, plan, self.phase, time_left, seen)

    def _at_chunk_start(self, key: str, now: Tensor) -> Tensor:
        starts = (self.phase == 0).reshape(-1, *[1] * (now.dim() - 1))
        return torch.where(starts, now, self._seen.get(key, now))

    @torch.no_grad()
    def apply(self, residual: Tensor) -> Tensor:
        """Return the base action corrected by `residual`, in environment units.

        Args:
            residual: (B, A), or (B, Ta * A) where chunked: taken up by the envs that decide.
        """
        if self.policy.chunked:
            self._held = torch.where((self.phase == 0)[:, None], residual, self._held)
            residual = self._present(self._held)
        self.residual = residual
        return self.policy.correct(self.base_action, residual)

    def _present(self, per_chunk: Tensor) -> Tensor:
        """Return what (B, Ta * A) numbers say of the present action, (B, A)."""
        index = (self.phase * self.execute).round().long()  # (B,) of the action in its chunk
        rows = torch.arange(self.num_envs, device=self.device)
        return per_chunk.unflatten(1, (self.execute, -1))[rows, index]

    @torch.no_grad()
    def next(self, obs: Obs) -> Tensor:
        """Return the action (B, A) of this control step: the base's, corrected by the mean residual."""
        self.observe(obs)
        actor = self.policy.actor_critic.actor
        wanted = forward_in_tiles(actor.mean, self.features.actor, self.executor.tile)
        residual = wanted.clamp(-self.most, self.most)
        self.cut = (residual != wanted).any(1)
        return self.apply(residual)

    @property
    def kl_to_base(self) -> Tensor:
        """(B,) KL of the last action from the base's, in nats: both with the residual's exploration.

        Of two Gaussians with the same deviation s whose means differ by the residual r: sum r^2 / (2 s^2).
        """
        log_std: Tensor = self.policy.actor_critic.actor.log_std.detach()
        if self.policy.chunked:
            log_std = self._present(log_std.expand(self.num_envs, -1))
        return 0.5 * ((self.residual * torch.exp(-log_std)) ** 2).sum(1)

    @torch.no_grad()
    def final_features(self, final_obs: Obs, rows: Tensor) -> Features:
        """Build what the critic sees of `rows` (n,) at final observations that nobody acts on.

        Changes nothing. A chunked residual's critic knows starts of chunks, so the base plans one there.

        Args:
            final_obs: observations of all envs (B, ...); only `rows` are read.
        """
        with self._precision():
            if self.policy.chunked:
                plan = self.executor.peek_chunk(final_obs, rows) if len(rows) else self.executor.chunk[:0]
                phase = torch.zeros(len(rows), device=self.device)
            else:
                plan, phase = self.executor.peek(final_obs, rows)
        time_left = self._time_left(self._num_actions[rows])
        obs = {key: final_obs[key][rows] for key in self.policy.obs_keys}
        return self.policy.features(obs, plan, phase, time_left)

    def _precision(self) -> torch.autocast:
        """Return the context in which the base is asked."""
        dtype = self.policy.base_dtype
        return torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)

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
            "held": self._held.clone(),
            "seen": dict(self._seen),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, from an agent of the same size."""
        self.executor.load_state_dict(state["executor"])
        self.base_action = state["base_action"].to(self.device)
        self.features = Features(*(state[f"{name}_features"].to(self.device) for name in Features._fields))
        self._num_actions.copy_(state["num_actions"])
        if "held" in state:  # older checkpoints know no chunked or open-loop residual
            self._held.copy_(state["held"])
            self._seen = {key: value.to(self.device) for key, value in state["seen"].items()}
