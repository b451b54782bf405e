"""Teachers of running episodes: without a memory, scripted, random, or in error now and then."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from robofb.interfaces import AskedAgent, EpisodeTeacher, Teacher, VecEnv
from robofb.policies.action_scale import action_bounds
from robofb.rng import TEACHER_STREAM, EpisodeRng, derive_seeds
from robofb.types import Obs, num_choices


class TeacherAtAnyState:
    """A teacher that answers from what is seen alone; implements `interfaces.EpisodeTeacher`."""

    def __init__(self, teacher: Teacher) -> None:
        self.teacher = teacher

    def begin(self, mask: Tensor, seeds: Tensor) -> None:
        """Do nothing: nothing is remembered."""

    def answer(self, obs: Obs, mask: Tensor | None = None) -> Tensor:
        """Return the teacher's answers (B, n or A) to all that is seen."""
        return self.teacher.answer(obs)

    def state_dict(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore nothing."""


class ExpertAsTeacher:
    """A scripted expert that is asked, and perhaps not followed; implements `interfaces.EpisodeTeacher`.

    Args:
        expert: of B envs; works on the CPU.
        device: where observations and answers live.
    """

    def __init__(self, expert: AskedAgent, device: torch.device | str = "cpu") -> None:
        self.expert, self.device = expert, device

    def begin(self, mask: Tensor, seeds: Tensor) -> None:
        """Let the expert start anew in the envs of `mask` (B,)."""
        self.expert.reset(mask.cpu(), seeds.cpu())

    def answer(self, obs: Obs, mask: Tensor | None = None) -> Tensor:
        """Return the expert's next actions (B, A); what it remembers moves on in the envs of `mask` alone."""
        before = None if mask is None else self.expert.state_dict()
        seen = {key: value.cpu() for key, value in obs.items()}
        self.expert.catch_up(seen)
        answer = self.expert.next(seen).to(self.device)
        if mask is not None:
            self.expert.load_state_dict(_where_each(mask.cpu(), self.expert.state_dict(), before))
        return answer

    def state_dict(self) -> dict[str, Any]:
        """Return what the expert remembers."""
        return self.expert.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.expert.load_state_dict(state)


class RandomTeacher:
    """Know nothing: any choice is as good as another, any action within the bounds.

    Implements `interfaces.EpisodeTeacher`. What it answers at a step of an episode depends on the episode's
    seed and the number of the step alone.

    Args:
        env: whose actions, and how many episodes at once.

    Raises:
        UserError: its actions have no bounds.
    """

    def __init__(self, env: VecEnv) -> None:
        self.num_choices, self._num_envs = num_choices(env.spec.action), env.num_envs
        if not self.num_choices:
            self._low, self._high = action_bounds(env.spec).to(env.device)
        self.rng = EpisodeRng(torch.zeros(env.num_envs, dtype=torch.int64, device=env.device))

    def begin(self, mask: Tensor, seeds: Tensor) -> None:
        """Start the streams of the episodes of `seeds` (B,) in the envs of `mask` (B,)."""
        self.rng.reseed(mask, derive_seeds(seeds[mask], TEACHER_STREAM))

    def answer(self, obs: Obs, mask: Tensor | None = None) -> Tensor:
        """Return log-probabilities (B, n), all alike, or actions (B, A)."""
        if self.num_choices:
            alike = torch.full((self._num_envs, self.num_choices), -math.log(self.num_choices))
            return alike.to(self.rng.device)
        return self._low + (self._high - self._low) * self.draw(len(self._low), mask)

    def draw(self, count: int, mask: Tensor | None) -> Tensor:
        """Return (B, count) uniform in [0, 1), drawn in the envs of `mask` (B,), all where None."""
        if mask is None:
            return self.rng.uniform(count)
        drawn = torch.zeros(self._num_envs, count, device=self.rng.device)
        drawn[mask] = self.rng.select(mask.nonzero()[:, 0]).uniform(count)
        return drawn

    def state_dict(self) -> dict[str, Any]:
        """Return how far the streams have come."""
        return self.rng.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.rng.load_state_dict(state)


class ErringTeacher:
    """A teacher that answers at random at a share of the states; implements `interfaces.EpisodeTeacher`.

    Choices: p becomes (1 - share) p + share / n. Continuous actions: at each step of an episode a draw from
    the episode's own stream decides, and others replace the action.

    Args:
        teacher: who answers else.
        share: of states in error, 0..1.
        env: whose actions, and how many episodes at once.

    Raises:
        UserError: see `RandomTeacher`.
    """

    def __init__(self, teacher: EpisodeTeacher, share: float, env: VecEnv) -> None:
        self.teacher, self.share = teacher, share
        self._random = RandomTeacher(env)

    def begin(self, mask: Tensor, seeds: Tensor) -> None:
        """Let other episodes begin in the envs of `mask` (B,)."""
        self.teacher.begin(mask, seeds)
        self._random.begin(mask, seeds)

    def answer(self, obs: Obs, mask: Tensor | None = None) -> Tensor:
        """Return log-probabilities (B, n), or actions (B, A)."""
        known = self.teacher.answer(obs, mask)
        unknown = self._random.answer(obs, mask)
        if known.shape != unknown.shape:
            return known  # who asks says what is wrong with it
        if self._random.num_choices:
            shares = torch.tensor([1 - self.share, self.share], dtype=known.dtype, device=known.device).log()
            return torch.logaddexp(known + shares[0], unknown + shares[1])
        errs = self._random.draw(1, mask)[:, 0] < self.share
        return where_rows(errs, unknown, known)

    def state_dict(self) -> dict[str, Any]:
        """Return what both remember."""
        return {"teacher": self.teacher.state_dict(), "random": self._random.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.teacher.load_state_dict(state["teacher"])
        self._random.load_state_dict(state["random"])


def where_rows(mask: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return (B, ...): the rows of `a` in `mask` (B,) bool, of `b` elsewhere."""
    return torch.where(mask.reshape(-1, *[1] * (a.dim() - 1)), a, b)


def _where_each(mask: Tensor, a: Any, b: Any) -> Any:
    """Return the rows of `a` in `mask` (B,), of `b` elsewhere, of all tensors in two nested dicts."""
    if isinstance(a, dict):
        return {name: _where_each(mask, a[name], b[name]) for name in a}
    return where_rows(mask, a, b)
