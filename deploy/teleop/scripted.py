"""A scripted expert behind a device's interface: drives a session as a person would."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from robofb.deploy.cell import Cell
from robofb.deploy.tool_target import ToolTarget
from robofb.errors import DeviceLostError
from robofb.geometry import matrix_to_rotvec, rot6d_to_matrix
from robofb.interfaces import Agent
from robofb.types import TeleopCommand


class ExpertTeleop:
    """Turn an expert's absolute actions into twists; press start whenever nothing is recorded.

    Args:
        agent: of one environment.
        cell: what it looks at.
        target: the session's, which its twists move.
        seed: of the agent's errors.
    """

    def __init__(self, agent: Agent, cell: Cell, target: ToolTarget, seed: int = 0) -> None:
        self.agent, self.cell, self.target, self.seed = agent, cell, target, seed
        self._connected = self._recording = False

    def connect(self) -> None:
        """Begin; nothing is opened."""
        self._connected = True

    def read(self) -> TeleopCommand:
        """Return the twist that takes the target to the expert's pose in one control period."""
        if not self._connected:
            raise DeviceLostError("the scripted expert is not connected")
        if not self._recording:
            self.agent.reset(torch.ones(1, dtype=torch.bool), torch.tensor([self.seed]))
            self.seed += 1
            return TeleopCommand(np.zeros(6), 0.0, False, "start")
        state, pose = self.cell.hold(), self.target.pose
        assert pose is not None
        obs = {key: torch.from_numpy(value).unsqueeze(0) for key, value in state.obs.items()}
        action = self.agent.next(obs)[0].double()
        turn = matrix_to_rotvec(rot6d_to_matrix(action[3:9]) @ pose.rotation_base.T)
        twist = torch.cat([action[:3] - pose.pos_base_m, turn]) / self.cell.spec.control_dt
        return TeleopCommand(twist.numpy(), float(action[9]), True)

    def show(self, frames: Mapping[str, np.ndarray], status: Mapping[str, str]) -> None:
        """Read from the status whether an episode is being recorded."""
        self._recording = status["state"] == "recording"

    def close(self) -> None:
        """End; safe twice."""
        self._connected = False
