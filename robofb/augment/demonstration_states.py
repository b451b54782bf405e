"""Take simulator states for reset banks from demonstrations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from robofb.augment.demonstrations import SAME_STATE
from robofb.augment.poses import action_columns, pose_key
from robofb.augment.settle import Settler
from robofb.errors import UserError
from robofb.rng import BANK_MAKING_STREAM, EpisodeRng, derive_seeds
from robofb.sim.bank_kinds import KINDS
from robofb.sim.vec_env import SimVecEnv
from robofb.store.episodes import EpisodeStore
from robofb.types import SIM_STATE

MOST_CREEP_M = 0.003  # in a second: a part that people gripped off its middle also turns between the pads


class DemonstrationStates:
    """Bring states along successful episodes to rest, and keep those that are sound.

    Args:
        store: demonstrations with `SIM_STATE`.
        env: see `Settler`; of the demonstrations' task.
        seed: of the order in which states are tried.

    Raises:
        UserError: no simulator states, no success, or another task or version of it.
    """

    def __init__(self, store: EpisodeStore, env: SimVecEnv, seed: int) -> None:
        self.env, self.settler, self._path = env, Settler(env, MOST_CREEP_M), store.path
        states, closed, shown = _steps_of(store, pose_key(env.spec))
        size = env.spec.obs[SIM_STATE].shape[0]
        if states.shape[1] != size:
            raise UserError(f"{store.path} holds states of {states.shape[1]} values, this simulator's {size}")
        rng = EpisodeRng(derive_seeds(seed, BANK_MAKING_STREAM).view(1))
        order = torch.argsort(rng.uniform(len(states))[0], stable=True)
        self._states, self._closed = states[order].to(env.device), closed[order].to(env.device)
        self._kind = self._kinds(shown[order].to(env.device))

    def _batches(self, rows: Tensor) -> list[Tensor]:
        """Return the rows (n,) in batches of B, the last filled up with its first."""
        size = self.env.num_envs
        parts = list(rows.split(size))
        return [torch.cat([part, part[:1].expand(size - len(part))]) for part in parts]

    def _kinds(self, shown: Tensor) -> Tensor:
        """Return the kind of each state; refuse a simulator that shows other observations there."""
        key = pose_key(self.env.spec)
        kinds = []
        for rows in self._batches(torch.arange(len(self._states), device=self.env.device)):
            difference = (self.env.restore(self._states[rows])[key] - shown[rows]).abs().max()
            if not difference <= SAME_STATE:
                raise UserError(
                    f"{self._path}: this task shows {key} {float(difference):.3g} away from what was "
                    "recorded; is it another task or version?"
                )
            kinds.append(self.settler.task.bank_kinds(self.env.engine))
        return torch.cat(kinds)[: len(self._states)]

    def fill(self, kind: str, wanted: int, told: Callable[[int], object]) -> Tensor:
        """Return up to `wanted` states (n, S) of a kind; fewer where the demonstrations hold no more.

        Args:
            told: is called with the number of states that each batch adds.
        """
        index, count = KINDS.index(kind), 0
        found = [self._states[:0]]
        candidates = (self._kind == index).nonzero().squeeze(-1)
        for rows in self._batches(candidates) if len(candidates) else []:
            if count >= wanted:
                break
            settled = self.settler.settle(self._states[rows], self._closed[rows])
            fresh = torch.arange(len(rows), device=rows.device) < len(candidates)
            candidates = candidates[len(rows) :]
            kept = settled.state[(settled.kind == index) & fresh][: wanted - count]
            found.append(kept)
            count += len(kept)
            told(len(kept))
        return torch.cat(found)


def _steps_of(store: EpisodeStore, key: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return each step of the successes: states (T, S), gripper closed (T,), what was observed (T, D)."""
    if SIM_STATE not in store.spec.obs:
        raise UserError(f"{store.path} holds no '{SIM_STATE}': record with sim_state=true, or use --task")
    gripper = action_columns(store.spec.action).gripper
    states, closed, shown = [], [], []
    for episode in (store[number] for number in range(len(store))):
        if not episode.success:
            continue
        states.append(episode.obs[SIM_STATE][:-1])
        closed.append(np.concatenate([[False], episode.action[:-1, gripper] > 0]))
        shown.append(episode.obs[key][:-1])
    if not states:
        raise UserError(f"{store.path} holds no successful episode")
    return tuple(torch.from_numpy(np.concatenate(rows)) for rows in (states, closed, shown))  # type: ignore
