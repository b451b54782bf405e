"""Storage for transitions that are learnt from again and again, linked into episodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

NO_ROW = -1


class ReplayBuffer:
    """Hold the last `capacity` transitions of B streams (envs, or demonstrations).

    Each transition has the columns asked for and always "reward" (), "discount" (), which is what the value
    of "next_obs" counts in its target: gamma to the power of the control steps it took, 0 after a
    termination, not after a time-out. Each knows the one that follows it in its episode, so that several
    can be summed up (`sample` with `n_step`).

    Args:
        capacity: transitions; the oldest make room.
        columns: shape of one entry by name; "next_obs" is among them.
        num_streams: B.
        device: where the tensors live.
    """

    def __init__(
        self,
        capacity: int,
        columns: Mapping[str, tuple[int, ...]],
        num_streams: int,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity {capacity}: needs at least 1")
        shapes = {"reward": (), "discount": (), **columns}
        self.capacity = capacity
        self.device = torch.device(device)
        self._columns = {name: torch.zeros(capacity, *shape, device=device) for name, shape in shapes.items()}
        # Transitions are numbered as they come, and number n lies in row n % capacity.
        self._following = torch.full((capacity,), NO_ROW, device=device)
        self._latest = torch.full((num_streams,), NO_ROW, device=device)  # of each running episode
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self.capacity)

    def add(self, stream: Tensor, values: Mapping[str, Tensor], done: Tensor) -> None:
        """Append the next transition of some streams.

        Args:
            stream: (n,) int64, each at most once.
            values: every column, (n, ...); others are ignored.
            done: (n,) bool, the episode ends here, either way.

        Raises:
            ValueError: more transitions at once than fit.
        """
        count = len(stream)
        if count > self.capacity:
            raise ValueError(f"{count} transitions at once exceed the capacity of {self.capacity}")
        number = self._added + torch.arange(count, device=self.device)
        self._added += count
        row = number % self.capacity
        for name, column in self._columns.items():
            column[row] = values[name].to(column)
        self._following[row] = NO_ROW
        before = self._latest[stream]
        kept = (before > NO_ROW) & (before >= self._added - self.capacity)
        self._following[before[kept] % self.capacity] = number[kept]
        self._latest[stream] = torch.where(done.to(self.device), NO_ROW, number)

    def cut(self) -> None:
        """End all running episodes here: what comes next does not follow what came last."""
        self._latest.fill_(NO_ROW)

    def sample(self, batch_size: int, generator: torch.Generator, n_step: int = 1) -> dict[str, Tensor]:
        """Return transitions drawn uniformly with replacement.

        With `n_step` > 1 each is summed up with those that follow it in its episode, as far as there are
        any: reward r_0 + d_0 r_1 + d_0 d_1 r_2 ..., discount d_0 d_1 d_2 ..., and the last one's next_obs.

        Raises:
            ValueError: the buffer is empty.
        """
        if not self._added:
            raise ValueError("the replay buffer is empty")
        row = torch.randint(len(self), (batch_size,), generator=generator, device=generator.device)
        return self.rows(row.to(self.device), n_step)

    def rows(self, row: Tensor, n_step: int = 1) -> dict[str, Tensor]:
        """Return the transitions in rows (n,) int64, summed up as in `sample`."""
        batch = {name: column[row] for name, column in self._columns.items()}
        for _ in range(n_step - 1):
            number = self._following[row]
            more = number > NO_ROW
            row = torch.where(more, number % self.capacity, row)
            weight = batch["discount"] * more
            batch["reward"] = batch["reward"] + weight * self._columns["reward"][row]
            batch["discount"] = torch.where(more, weight * self._columns["discount"][row], batch["discount"])
        return batch | {"next_obs": self._columns["next_obs"][row]}

    def state_dict(self) -> dict[str, Any]:
        """Return what it holds, for an exact resume."""
        size = len(self)
        return {
            "columns": {name: column[:size].clone() for name, column in self._columns.items()},
            "following": self._following[:size].clone(),
            "latest": self._latest.clone(),
            "added": self._added,
            "capacity": self.capacity,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, from a buffer of the same capacity, columns and streams.

        Raises:
            ValueError: it differs in one of them.
        """
        shapes = {name: column.shape[1:] for name, column in self._columns.items()}
        theirs = {name: column.shape[1:] for name, column in state["columns"].items()}
        mine = (self.capacity, shapes, self._latest.shape)
        if mine != (state["capacity"], theirs, state["latest"].shape):
            raise ValueError("the saved replay buffer has another capacity, other columns or other streams")
        self._added = state["added"]
        size = len(self)
        for name, column in self._columns.items():
            column[:size] = state["columns"][name].to(column)
        self._following.fill_(NO_ROW)
        self._following[:size] = state["following"].to(self.device)
        self._latest.copy_(state["latest"])
