"""Name an IsaacGymEnvs task: `task=isaacgym task.id=...`."""

from __future__ import annotations

from contextlib import closing
from functools import cached_property

from robofb.errors import UserError
from robofb.sim.isaacgym_env import IsaacGymVecEnv, SameStepIsaacGymVecEnv
from robofb.sim.isaacgym_remote import RemoteVecTask
from robofb.sim.success import SuccessRule
from robofb.types import EnvSpec

RESETS: dict[str, type[IsaacGymVecEnv]] = {
    "next_step": IsaacGymVecEnv,
    "same_step": SameStepIsaacGymVecEnv,
}


class IsaacGymTask:
    """Make vector envs of one IsaacGymEnvs task; satisfies `interfaces.EnvMaker`.

    Args:
        id: name of the task, such as FrankaCabinet.
        resets: next_step, as the tasks of IsaacGymEnvs do, or same_step, which loses last observations.
        sim_device: where it simulates.
        max_steps: time limit that the task keeps [control steps]; its own where None.
        control_dt: time of one control step [s]; the task's own where None.
        success_key, success_reward, success_total: what counts as a success, see `SuccessRule`.

    Raises:
        UserError: a value that does not fit.
    """

    def __init__(
        self,
        id: str,
        resets: str = "next_step",
        sim_device: str = "cuda:0",
        max_steps: int | None = None,
        control_dt: float | None = None,
        success_key: str | None = None,
        success_reward: float | None = None,
        success_total: float | None = None,
    ) -> None:
        if resets not in RESETS:
            raise UserError(f"task.resets={resets}: choose one of {', '.join(RESETS)}")
        if not id.isidentifier():
            raise UserError(f"task.id={id}: is no name of an IsaacGymEnvs task")
        self.id, self.name, self.meta = id, f"isaacgym_{id}", {"isaacgym_id": id}
        self._make, self._sim_device = RESETS[resets], sim_device
        self._max_steps, self._control_dt = max_steps, control_dt
        self._success = SuccessRule(success_key, success_reward, success_total)

    @cached_property
    def spec(self) -> EnvSpec:
        """What the task shows and takes; starts a simulator with one env to see it."""
        with closing(self.make_env(1)) as env:
            return env.spec

    def make_env(self, num_envs: int) -> IsaacGymVecEnv:
        """Start the simulator with `num_envs` envs, in its own process.

        Raises:
            UserError: it is not installed or does not start.
        """
        host = RemoteVecTask(self.id, num_envs, self._sim_device)
        try:
            return self._make(
                host,
                self.name,
                success=self._success,
                max_steps=self._max_steps,
                control_dt_s=self._control_dt,
                task=self,
            )
        except BaseException:
            host.close()
            raise
