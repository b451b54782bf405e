"""Turn a stateless chunk policy into one action per control step: the only place that knows about chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.interfaces import Policy
from robofb.rng import SAMPLER_STREAM, EpisodeRng, derive_seeds
from robofb.types import Obs

CPU_TILE = 16
"""Networks are called with whole tiles of rows. Measured with oneMKL on AVX-512, 1 and 2 threads, float32 and
bfloat16: a row's result is bit-equal at every position of a call of 16, 32, 48 .. 256 rows, for Conv1d, for
elementwise functions of an even width, and for Linear layers whose input width is a multiple of 4 or whose
output is wider than 11 (others differ in the last bit). Batches of 1 or 2 rows take other kernels, hence
tiles. They are small because, once their episodes differ in length, only 1 in Ta envs replans at a time."""

GPU_TILE = 256
"""The same where a call costs the same for few rows and for many."""

MOST_ROWS = 256
"""Rows of one call: as many tiles as there are, up to these; many rows take half as long as tile by tile."""


def tiles_of(rows: Tensor, tile: int, most: int = MOST_ROWS) -> Sequence[Tensor]:
    """Cut rows (n,) int64, n >= 1, into calls of whole tiles, of up to `most` rows.

    The last row fills up the last tile, so that no row stands in two calls: one whose random stream is drawn
    from once per call draws once. Tiles smaller than `CPU_TILE` are calls of their own.
    """
    padding = -len(rows) % tile
    size = tile if tile < CPU_TILE else max(tile, most // tile * tile)
    return torch.cat([rows, rows[-1:].expand(padding)]).split(size)


def forward_in_tiles(function: Callable[[Tensor], Tensor], x: Tensor, tile: int) -> Tensor:
    """Apply a row-wise function to x (n, ...) in whole tiles, so that no row depends on n."""
    rows = torch.arange(len(x), device=x.device)
    return torch.cat([function(x[call]) for call in tiles_of(rows, tile)])[: len(x)]


class ChunkExecutor:
    """Keep each env's observation history and queue of planned actions; replan where the queue is empty.

    Implements `interfaces.Agent`. An env's actions depend on its own observations and seeds alone: bit for
    bit the same whatever `num_envs` is, in whichever slot, and whichever others replan with it.
    Call `reset` for every env before the first `next`.

    Args:
        policy: plans chunks (B, H, A) from histories (B, To, ...).
        num_envs: B.
        execute: Ta, actions taken from each chunk, at most the horizon; the policy's own where None.
        device: where observations and actions live.
        tile: the policy is called with whole tiles of so many rows; `CPU_TILE` or `GPU_TILE` where None. 1
            gives the least latency for a single robot.

    Raises:
        UserError: `execute` lies outside 1..horizon.
    """

    def __init__(
        self,
        policy: Policy,
        num_envs: int,
        *,
        execute: int | None = None,
        device: torch.device | str = "cpu",
        tile: int | None = None,
    ) -> None:
        execute = policy.execute if execute is None else execute
        if not 1 <= execute <= policy.horizon:
            raise UserError(
                f"execute={execute}: a chunk of this policy has {policy.horizon} actions; "
                f"choose 1 to {policy.horizon}"
            )
        self.policy = policy
        self.num_envs = num_envs
        self.execute = execute
        self.device = torch.device(device)
        self.tile = tile or (CPU_TILE if self.device.type == "cpu" else GPU_TILE)
        action_dim = policy.spec.action.shape[0]
        self.phase = torch.zeros(num_envs, device=self.device)  # (B,) index / Ta of the last action
        self._rows = torch.arange(num_envs, device=self.device)
        self._rng = EpisodeRng(torch.zeros(num_envs, dtype=torch.int64, device=self.device))
        self._history: Obs = {}  # each (B, To, ...), oldest first
        self._fresh = torch.ones(num_envs, dtype=torch.bool, device=self.device)
        self._chunk = torch.zeros(num_envs, execute, action_dim, device=self.device)
        self._index = torch.full((num_envs,), execute, device=self.device)  # next action; Ta: queue empty

    def reset(self, mask: Tensor, seeds: Tensor) -> None:
        """Forget all about the envs in `mask` (B,) bool; restart their sampling noise from `seeds` (B,)."""
        mask, seeds = mask.to(self.device), seeds.to(self.device)
        self._fresh |= mask
        self._index.masked_fill_(mask, self.execute)
        self._rng.reseed(mask, derive_seeds(seeds, SAMPLER_STREAM)[mask])

    @torch.no_grad()
    def next(self, obs: Obs) -> Tensor:
        """Return the action (B, A) of this control step in environment units; `phase` then describes it."""
        self._history = self._histories(obs)
        self._fresh.zero_()
        empty = (self._index >= self.execute).nonzero()[:, 0]
        if len(empty):
            self._chunk[empty] = self._plan(self._history, empty)
            self._index[empty] = 0
        self.phase = self._index / self.execute
        action = self._chunk[self._rows, self._index]
        self._index += 1
        return action

    @property
    def chunk(self) -> Tensor:
        """(B, Ta, A) the actions being executed, in environment units."""
        return self._chunk

    def replan(self) -> None:
        """Drop what is left of every chunk: all envs plan anew in the next `next`."""
        self._index.fill_(self.execute)

    @torch.no_grad()
    def peek_chunk(self, obs: Obs, rows: Tensor) -> Tensor:
        """Return the chunks (n, Ta, A) that `rows` (n,) int64, n >= 1, would plan now, changing nothing.

        Args:
            obs: observations of all envs (B, ...); only `rows` are read.
        """
        streams = self._rng.state_dict()
        chunk = self._plan(self._histories(obs), rows)
        self._rng.load_state_dict(streams)
        return chunk

    @torch.no_grad()
    def peek(self, obs: Obs, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `next(obs)` would give for `rows` (n,) int64, changing nothing.

        For the value of an episode's final observation, which is never acted on.

        Args:
            obs: observations of all envs (B, ...); only `rows` are read.

        Returns:
            Actions (n, A) in environment units and their phases (n,).
        """
        action = self._chunk[rows, self._index[rows].clamp(max=self.execute - 1)]
        index = self._index[rows]
        empty = index >= self.execute
        if empty.any():
            action[empty] = self.peek_chunk(obs, rows[empty])[:, 0]
        return action, torch.where(empty, 0, index) / self.execute

    def state_dict(self) -> dict[str, Tensor | dict[str, Tensor]]:
        """Return everything that `next` depends on, for an exact resume."""
        return {
            "history": dict(self._history),
            "fresh": self._fresh.clone(),
            "chunk": self._chunk.clone(),
            "index": self._index.clone(),
            "phase": self.phase,
            "rng": self._rng.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Restore what `state_dict` returned, from an executor of the same size."""
        self._history = {key: value.to(self.device) for key, value in state["history"].items()}
        self._fresh.copy_(state["fresh"])
        self._chunk.copy_(state["chunk"])
        self._index.copy_(state["index"])
        self.phase = state["phase"].to(self.device)
        self._rng.load_state_dict(state["rng"])

    def _histories(self, obs: Obs) -> Obs:
        """Append obs (B, ...) to histories (B, To, ...); a fresh env's first observation fills its own."""
        histories = {}
        for key in self.policy.spec.obs:
            now = obs[key]
            if self.policy.obs_history == 1:
                histories[key] = now[:, None]
                continue
            first = now[:, None].expand(-1, self.policy.obs_history, *now.shape[1:])
            old = self._history.get(key, first)
            fresh = self._fresh.reshape(-1, *[1] * now.dim())
            histories[key] = torch.where(fresh, first, torch.cat([old[:, 1:], now[:, None]], dim=1))
        return histories

    def _plan(self, history: Obs, rows: Tensor) -> Tensor:
        """Return the chunks (n, Ta, A) of `rows` (n,), n >= 1. Padding draws nothing."""
        chunks = [
            self.policy.act({key: value[tile] for key, value in history.items()}, self._rng.select(tile))
            for tile in tiles_of(rows, self.tile)
        ]
        return torch.cat(chunks)[: len(rows), : self.execute].to(self._chunk.dtype)
