"""Storage for whole episodes that are learnt from again and again, step by step or as sequences."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

State = Mapping[str, Tensor]


class EpisodeReplay:
    """Hold the last whole episodes of B streams, as many as fit.

    An episode of T steps takes T + 1 rows that lie together, in a ring: each row has what was there at one
    time ("states", such as observations and what a teacher answers to them), and but for the last row what
    was done there ("moves", such as action and reward). Every move knows its step t within its episode, and
    whether the episode ended with it: by termination, or cut off by the time limit.

    Args:
        capacity: rows; the oldest episodes make room.
        states, moves: shape and dtype of one entry by name.
        num_streams: B.
        max_steps: longest episode.
        device: where the tensors live.

    Raises:
        ValueError: an episode of each stream does not fit.
    """

    def __init__(
        self,
        capacity: int,
        states: Mapping[str, tuple[tuple[int, ...], torch.dtype]],
        moves: Mapping[str, tuple[tuple[int, ...], torch.dtype]],
        num_streams: int,
        max_steps: int,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        if capacity < num_streams * (max_steps + 1):
            raise ValueError(f"capacity {capacity}: {num_streams} episodes of {max_steps} steps do not fit")
        self.capacity, self.max_steps = capacity, max_steps
        self.device = torch.device(device)
        self._states, self._moves = tuple(states), tuple(moves)
        columns = {**states, **moves}
        self._rows = {name: self._empty((capacity,), *column) for name, column in columns.items()}
        # Running episodes are kept apart until they end: (B, T + 1, ...) each.
        self._running = {
            name: self._empty((num_streams, max_steps + 1), *column) for name, column in columns.items()
        }
        self._length = torch.zeros(num_streams, dtype=torch.int64, device=device)
        self._spans: deque[tuple[int, int, bool]] = deque()  # first row, steps, terminated; oldest first
        self._head = 0
        self._index: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    def _empty(self, lead: tuple[int, ...], shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.zeros(*lead, *shape, dtype=dtype, device=self.device)

    @property
    def num_episodes(self) -> int:
        """Whole episodes that can be drawn."""
        return len(self._spans)

    @property
    def num_moves(self) -> int:
        """Steps of all of them."""
        return sum(steps for _, steps, _ in self._spans)

    def add(self, state: State, move: State, last_state: State, terminated: Tensor, done: Tensor) -> None:
        """Append one step of every stream; episodes that end with it can be drawn from now on.

        Args:
            state: before the step, (B, ...) by name.
            move: what was done.
            last_state: after it; read where an episode ends.
            terminated, done: (B,) bool, the episode ends by termination; the episode ends at all.

        Raises:
            ValueError: an episode is longer than `max_steps`.
        """
        if int(self._length.max()) >= self.max_steps:
            raise ValueError(f"an episode is longer than max_steps={self.max_steps}")
        stream = torch.arange(len(done), device=self.device)
        for name in self._states:
            self._running[name][stream, self._length] = state[name].to(self._running[name])
        for name in self._moves:
            self._running[name][stream, self._length] = move[name].to(self._running[name])
        self._length += 1
        ended = done.nonzero()[:, 0].tolist()
        for index in ended:
            length = int(self._length[index])
            for name in self._states:
                self._running[name][index, length] = last_state[name][index].to(self._running[name])
            self._store(index, length, bool(terminated[index]))
        self._length[done] = 0

    def _store(self, stream: int, steps: int, terminated: bool) -> None:
        """Move a running episode into the ring, and forget those that it overwrites."""
        count = steps + 1
        if self._head + count > self.capacity:
            self._forget_overlapping(self._head, self.capacity)
            self._head = 0
        self._forget_overlapping(self._head, self._head + count)
        for name, column in self._rows.items():
            column[self._head : self._head + count] = self._running[name][stream, :count]
        self._spans.append((self._head, steps, terminated))
        self._head += count
        self._index = None

    def _forget_overlapping(self, first: int, end: int) -> None:
        while self._spans and first <= self._spans[0][0] < end:
            self._spans.popleft()

    def forget_running(self) -> None:
        """Drop the episodes that have not ended: what comes next does not follow them."""
        self._length.zero_()

    def _lookup(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return first row, steps, terminated and the running sum of steps, (E,) each."""
        if self._index is None:
            if not self._spans:
                raise ValueError("the replay holds no whole episode yet")
            table = torch.from_numpy(np.array(self._spans, dtype=np.int64)).to(self.device)
            first, steps, terminated = table.unbind(1)
            self._index = first, steps, terminated.bool(), steps.cumsum(0)
        return self._index

    def sample_moves(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return moves (count, ...) drawn uniformly with replacement.

        Returns:
            Every column; "next_" and the name of every state after the move; "t" (count,) int64; "terminated"
            and "cut" (count,) bool, the move ended its episode by termination, or at the time limit.

        Raises:
            ValueError: the replay is empty.
        """
        first, steps, terminated, total = self._lookup()
        drawn = torch.randint(int(total[-1]), (count,), generator=generator, device=generator.device)
        drawn = drawn.to(self.device)
        episode = torch.searchsorted(total, drawn, right=True)
        t = drawn - total[episode] + steps[episode]
        row = first[episode] + t
        last = t == steps[episode] - 1
        batch = {name: column[row] for name, column in self._rows.items()}
        batch |= {f"next_{name}": self._rows[name][row + 1] for name in self._states}
        ended = terminated[episode]
        return batch | {"t": t, "terminated": last & ended, "cut": last & ~ended}

    def sample_episodes(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return whole episodes drawn uniformly with replacement, padded to the longest of them.

        Returns:
            States (count, T + 1, ...) and moves (count, T, ...) by name; "t" (count, T) int64; "valid"
            (count, T) bool, false where a move is padding; "terminated" and "cut" (count, T) bool.

        Raises:
            ValueError: the replay is empty.
        """
        first, steps, terminated, _ = self._lookup()
        episode = torch.randint(len(first), (count,), generator=generator, device=generator.device)
        episode = episode.to(self.device)
        length = steps[episode][:, None]
        longest = int(length.max())
        t = torch.arange(longest + 1, device=self.device).expand(count, -1)
        row = first[episode][:, None] + torch.minimum(t, length)  # padding repeats the last state
        batch = {name: self._rows[name][row] for name in self._states}
        batch |= {name: self._rows[name][row[:, :-1]] for name in self._moves}
        t = t[:, :-1]
        last, ended = t == length - 1, terminated[episode][:, None]
        ends = {"terminated": last & ended, "cut": last & ~ended}
        return batch | {"t": t, "valid": t < length, **ends}

    def state_dict(self) -> dict[str, Any]:
        """Return what it holds, running episodes included, for an exact resume."""
        used = max((first + steps + 1 for first, steps, _ in self._spans), default=0)
        return {
            "rows": {name: column[:used].clone() for name, column in self._rows.items()},
            "running": {name: column.clone() for name, column in self._running.items()},
            "length": self._length.clone(),
            "spans": torch.tensor([list(span) for span in self._spans], dtype=torch.int64).reshape(-1, 3),
            "head": self._head,
            "capacity": self.capacity,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, from a replay of the same capacity, columns and streams.

        Raises:
            ValueError: it differs in one of them.
        """
        mine = {name: column.shape for name, column in self._running.items()}
        theirs = {name: column.shape for name, column in state["running"].items()}
        if (self.capacity, mine) != (state["capacity"], theirs):
            raise ValueError("the saved replay has another capacity, other columns or other streams")
        for name, column in self._rows.items():
            column[: len(state["rows"][name])] = state["rows"][name].to(column)
            self._running[name].copy_(state["running"][name])
        self._length.copy_(state["length"])
        self._spans = deque((int(first), int(steps), bool(end)) for first, steps, end in state["spans"])
        self._head, self._index = state["head"], None
