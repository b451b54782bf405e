"""A simulated task as an arm: a policy goes the whole way that it goes on a real one."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from robofb.deploy.arms.arm import ArmState, ArmTarget
from robofb.deploy.pose import Pose, columns_of
from robofb.deploy.sim_cell import tool_columns
from robofb.errors import UserError
from robofb.geometry import matrix_to_quat
from robofb.interfaces import SteeredTask
from robofb.sim.vec_env import SimVecEnv
from robofb.types import Obs, Step


class SimArm:
    """Move one simulated world by set-points, `parts` of them a control step. Satisfies `arms.arm.RobotArm`.

    Its time is simulated, and passes where it is commanded.

    Args:
        env: of one world, without auto-reset; the arm closes it.
        parts: set-points in a control step.

    Attributes:
        obs: the newest observations of the task, of the last whole control step.
        step: what the last whole control step came to; None before the first.
        action: (1, 10) its last set-point, as an action of the task; None before the first.
        time_s: simulated since the episode began.

    Raises:
        UserError: the task has no arm that is steered by tool poses, or its physics has no such parts.
    """

    def __init__(self, env: SimVecEnv, parts: int) -> None:
        if env.num_envs != 1 or env.autoreset:
            raise ValueError("an arm needs one environment without auto-reset")
        if not isinstance(env.task, SteeredTask):
            raise UserError(f"task {env.spec.task} has no arm that takes set-points within a control step")
        if parts < 1 or env.task.num_substeps % parts:
            raise UserError(f"parts={parts}: must divide the {env.task.num_substeps} steps of physics")
        self.env, self.parts = env, parts
        self.dt_s = env.spec.control_dt / parts
        self._tool = tool_columns(env)
        self._done = 0  # parts
        self._gripper = -1.0
        self.obs: Obs = {}
        self.step: Step | None = None
        self.action: Tensor | None = None
        self.home = Pose((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))

    @property
    def time_s(self) -> float:
        """Simulated time since the episode began."""
        return self._done * self.dt_s

    @property
    def part(self) -> int:
        """Number in its control step of the next set-point, 0 .. parts - 1."""
        return self._done % self.parts

    def begin(self, episode_seed: int) -> None:
        """Start the episode of a seed, see `SimVecEnv.repeat`; where the tool is then is home."""
        self.obs = self.env.repeat(torch.tensor([episode_seed]))
        self.step, self.action, self._done, self._gripper = None, None, 0, -1.0
        self.home = self._pose(self.obs)

    def connect(self) -> None:
        """Nothing is to be opened."""

    def enable(self) -> None:
        """It always is."""

    def state(self) -> ArmState:
        """Return where the tool is now, within a control step as well."""
        pose = self._pose(self.env.task.observe(self.env.engine))
        return ArmState(time.monotonic(), float(self._done), pose, gripper=self._gripper)

    def command(self, target: ArmTarget) -> ArmTarget:
        """Simulate until the next set-point is due. Once the episode is over, no time passes any more."""
        if self.step is not None and bool(self.step.done[0]):
            return target
        x, y, _ = columns_of(target.pose.turn)
        action = torch.tensor([[*target.pose.position_m, *x, *y, target.gripper]], dtype=torch.float32)
        step = self.env.step_part(action, self.part, self.parts)
        self._done += 1
        self._gripper = target.gripper
        if step is not None:
            self.step, self.action, self.obs = step, action, step.final_obs
        return target

    def stop(self) -> None:
        """Stand: nothing moves while nobody commands."""

    def recover(self) -> None:
        """Nothing is to be cleared."""

    def close(self) -> None:
        """Release the simulator; safe twice."""
        self.env.close()

    def _pose(self, obs: Obs) -> Pose:
        state = obs["state"][0].double()
        turn = matrix_to_quat(self._tool.matrix(state))
        x, y, z = state[..., self._tool.position].tolist()
        w, i, j, k = turn.tolist()
        return Pose((x, y, z), (w, i, j, k))
