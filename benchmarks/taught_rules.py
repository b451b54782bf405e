"""Rules of a few lines for the robots with a teacher: what averaging leads to, and what can be found out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from robofb.envs.teacher import hidden_hole, two_boxes
from robofb.envs.teacher.hand import steps_towards
from robofb.interfaces import Teacher
from robofb.types import PRIVILEGED, Obs

Rule = Callable[[Obs], Tensor]
"""Returns actions (B, A) for what is seen."""

END_M = 0.0135  # of the sweep
HOLES_M = torch.linspace(-hidden_hole.MAX_OFFSET_M, hidden_hole.MAX_OFFSET_M, 21)
SIDES = torch.tensor([1.0, -1.0])


def on_average(task: Any, secrets: Tensor) -> Rule:
    """Return what a student does that averages the teacher's answers over equally likely secrets (n,)."""
    teacher = task.teacher()

    def rule(obs: Obs) -> Tensor:
        answers = [
            teacher.answer({**obs, PRIVILEGED: torch.full_like(obs[PRIVILEGED], float(each))})
            for each in secrets
        ]
        return torch.stack(answers).mean(0)

    return rule


def sweep(obs: Obs) -> Tensor:
    """Go to one end, press, sweep along y; where the hand sinks, push. By what the student sees alone."""
    state = obs["state"]
    place, command = state[:, :3], state[:, :3] + state[:, 6:9]
    wanted = torch.zeros(len(state), 3)
    at_end, touches = place[:, 1] < 0.002 - END_M, place[:, 2] < 0.0008
    wanted[:, 1] = torch.where(touches, command[:, 1] + 0.004, -END_M)
    wanted[:, 2] = torch.where(touches | at_end, place[:, 2] - 0.004, 0.006)
    inside = place[:, 2] < -0.003
    wanted[inside, 1], wanted[inside, 2] = place[inside, 1], -0.02
    return steps_towards(hidden_hole.ROOM, state, wanted)


def look_then_reach(teacher: Teacher) -> Rule:
    """Return the rule: go back and up until the ball shows, then do as the teacher would."""

    def rule(obs: Obs) -> Tensor:
        state = obs["state"]
        seen = state[:, 9:]
        behind = torch.tensor([-0.16, 0.0, 0.23]).expand(len(state), -1)
        reach = teacher.answer({"state": state, PRIVILEGED: seen})
        return torch.where(seen == 0, steps_towards(two_boxes.ROOM, state, behind), reach)

    return rule
