"""The contracts of meta-learning: tasks that come in families, and who acts in several episodes of one."""

from __future__ import annotations

from typing import Any, Protocol, Self, runtime_checkable

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

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered."""
        ...
