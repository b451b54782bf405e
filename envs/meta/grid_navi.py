"""GridNavi: a goal somewhere in a grid, felt only by standing on it.

Dorfman, Shenfeld and Tamar, "Offline Meta Learning of Exploration" (arXiv 2008.02598), after VariBAD.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robofb.envs.teacher.grid import CONTROL_DT_S, FREE_RGB, GOAL_RGB, draw
from robofb.envs.teacher.shortest_path import ShortestPathTeacher, steps_after_names
from robofb.errors import UserError
from robofb.interfaces import Teacher
from robofb.rng import EpisodeRng
from robofb.sim.meta_task import PARAMS, MetaTorchTask
from robofb.sim.success import STAGES
from robofb.sim.torch_env import Outcome, State
from robofb.types import PRIVILEGED, ArraySpec, EnvSpec, Obs

SIZE = 5
ACTIONS = ("stay", "up", "right", "down", "left")
_MOVES = ((0, 0), (0, -1), (1, 0), (0, 1), (-1, 0))
GOALS = tuple((x, y) for y in range(SIZE) for x in range(SIZE) if x > 1 or y > 1)
"""Cells (x, y) that can be the goal: all but the start and its three neighbours."""

GOAL_REWARD, STEP_REWARD = 1.0, -0.1


class GridNavi(MetaTorchTask):
    """Find the goal and stay there: 1 for a step that ends on it, else -0.1.

    Only the time limit ends an episode. A move against the border stays where it is. Success is to be on the
    goal in the last step. Observations: "state" (2,): the agent's cell (x, y). `PRIVILEGED` (7,): the goal's
    cell, and how many steps each action leaves to it.

    Args:
        max_steps: of an episode [control steps].
        device: where the tensors live.
    """

    start_distribution = "cell (0, 0)"
    moves_alike = True
    num_outcomes = SIZE * SIZE

    def __init__(self, max_steps: int = 15, device: str = "cpu") -> None:
        if max_steps < 1:
            raise UserError(f"max_steps={max_steps}: needs at least 1")
        self.device = torch.device(device)
        self.params = ArraySpec((2,), unit="cell", names=("goal_x", "goal_y"))
        told = (*self.params.names, *steps_after_names(ACTIONS))
        obs = {
            "state": ArraySpec((2,), unit="cell", names=("agent_x", "agent_y")),
            PRIVILEGED: ArraySpec((len(told),), unit="cells and steps", names=told),
        }
        said = ", ".join(f"{choice} {action}" for choice, action in enumerate(ACTIONS))
        action = ArraySpec((1,), "int64", said, (0,), (len(ACTIONS) - 1,), ("move",))
        self.spec = EnvSpec("grid_navi", obs, action, CONTROL_DT_S, max_steps, STAGES)
        self._goals = torch.tensor(GOALS, dtype=torch.float32, device=self.device)
        self._moves = torch.tensor(_MOVES, dtype=torch.float32, device=self.device)

    def draw_params(self, rng: EpisodeRng) -> Tensor:
        """Draw one of `GOALS`, each as likely."""
        return self._goals[(rng.uniform() * len(GOALS)).long()]

    def all_params(self) -> Tensor:
        """Return the parameters (21, 2) of every task there is."""
        return self._goals.clone()

    def begin(self, rng: EpisodeRng) -> State:
        """Start at (0, 0)."""
        return {"cell": torch.zeros(len(rng), 2, device=self.device)}

    def advance(self, state: State, action: Tensor, rng: EpisodeRng) -> Outcome:
        """Move."""
        cell = (state["cell"] + self._moves[action[:, 0]]).clamp(0, SIZE - 1)
        on_goal = (cell == state[PARAMS]).all(-1)
        reward = self.relabel(state[PARAMS], state["cell"], action, cell)
        return Outcome({**state, "cell": cell}, reward, torch.zeros_like(on_goal), on_goal)

    def relabel(self, params: Tensor, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return what goals (..., 2) pay for steps that end in cells `next_obs` (..., 2)."""
        return torch.where((next_obs == params).all(-1), GOAL_REWARD, STEP_REWARD)

    def outcome(self, next_obs: Tensor) -> Tensor:
        """Return the cell (...) int64 in which a step ended, y * SIZE + x: all that its reward depends on."""
        return (next_obs[..., 1] * SIZE + next_obs[..., 0]).long()

    def observe(self, state: State) -> Obs:
        """Return {"state": (B, 2) float32, PRIVILEGED: (B, 7) float32}."""
        cell, goal = state["cell"], state[PARAMS]
        there = (cell[:, None] + self._moves).clamp(0, SIZE - 1)  # (B, 5, 2)
        left = (there - goal[:, None]).abs().sum(-1)
        return {"state": cell.clone(), PRIVILEGED: torch.cat([goal, left], -1)}

    def teacher(self) -> Teacher:
        """Return who knows the goal and takes the shortest way."""
        return ShortestPathTeacher(self.spec)

    def picture(self, state: State) -> np.ndarray:
        """Return the map with the goal green."""
        colours = np.full((SIZE, SIZE, 3), FREE_RGB, np.uint8)
        goal, cell = (state[name].long().tolist() for name in (PARAMS, "cell"))
        colours[goal[1], goal[0]] = GOAL_RGB
        return draw(colours, cell[0], cell[1], None)
