"""Plain walks through worlds, one state after another, as oracles for what their tables and formulas say."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable, Iterable

import torch

from robofb.envs.teacher.tabular import TabularTask
from robofb.sim.torch_env import TorchVecEnv
from robofb.types import PRIVILEGED, Step

HEADINGS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def fewest_steps(start: Hashable, moves: Callable, goal: Callable) -> dict:
    """Return how many steps lead from each state that can be reached to a goal, inf where none does.

    Args:
        moves: the states that the actions lead to, from one state; none where the episode is over.
        goal: whether a state is the goal.
    """
    before: dict = {start: []}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        for there in moves(here):
            if there not in before:
                before[there] = []
                queue.append(there)
            before[there].append(here)
    steps = {state: 0 if goal(state) else math.inf for state in before}
    queue.extend(state for state in before if goal(state))
    while queue:
        state = queue.popleft()
        for former in before[state]:
            if steps[former] == math.inf:
                steps[former] = steps[state] + 1
                queue.append(former)
    return steps


def turning_moves(state: tuple, free: Callable) -> list[tuple]:
    """Return the states (x, y, heading) after turn left, turn right, forward; `free` cells can be entered."""
    x, y, heading = state
    dx, dy = HEADINGS[heading]
    ahead = (x + dx, y + dy, heading) if free(x + dx, y + dy) else state
    return [(x, y, (heading - 1) % 4), (x, y, (heading + 1) % 4), ahead]


def walk(env: TorchVecEnv, actions: Iterable[int]) -> list[Step]:
    """Take these actions in every world of an env; return the steps."""
    return [env.step(torch.full((env.num_envs, 1), action)) for action in actions]


def success_of_average_answers(env: TorchVecEnv, steps: int) -> float:
    """Return how often a student succeeds that does what the teacher does on average over equal views."""
    task = env.task
    assert isinstance(task, TabularTask)
    generator = torch.Generator().manual_seed(0)
    everything = task.observe({"index": torch.arange(len(task.tables.next))})
    steps_left = everything[PRIVILEGED][:, -task.tables.next.shape[1] :]
    told = (steps_left < env.spec.max_steps).any(1)  # not where nothing helps any more
    looks, which = torch.unique(everything["grid"].flatten(1)[told], dim=0, return_inverse=True)
    answers = task.teacher().answer(everything).exp()[told]
    sums = torch.zeros(len(looks), answers.shape[1]).index_add(0, which, answers)
    by_look = {tuple(look): answer for look, answer in zip(looks.tolist(), sums, strict=True)}
    obs, ended, won = env.reset(0), 0, 0
    for _ in range(steps):
        weights = torch.stack([by_look[tuple(look)] for look in obs["grid"].flatten(1).tolist()])
        step = env.step(torch.multinomial(weights, 1, generator=generator))
        ended, won = ended + int(step.done.sum()), won + int(step.info["success"][step.done].sum())
        obs = step.obs
    return won / ended
