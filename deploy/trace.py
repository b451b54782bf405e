"""The episode that is being driven: its steps so far, and the way back through them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robofb.deploy.cell import CellState
from robofb.types import SOURCE_HUMAN, Episode


@dataclass
class Trace:
    """Steps of one episode; T actions between T + 1 states.

    Attributes:
        states: what the cell showed before every action and after the last.
        marks: per state, what brings session and cell back to it.
        actions: (A,) float32 each.
        resumed: numbers of the steps that follow an undo.
    """

    states: list[CellState]
    marks: list[Any]
    actions: list[np.ndarray] = field(default_factory=list)
    resumed: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.actions)

    def add(self, action: np.ndarray, state: CellState, mark: Any) -> None:
        """Append one action and the state it led to."""
        self.actions.append(action)
        self.states.append(state)
        self.marks.append(mark)

    def refresh(self, state: CellState) -> None:
        """Put what is seen now in place of the last state, on which the next action will be chosen."""
        self.states[-1] = state

    def undo(self, steps: int) -> Any:
        """Drop the last steps, all where there are fewer; return the mark of the state that is last now."""
        kept = max(len(self) - steps, 0)
        del self.actions[kept:], self.states[kept + 1 :], self.marks[kept + 1 :]
        self.resumed = [step for step in self.resumed if step < kept] + [kept]
        return self.marks[-1]

    def episode(self, success: bool, meta: Mapping[str, Any]) -> Episode:
        """Return the steps as an episode that ended here."""
        first = self.states[0].obs
        return Episode(
            obs={key: np.stack([state.obs[key] for state in self.states]) for key in first},
            action=np.stack(self.actions),
            reward=np.array([state.reward for state in self.states[1:]], np.float32),
            terminated=True,
            success=success,
            timestamps=np.array([state.time_s for state in self.states]),
            source=np.full(len(self), SOURCE_HUMAN, np.uint8),
            meta={**meta, "undone_before_steps": list(self.resumed)},
        )
