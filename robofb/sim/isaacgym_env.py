"""An IsaacGymEnvs `VecTask` as a `VecEnv`."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.interfaces import Renderer
from robofb.sim.episode_numbers import NumberedEpisodes
from robofb.sim.success import STAGES, SuccessRule
from robofb.sim.vec_env import check_action
from robofb.types import ArraySpec, EnvSpec, Obs, Step


class Host(Protocol):
    """Where a VecTask runs: `isaacgym_worker.VecTaskHost` here, `RemoteVecTask` elsewhere."""

    def facts(self) -> dict[str, Any]: ...

    def start(self, seed: int) -> dict[str, np.ndarray]: ...

    def step(self, action: np.ndarray) -> dict[str, np.ndarray]: ...


class Ended(NamedTuple):
    """How episodes ended, (B,) bool each; False where none did."""

    terminated: Tensor
    truncated: Tensor
    success: Tensor

    @property
    def any_way(self) -> Tensor:
        """(B,) bool, the episode is over."""
        return self.terminated | self.truncated


class IsaacGymVecEnv(NumberedEpisodes):
    """Step a VecTask that resets an env in the step after the one that ended its episode.

    That step loses the env's action. So it is made the last one of the old episode: the end is told one
    control step late, with reward 0, `final_obs` the true last observation and `obs` the next episode's
    first. A time-out is bootstrapped from that true last observation, after one step without reward. While
    an env resets it gets a zero action.

    Episodes are numbered and seed the policy's noise, but their starts come from the simulator's own random
    numbers: they repeat with the same seed and the same number of envs at best.

    Args:
        host: runs the task; closed with this env where it can be.
        name: of the task, for the spec.
        success: what counts as a success; its keys are those of `extras`, (B,) each.
        max_steps, control_dt_s: the task's own where None.
        task: what made it, for its facts.
    """

    def __init__(
        self,
        host: Host,
        name: str,
        *,
        success: SuccessRule,
        max_steps: int | None = None,
        control_dt_s: float | None = None,
        task: Any = None,
    ) -> None:
        facts = host.facts()
        super().__init__(int(facts["num_envs"]))
        self.host, self.task, self.name = host, task, name
        self.device = torch.device("cpu")
        self._low = torch.tensor(facts["action_low"], dtype=torch.float32)
        self._high = torch.tensor(facts["action_high"], dtype=torch.float32)
        self.spec = EnvSpec(
            name,
            {"state": ArraySpec((facts["num_obs"],), unit="the environment's own")},
            ArraySpec(
                (facts["num_actions"],),
                unit="the environment's own",
                low=tuple(facts["action_low"]),
                high=tuple(facts["action_high"]),
            ),
            facts["control_dt_s"] if control_dt_s is None else control_dt_s,
            facts["max_steps"] if max_steps is None else max_steps,
            STAGES,
        )
        self._success = success
        none = torch.zeros(self.num_envs, dtype=torch.bool)
        self._ended = Ended(none, none, none)
        self._last_obs = torch.zeros(self.num_envs, facts["num_obs"])

    def reset(self, seed: int) -> Obs:
        """Start episodes 0..B-1 of `seed` in every env."""
        self._numbers.restart(seed)
        everyone = torch.ones(self.num_envs, dtype=torch.bool)
        self._forget(everyone)
        values = self.host.start(seed)
        self._ended = self._judge(values, torch.zeros(self.num_envs))
        self._last_obs = _float(values["obs"])
        return {"state": self._last_obs.clone()}

    def step(self, action: Tensor) -> Step:
        """Apply actions (B, A), clipped to their bounds, for one control step.

        Raises:
            ValueError: an action has another shape or is not finite.
            RuntimeError: `reset` was never called.
            UserError: the task does not say what must be known, or its process is gone.
        """
        check_action(action, (self.num_envs, *self.spec.action.shape))
        self._numbers.advance()
        before, last_obs = self._ended, self._last_obs
        clipped = torch.clamp(action.detach().cpu().to(torch.float32), self._low, self._high)
        values = self.host.step(clipped.masked_fill(before.any_way[:, None], 0.0).numpy())
        reward = _float(values["reward"]).masked_fill(before.any_way, 0.0)
        obs = self._last_obs = _float(values["obs"])
        self._total = self._total + reward
        self._ended = self._judge(values, reward)
        return self._tell(obs, last_obs, reward, before)

    def _tell(self, obs: Tensor, last_obs: Tensor, reward: Tensor, before: Ended) -> Step:
        """Return this step; episodes that ended `before` it end with it."""
        resets = before.any_way
        success = torch.where(resets, before.success, self._ended.success)
        final_obs = torch.where(resets[:, None], last_obs, obs)
        return self._end(obs, final_obs, reward, before._replace(success=success), {})

    def _end(
        self, obs: Tensor, final_obs: Tensor, reward: Tensor, ended: Ended, more: dict[str, Tensor]
    ) -> Step:
        """Return this step, in which the episodes of `ended` end, and begin the next ones."""
        info = {**self._info(ended.success), **more}
        done = ended.any_way
        self._numbers.begin(done)
        self._forget(done)
        states = {"state": obs.clone()}, {"state": final_obs.clone()}
        return Step(states[0], reward, ended.terminated, ended.truncated, states[1], info)

    def _judge(self, values: dict[str, np.ndarray], reward: Tensor) -> Ended:
        """Return how the episodes ended that the task will reset or has reset."""
        over = torch.from_numpy(values["reset"] != 0)
        if "extras.time_outs" not in values:
            raise UserError(f"{self.name} has no 'time_outs' in its extras: update isaacgymenvs")
        timed_out = torch.from_numpy(values["extras.time_outs"] != 0)
        extras = {key.partition(".")[2]: value for key, value in values.items() if "." in key}
        success, known = self._success.judge(extras, reward, self._total)
        self._success.require_known(known, over, self.name)
        return Ended(over & ~timed_out, over & timed_out, success)

    def renderer(self, height: int, width: int) -> Renderer:
        """Refuse: Isaac Gym's headless envs show nothing."""
        raise UserError(f"{self.name} cannot be filmed: Isaac Gym runs headless here")

    def close(self) -> None:
        """End the simulator's process, if it has one; safe twice."""
        getattr(self.host, "close", lambda: None)()


class SameStepIsaacGymVecEnv(IsaacGymVecEnv):
    """Step a VecTask that resets an env in the very step that ends its episode.

    The episode's last observation is then lost. In its place `final_obs` holds the one that the last action
    was chosen for, so a time-out is bootstrapped from a value one control step old; `info["final_obs_lost"]`
    (B,) bool tells where.
    """

    def _tell(self, obs: Tensor, last_obs: Tensor, reward: Tensor, before: Ended) -> Step:
        ended = self._ended
        self._ended = Ended(*(torch.zeros_like(each) for each in ended))
        lost = ended.any_way
        final_obs = torch.where(lost[:, None], last_obs, obs)
        return self._end(obs, final_obs, reward, ended, {"final_obs_lost": lost})


def _float(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).to(torch.float32)
