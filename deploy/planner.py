"""What a policy plans from here on, for a controller that needs more than the next action."""

from __future__ import annotations

import logging

import numpy as np
import torch

from robofb.interfaces import Agent
from robofb.policies.executor import ChunkExecutor
from robofb.policies.residual_agent import ResidualAgent
from robofb.types import Obs

LOG = logging.getLogger(__name__)
MOST_RESIDUAL = 3.0  # units of a correction


class Planner:
    """Ask an agent of one world for its next action, and say what is left of its chunk as well.

    Of a residual, the next action is corrected; the ones after it are the base policy's, and are followed
    only where the next plan is late. What it corrects is cut to `MOST_RESIDUAL` units, twice what one
    that was trained wants at most: in states that nobody trained on it may want anything.

    Args:
        agent: of one env.
        device: where it computes.

    Attributes:
        cut: plans so far whose correction was cut.
    """

    def __init__(self, agent: Agent, device: torch.device | str = "cpu") -> None:
        self.agent, self._device = agent, device
        self._residual = agent if isinstance(agent, ResidualAgent) else None
        if self._residual is not None:
            self._residual.most = MOST_RESIDUAL
        executor = agent if self._residual is None else self._residual.executor
        self.cut, self._told = 0, False
        self._executor = executor if isinstance(executor, ChunkExecutor) else None

    def begin(self, seed: int) -> None:
        """Start an episode."""
        self._told = False
        self.agent.reset(torch.ones(1, dtype=torch.bool), torch.tensor([seed]))

    def skip(self) -> None:
        """Plan anew next time: control steps passed for which nobody asked."""
        if self._executor is not None:
            self._executor.replan()

    def plan(self, obs: Obs) -> np.ndarray:
        """Return actions (n, A) from observations (1, ...); the first is for this control step."""
        action = self.agent.next({key: values.to(self._device) for key, values in obs.items()})
        if self._residual is not None and bool(self._residual.cut[0]):
            self._say_cut()
        if self._executor is None:
            return action.cpu().numpy()
        taken = round(float(self._executor.phase[0]) * self._executor.execute) + 1
        return torch.cat([action, self._executor.chunk[0, taken:]]).cpu().numpy()

    def _say_cut(self) -> None:
        """Count a correction that was cut, and say so once an episode."""
        self.cut += 1
        if not self._told:
            self._told = True
            LOG.warning("the residual wants more than %g of its units: cut to that", MOST_RESIDUAL)
