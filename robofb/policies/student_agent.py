"""Act with students in a vector env: each env's own memory, noise and choice among the policies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robofb.policies.executor import CPU_TILE, tiles_of
from robofb.policies.student import Choices, StudentPolicy
from robofb.rng import SAMPLER_STREAM, EpisodeRng, derive_seeds
from robofb.types import Obs


class StudentAgent:
    """Take one action per control step; implements `interfaces.Agent`.

    Args:
        policy: P policies.
        num_envs: B.
        greedy: take the likeliest action instead of drawing one.
        device: where observations and actions live.
        tile: rows per call of the networks, so that a row's action does not depend on B; all at once where
            None.

    Attributes:
        driver: (B,) int64 which of the policies acts in each env; the first where nobody says otherwise.
    """

    execute = 1

    def __init__(
        self,
        policy: StudentPolicy,
        num_envs: int,
        *,
        greedy: bool = True,
        device: torch.device | str = "cpu",
        tile: int | None = CPU_TILE,
    ) -> None:
        self.policy, self.num_envs, self.greedy, self.tile = policy, num_envs, greedy, tile
        self.device = torch.device(device)
        self._rows = torch.arange(num_envs, device=device)
        self._rng = EpisodeRng(torch.zeros(num_envs, dtype=torch.int64, device=device))
        self.driver = torch.zeros(num_envs, dtype=torch.int64, device=device)
        self.previous = torch.zeros(num_envs, policy.action_dim, device=device)  # one-hot, 0 at a start
        size = (2, policy.num_policies, num_envs, policy.memories.size)
        self._memory = torch.zeros(size, device=device)  # hidden and cell states

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        """Forget the envs in `mask` (B,) bool; draw their noise from `seeds` (B,) from now on."""
        rows = mask.nonzero()[:, 0]
        self._rng.reseed(rows, derive_seeds(seeds[rows], SAMPLER_STREAM))
        self.previous[rows] = 0.0
        self._memory[:, :, rows] = 0.0

    def next(self, obs: Obs) -> Tensor:
        """Return the action (B, A) of this control step, in environment units."""
        return self.take(self.choose(obs))

    def take(self, action: Tensor) -> Tensor:
        """Remember choices (B,) or normalised actions (B, A), and return them in environment units."""
        if self.policy.memories.size:
            self.previous = self.policy.one_hot(action)
        return self.policy.to_env(action)

    @torch.no_grad()
    def choose(self, obs: Obs) -> Tensor:
        """Return what each env's policy does now: choices (B,) or normalised actions (B, A)."""
        has_memory = bool(self.policy.memories.size)
        x = self.policy.inputs(self._seen(obs), self.previous if has_memory else None)
        tiles = tiles_of(self._rows, self.tile, self.tile) if self.tile else self._rows[None]
        outs = []
        for rows in tiles:
            state = (self._memory[0][:, rows], self._memory[1][:, rows]) if has_memory else None
            features, after = self.policy.memories(x[rows][:, None], state)
            if after is not None:
                self._memory[0][:, rows], self._memory[1][:, rows] = after
            outs.append(self.policy.heads(features[:, :, 0]))
        out = torch.cat(outs, 1)[self.driver, self._rows]  # (B, out)
        return self._draw(self.policy.read(out))

    def _seen(self, obs: Obs) -> Obs:
        return {key: obs[key] for key in self.policy.spec.obs}

    def _draw(self, wanted: Any) -> Tensor:
        if self.greedy:
            return wanted.mode
        if isinstance(wanted, Choices):
            return wanted.draw(self._rng)
        return wanted.sample(self._rng.normal(self.policy.action_dim))[0]

    def state_dict(self) -> dict[str, Any]:
        """Return what running episodes depend on."""
        return {
            "rng": self._rng.state_dict(),
            "driver": self.driver.clone(),
            "previous": self.previous.clone(),
            "memory": self._memory.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._rng.load_state_dict(state["rng"])
        self.driver.copy_(state["driver"])
        self.previous.copy_(state["previous"])
        self._memory.copy_(state["memory"])
