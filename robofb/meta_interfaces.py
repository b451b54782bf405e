"""The contracts of meta-learning: tasks that come in families, and who acts in several episodes of one."""

from __future__ import annotations

from typing import Protocol, Self, runtime_checkable

from torch import Tensor

from robofb.rng import EpisodeRng
from robofb.types import ArraySpec, EnvSpec, Obs, Step


@runtime_checkable
class MetaTask(Protocol):
    """A family of tasks alike but for parameters that nobody who acts is told.

    What is seen is "state" (D,) alone, beside `types.PRIVILEGED`. A task of it is also a `Task` or an
    `EnvMaker`; as it is, each of its episodes draws parameters of its own.
    """

    spec: EnvSpec
    params: ArraySpec  # (P,)
    start_distribution: str  # where episodes begin, in words for whoever reads the logs
    moves_alike: bool  # tasks differ in rewards alone: what happened in one would have happened in any

    def draw_params(self, rng: EpisodeRng) -> Tensor:
        """Return parameters (n, P) float32 of n tasks, drawn from `rng` (n rows)."""
        ...

    def fixed(self, params: Tensor) -> Self:
        """Return this family with env i held to the task of row i of `params` (B, P), for good."""
        ...

    def relabel(self, params: Tensor, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return what tasks pay for a step, (...) float32, whichever task it was taken in.

        Args:
            params: (..., P) of the tasks that pay.
            obs, next_obs: "state" (..., D) before and after the step, the latter before any reset.
            action: (..., A).
        """
        ...


@runtime_checkable
class FiniteFamily(MetaTask, Protocol):
    """A family of finitely many tasks."""

    def all_params(self) -> Tensor:
        """Return the parameters (N, P) float32 of every task there is, no two the same."""
        ...


@runtime_checkable
class OutcomeFamily(MetaTask, Protocol):
    """A family whose steps pay much or little, as the task wants one or another of C outcomes of a step."""

    num_outcomes: int  # C

    def outcome(self, next_obs: Tensor) -> Tensor:
        """Return the outcome (...) int64, 0..C-1, of steps by the "state" (..., D) they end in."""
        ...


@runtime_checkable
class TrialAgent(Protocol):
    """Whoever acts in several episodes of one task, and may remember the earlier ones in the later ones."""

    def begin(self, seeds: Tensor) -> None:
        """Begin trials in all B envs, of seeds (B,); nothing is remembered."""
        ...

    def next(self, obs: Obs) -> Tensor:
        """Return actions (B, A) in environment units."""
        ...

    def watch(self, obs: Obs, action: Tensor, step: Step) -> None:
        """See what actions led to; where `step.done`, the next episode of the trial begins."""
        ...
