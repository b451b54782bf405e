"""What BOReL's released code does otherwise than its paper, each by itself, to compare with: a choice.

The defects were found in the code that its authors published with arXiv 2008.02598.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from robofb.errors import UserError
from robofb.meta_interfaces import MetaTask
from robofb.rl.borel.belief import Belief, BeliefEncoder
from robofb.rl.histories import Histories, Trials

WIPE, CUT, REPLACEMENT, PAY, EARLY = "wipe", "cut", "replacement", "pay", "early"
DEFECTS = {
    WIPE: "hyper-states forget everything where a step was paid, as no policy does that acts",
    CUT: "value ends where a step was paid, though the episode goes on and pays",
    REPLACEMENT: "an update may draw a task several times",
    PAY: "point_robot_sparse is relabelled with the distance, half_cheetah_vel not at all",
    EARLY: "ant_semi_circle_sparse logs what the state before a step pays, not after it",
}
RELEASED = "released"
_TASKS = {PAY: ("point_robot_sparse", "half_cheetah_vel"), EARLY: ("ant_semi_circle_sparse",)}
"""Those that are of some tasks alone."""

Pay = Callable[[Tensor, Trials], Tensor]
"""Returns what tasks of parameters (M, P) pay for the steps of trials, (M, T)."""


def defects_of(words: str | None) -> frozenset[str]:
    """Return the defects that `compat` names: none, all as "released", or some, such as "wipe+cut".

    Raises:
        UserError: names one that there is not.
    """
    if words is None:
        return frozenset()
    if words == RELEASED:
        return frozenset(DEFECTS)
    named = words.split("+")
    for name in named:
        if name not in DEFECTS:
            known = ", ".join((RELEASED, *DEFECTS))
            raise UserError(f"compat={words}: no such defect as {name!r}; valid: {known}, several with +")
    return frozenset(named)


def check_defects(words: str | None, family: MetaTask) -> None:
    """Refuse a defect that is named, where this family's tasks have no place for it.

    Raises:
        UserError: names it.
    """
    task = family.spec.task
    for name in [] if words in (None, RELEASED) else defects_of(words):
        if task not in _TASKS.get(name, (task,)):
            raise UserError(f"compat={words}: {name} is of {' and '.join(_TASKS[name])} alone, not {task}")


def pay_of(family: MetaTask, defects: frozenset[str]) -> Pay:
    """Return by what rule other agents' steps are paid anew."""
    task = family.spec.task if PAY in defects else ""

    def pay(params: Tensor, trials: Trials) -> Tensor:
        if task == "half_cheetah_vel":
            return trials.reward
        if task == "point_robot_sparse":
            return -(trials.next_obs - params[:, None]).norm(dim=-1)
        return family.relabel(params[:, None], trials.obs, trials.action, trials.next_obs)

    return pay


def histories_of(histories: Histories, family: MetaTask, defects: frozenset[str]) -> Histories:
    """Return logs as the released code would have written them."""
    if EARLY not in defects or family.spec.task != "ant_semi_circle_sparse":
        return histories
    before, params = histories.obs[:, :, :-1], histories.params[:, None, None]
    return replace(histories, reward=family.relabel(params, before, histories.action, before))


def goes_on(trials: Trials, defects: frozenset[str]) -> Tensor:
    """Return 1 where value goes on after a step, (M, T) float32, and 0 where it is cut."""
    if CUT not in defects:
        return torch.ones_like(trials.reward)
    return (trials.reward <= 0).float()


def beliefs_of(trials: Trials, encoder: BeliefEncoder, defects: frozenset[str]) -> Belief:
    """Return the beliefs (M, T + 1, Z) of which hyper-states are made."""
    if WIPE not in defects:
        beliefs: Belief = encoder(trials)
        return beliefs
    hidden = encoder.blank(len(trials.reward))
    memories = [hidden]
    for t in range(trials.reward.shape[1]):
        columns = (trials.obs, trials.action, trials.next_obs, trials.reward)
        hidden = encoder.after(hidden, *(column[:, t] for column in columns))
        hidden = torch.where((trials.reward[:, t] > 0)[:, None], torch.zeros_like(hidden), hidden)
        memories.append(hidden)
    return encoder.read(torch.stack(memories, 1))
