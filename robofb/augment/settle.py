"""Let simulator states come to rest with the hand still, and keep those that stay."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robofb.augment.poses import action_columns, pose_key, poses_by_body
from robofb.errors import UserError
from robofb.sim.bank_kinds import NO_KIND, BankTask
from robofb.sim.vec_env import SimVecEnv
from robofb.store.element_names import EE
from robofb.types import SIM_STATE, Obs, Step

SETTLE_S = 0.5
WATCH_STEPS = 10
MOST_DRIFT_M = 0.001  # of a part while it is watched
MOST_HAND_ERROR_M = 0.003  # of the hand from its command: it pushes against something else


class Settled(NamedTuple):
    """What became of B states.

    Attributes:
        state: (B, S) float64 after settling.
        kind: (B,) int64, see `BankTask.bank_kinds`; `NO_KIND` also where a state is not sound.
    """

    state: Tensor
    kind: Tensor


class Settler:
    """Hold the hand of every world of an env where it is, and judge what happens.

    Args:
        env: of a `BankTask`, with `sim_state`, without `autoreset`.
        most_creep_m: of a held part while it is watched; friction in MuJoCo lets it slip, slowly.

    Raises:
        UserError: the task cannot have a reset bank.
    """

    def __init__(self, env: SimVecEnv, most_creep_m: float = MOST_DRIFT_M) -> None:
        task = env.task
        if not isinstance(task, BankTask):
            raise UserError(
                f"task {env.spec.task} cannot have a reset bank: it has no joinings, bank_kinds and place_arm"
            )
        self.env, self.task, self._most_creep_m = env, task, most_creep_m
        self._key = pose_key(env.spec)
        self._poses = poses_by_body(env.spec.obs[self._key])
        self._columns = action_columns(env.spec.action)
        self._steps = round(SETTLE_S / env.spec.control_dt)

    def action(self, position: Tensor, rotation6d: Tensor, closed: Tensor) -> Tensor:
        """Return the actions (B, A) that command tool poses.

        Args:
            position: (B, 3) [m].
            rotation6d: (B, 6).
            closed: (B,) bool, the gripper's command.
        """
        action = position.new_zeros(len(position), *self.env.spec.action.shape)
        action[:, list(self._columns.pose.position)] = position
        action[:, list(self._columns.pose.rotation)] = rotation6d
        action[:, self._columns.gripper] = 2.0 * closed.to(action) - 1.0
        return action.float()

    def hand(self, obs: Obs) -> tuple[Tensor, Tensor]:
        """Return the tool's position (B, 3) [m] and 6D rotation (B, 6) as observed."""
        state, pose = obs[self._key], self._poses[EE]
        return state[:, list(pose.position)], state[:, list(pose.rotation)]

    def settle(self, states: Tensor, closed: Tensor) -> Settled:
        """Hold still for `SETTLE_S` from states (B, S), then watch; see the module's bounds.

        A state is sound where no part strays or overlaps deeper than the task allows, the task has neither
        succeeded nor failed, and the hand is where it is commanded to be.

        Args:
            closed: (B,) bool, the gripper's command.
        """
        env = self.env
        hold = self.action(*self.hand(env.restore(states)), closed)
        for _ in range(self._steps):
            step = env.step(hold)
        rested = step.final_obs[SIM_STATE].clone()
        before = env.restore(rested)
        kind = self.task.bank_kinds(env.engine)
        sound = torch.ones_like(closed)
        bound_m = torch.where(closed, self._most_creep_m, MOST_DRIFT_M)
        for _ in range(WATCH_STEPS):
            step = env.step(hold)
            sound &= ~step.terminated & (self._strayed_m(before, step.obs) <= bound_m)
        sound &= self._overlaps_within_bounds(step)
        error_m = (self.hand(before)[0] - hold[:, list(self._columns.pose.position)]).norm(dim=-1)
        sound &= (error_m <= MOST_HAND_ERROR_M) & torch.isfinite(rested).all(-1)
        return Settled(rested, torch.where(sound, kind, NO_KIND))

    def _strayed_m(self, before: Obs, now: Obs) -> Tensor:
        """Return (B,) the farthest that the hand or a part's origin has moved [m]."""
        moved = now[self._key] - before[self._key]
        places = [moved[:, list(pose.position)].norm(dim=-1) for pose in self._poses.values()]
        return torch.stack(places, -1).amax(-1)

    def _overlaps_within_bounds(self, step: Step) -> Tensor:
        """Return (B,) bool: no overlap of the worlds' parts was deeper than success allows."""
        sound = torch.ones_like(step.terminated)
        for name, depth_m in step.info.items():
            if name.endswith("_overlap"):
                sound &= depth_m <= getattr(self.task, f"max_{name}_m")
        return sound
