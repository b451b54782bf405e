"""Everything that N agents have done in S envs each, in the order in which they did it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

Columns = Mapping[str, tuple[tuple[int, ...], torch.dtype]]


class Stretch(NamedTuple):
    """An episode in a log: env `slot` of `agent`, steps `first` to `end - 1`."""

    agent: int
    slot: int
    first: int
    end: int


class SlotLog:
    """Complete histories: T control steps of N agents with S envs each.

    Args:
        capacity: T; nothing is ever forgotten.
        num_agents, num_slots: N and S.
        columns: shape and dtype of one entry by name; "done" () bool is there beside them.
    """

    def __init__(self, capacity: int, num_agents: int, num_slots: int, columns: Columns) -> None:
        columns = {**columns, "done": ((), torch.bool)}
        lead = (capacity, num_agents, num_slots)
        self.rows = {
            name: torch.zeros(*lead, *shape, dtype=dtype) for name, (shape, dtype) in columns.items()
        }
        self.capacity, self.num_agents, self.num_slots = lead
        self._filled = 0

    def __len__(self) -> int:
        return self._filled

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Append a control step: every column, (N * S, ...), the envs of the first agent first.

        Raises:
            ValueError: the log is full.
        """
        if self._filled == self.capacity:
            raise ValueError(f"the log holds all of its {self.capacity} control steps")
        for name, column in self.rows.items():
            column[self._filled] = values[name].view(column.shape[1:])
        self._filled += 1

    def cut(self) -> None:
        """End the running episodes here: what comes next does not follow what came last."""
        if self._filled:
            self.rows["done"][self._filled - 1] = True

    def sample(self, count: int, num_slots: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return steps (N, count, ...) of each agent's first `num_slots` envs, drawn with replacement."""
        shape = (self.num_agents, count)
        row = torch.randint(self._filled, shape, generator=generator)
        slot = torch.randint(num_slots, shape, generator=generator)
        agent = torch.arange(self.num_agents)[:, None]
        return {name: column[row, agent, slot] for name, column in self.rows.items()}

    def episodes(self, agent: int) -> Iterator[Stretch]:
        """Return the whole episodes in the envs of one agent, in the order in which they ended."""
        first = [0] * self.num_slots
        for end, slot in self.rows["done"][: self._filled, agent].nonzero().tolist():
            yield Stretch(agent, slot, first[slot], end + 1)
            first[slot] = end + 1

    def take(self, name: str, of: Stretch) -> Tensor:
        """Return a column of an episode, (steps, ...)."""
        return self.rows[name][of.first : of.end, of.agent, of.slot]

    def state_dict(self) -> dict[str, Any]:
        """Return what it holds."""
        return {name: column[: self._filled].clone() for name, column in self.rows.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` returned, from a log of the same columns, agents and slots.

        Raises:
            ValueError: it differs in one of them, or holds more than fits.
        """
        shapes = {name: column.shape[1:] for name, column in self.rows.items()}
        self._filled = len(state["done"])
        if shapes != {name: saved.shape[1:] for name, saved in state.items()} or self._filled > self.capacity:
            raise ValueError("the saved log has other columns, agents or slots, or more steps than fit")
        for name, column in self.rows.items():
            column[: self._filled] = state[name]
