"""A scripted person beside a rehearsal: takes over where the policy is about to fail, then lets it go on.

What is then recorded are corrections where the policy needs them, as in HG-DAgger (arXiv 1810.02890).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robofb.deploy.arms.sim import SimArm
from robofb.deploy.modes import Ask, Mode
from robofb.deploy.pose import Pose, Vector, between, difference, length, toward
from robofb.deploy.tick import Tick
from robofb.errors import UserError, check_at_least, check_positive
from robofb.geometry import matrix_to_quat, rot6d_to_matrix
from robofb.interfaces import Agent
from robofb.rng import derive_seeds
from robofb.types import TeleopCommand

_LETS_GO = TeleopCommand(np.zeros(6), 0.0, False)
_NOWHERE: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Habits:
    """When a person takes over, how they drive, and when they let go.

    Attributes:
        patience_steps: control steps for which nothing new may happen, at each of the task's stages; of one
            that is not named, as of the last.
        astray_m: the tool was led further than this from where the expert would have led it in that control
            step: that looks wrong.
        astray_steps: so many control steps on end that look wrong are enough. A gripper that does the
            opposite of what the expert's would looks wrong too.
        most_steps: control steps after which the person lets go; before, where a stage is reached.
        max_speed_m_s, max_turn_rad_s: of the tool, lengths of vectors.

    Raises:
        UserError: names the value that makes no sense.
    """

    patience_steps: Sequence[int]
    astray_m: float = 0.04
    astray_steps: int = 2
    most_steps: int = 30
    max_speed_m_s: float = 0.3
    max_turn_rad_s: float = 2.5

    def __post_init__(self) -> None:
        check_at_least(self, 1, "astray_steps", "most_steps")
        check_positive(self, "astray_m", "max_speed_m_s", "max_turn_rad_s")
        if not self.patience_steps or min(self.patience_steps) < 1:
            raise UserError(f"patience_steps={list(self.patience_steps)}: needs at least 1 for each stage")


class Corrector:
    """Watch a rehearsal and correct it. Satisfies `rehearsal.Person`.

    It looks once in a control step. What it decides to end, it ends with the last set-point of that step, so
    that the policy goes on with the next one and no step is spent standing.

    Args:
        expert: of one world; it is asked what it would do in states that it did not lead to, so it must find
            its way from any of them: a trained residual does, a script that counts its phases does not.
        habits: when to take over, and how.

    Attributes:
        reasons: why it took over, each time.
    """

    def __init__(self, expert: Agent, habits: Habits) -> None:
        self.expert, self.habits = expert, habits
        self.reasons: list[str] = []
        self._seed = self._asked = 0
        self._stage = self._stage_steps = self._odd_steps = 0
        self._driven_steps: int | None = None  # None while the policy drives
        self._is_done = False
        self._would: Tensor | None = None  # the expert's action in the step before, where the policy drove
        self._twist, self._gripper = np.zeros(6), 0.0

    def begin(self, seed: int) -> None:
        """Start to watch an episode."""
        self._seed, self._asked = seed, 0
        self._stage = self._stage_steps = self._odd_steps = 0
        self._driven_steps, self._is_done, self._would = None, False, None

    def act(self, arm: SimArm, last: Tick | None) -> tuple[tuple[Ask, ...], TeleopCommand | None]:
        """Return what the person asks for and commands at a tick.

        Args:
            arm: which is looked at.
            last: the tick before; None at the first.
        """
        if last is None or last.sent is None:
            return (), None
        if arm.part == 0:
            self._look(arm, last)
        if self._driven_steps is None:
            return ((Ask.RUN,) if last.mode is Mode.HOLD else ()), None
        if self._is_done and arm.part == arm.parts - 1:
            self._driven_steps, self._is_done = None, False
            self._stage_steps, self._odd_steps = -1, 0  # the next look is at no step of the policy's yet
            return (), _LETS_GO
        return (), TeleopCommand(self._twist, self._gripper, True)

    def _look(self, arm: SimArm, last: Tick) -> None:
        """Decide who drives in this control step, and whereto."""
        stage = 0 if arm.step is None else int(arm.step.info["stage"][0])
        is_new = stage > self._stage
        self._stage, self._stage_steps = stage, 0 if is_new else self._stage_steps + 1
        if self._driven_steps is None:
            reason, action = self._wrong(last), self._say(arm, anew=True)
            self._would = None if reason else action
            if not reason:
                return
            self.reasons.append(reason)
            self._driven_steps = 0
        else:
            action = self._say(arm, anew=False)
            self._is_done |= is_new
        self._driven_steps += 1
        self._is_done |= self._driven_steps >= self.habits.most_steps
        self._steer(action, last, arm.env.spec.control_dt)

    def _say(self, arm: SimArm, anew: bool) -> Tensor:
        """Return the expert's action (10,); `anew`, it forgets what it meant to do."""
        if anew:
            seed = derive_seeds(self._seed, self._asked)
            self.expert.reset(torch.ones(1, dtype=torch.bool), torch.tensor([int(seed)]))
            self._asked += 1
        return self.expert.next(arm.obs)[0].double().cpu()

    def _wrong(self, last: Tick) -> str:
        """Return why a person takes over now; empty where they do not."""
        patience = self.habits.patience_steps[min(self._stage, len(self.habits.patience_steps) - 1)]
        if self._stage_steps >= patience:
            return f"nothing new for {patience} control steps"
        if self._would is None or last.sent is None:
            return ""
        away_m = length(difference(_place(self._would), last.sent.pose.position_m))
        opposite = last.sent.gripper * float(self._would[9]) < 0
        self._odd_steps = self._odd_steps + 1 if opposite or away_m > self.habits.astray_m else 0
        return "it goes astray" if self._odd_steps >= self.habits.astray_steps else ""

    def _steer(self, action: Tensor, last: Tick, dt_s: float) -> None:
        """Choose the twist that takes the person's target to the expert's pose in one control step."""
        assert last.sent is not None
        drove = last.mode is Mode.HUMAN and last.wanted is not None
        start: Pose = last.wanted.pose if drove and last.wanted is not None else last.sent.pose
        w, x, y, z = matrix_to_quat(rot6d_to_matrix(action[3:9])).tolist()
        way_m, way_rad = difference(_place(action), start.position_m), between(start.turn, (w, x, y, z))
        way_m = toward(_NOWHERE, way_m, self.habits.max_speed_m_s * dt_s)
        way_rad = toward(_NOWHERE, way_rad, self.habits.max_turn_rad_s * dt_s)
        self._twist = np.array([*way_m, *way_rad]) / dt_s
        self._gripper = 1.0 if float(action[9]) > 0 else -1.0


def _place(action: Tensor) -> Vector:
    """Return the position [m] of an action (10,)."""
    x, y, z = action[:3].tolist()
    return x, y, z
