"""A world of finitely many states, whose whole course stands in tables."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robofb.envs.teacher.shortest_path import ShortestPathTeacher
from robofb.interfaces import Teacher
from robofb.rng import EpisodeRng
from robofb.sim.torch_env import Outcome, State, TorchTask
from robofb.types import EnvSpec, Obs


@dataclass(frozen=True)
class Tables:
    """The rules of S states and A actions.

    Attributes:
        next: (S, A) int64, the state that follows.
        reward: (S, A) float32.
        terminated: (S, A) bool, the episode ends with this step.
        success: (S, A) bool, the step reaches the goal.
        obs: (S, ...) of each observation key.
        starts: (N,) int64, states of which each is as likely as another to be the first.
    """

    next: Tensor
    reward: Tensor
    terminated: Tensor
    success: Tensor
    obs: Obs
    starts: Tensor


class TabularTask(TorchTask):
    """Look everything up; the state of a world is {"index": (B,) int64}."""

    def __init__(self, spec: EnvSpec, tables: Tables, device: str = "cpu") -> None:
        self.spec, self.tables, self.device = spec, tables, torch.device(device)
        self._next, self._reward, self._terminated, self._success = (
            table.flatten().to(self.device)
            for table in (tables.next, tables.reward, tables.terminated, tables.success)
        )
        self._obs = {key: table.to(self.device) for key, table in tables.obs.items()}
        self._starts, self._num_actions = tables.starts.to(self.device), tables.next.shape[1]

    def start(self, rng: EpisodeRng) -> State:
        """Draw one of the starts."""
        return {"index": self._starts[(rng.uniform() * len(self._starts)).to(torch.int64)]}

    def advance(self, state: State, action: Tensor, rng: EpisodeRng) -> Outcome:
        """Look up what follows."""
        row = state["index"] * self._num_actions + action[:, 0]
        return Outcome(
            {"index": self._next[row]}, self._reward[row], self._terminated[row], self._success[row]
        )

    def observe(self, state: State) -> Obs:
        """Look up what is seen."""
        return {key: table.index_select(0, state["index"]) for key, table in self._obs.items()}

    def teacher(self) -> Teacher:
        """Return who knows the shortest way."""
        return ShortestPathTeacher(self.spec)


def steps_after(next: Tensor, terminated: Tensor, success: Tensor, never: float) -> Tensor:
    """Return (S, A) float32 how many steps each action leaves to the goal, 0 where it reaches it.

    Args:
        next, terminated, success: see `Tables`.
        never: stands where the goal can no longer be reached.
    """
    steps = torch.full(next.shape, never).masked_fill(success, 0.0)
    while True:
        left = (1.0 + steps.amin(-1)).clamp_max(never)  # (S,)
        better = torch.where(terminated, steps, left[next])
        if torch.equal(better, steps):
            return steps
        steps = better
