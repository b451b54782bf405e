"""Policies that see what a student sees, with or without memory, several of them computed together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robofb.errors import UserError
from robofb.moments import RunningNormalizer
from robofb.nets.stacked import StackedMlp
from robofb.policies.action_scale import ActionScale
from robofb.policies.elements import SeenElements
from robofb.policies.squashed import SquashedGaussian
from robofb.rng import EpisodeRng
from robofb.types import EnvSpec, Obs, num_choices


class Choices(NamedTuple):
    """A distribution over n choices.

    Attributes:
        log_probs: (..., n).
    """

    log_probs: Tensor

    @property
    def mode(self) -> Tensor:
        """(...) int64, the likeliest choice."""
        return self.log_probs.argmax(-1)

    @property
    def probs(self) -> Tensor:
        """(..., n)."""
        return self.log_probs.exp()

    def draw(self, rng: EpisodeRng) -> Tensor:
        """Return choices (B,) int64 of log-probabilities (B, n), each row drawn from its own stream."""
        drawn = (self.probs.cumsum(-1) < rng.uniform(1)).sum(-1)
        return drawn.clamp(max=self.log_probs.shape[-1] - 1)

    def mean_of(self, values: Tensor) -> Tensor:
        """Return the expectation (...) of a value (..., n) of each choice."""
        return (self.probs * values).sum(-1)


class StudentEyes(nn.Module):
    """Turn a student's observations into one flat vector.

    Floating-point observations are normalised by what training has seen so far; whole numbers, such as the
    planes of a grid, are taken as they are.

    Args:
        spec: of the environment.
        obs_keys: what is seen.
        elements: beginnings of the names of the elements that are seen, by key of a flat observation; all
            elements where a key is missing.

    Attributes:
        seen: spec of what is seen.
        size: F.

    Raises:
        UserError: the environment shows no such thing.
    """

    def __init__(
        self, spec: EnvSpec, obs_keys: Sequence[str], elements: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        super().__init__()
        if missing := [key for key in obs_keys if key not in spec.obs]:
            raise UserError(f"obs_keys: {spec.task} shows no {missing[0]!r}; it has {', '.join(spec.obs)}")
        if not obs_keys:
            raise UserError("obs_keys is empty: a student must see something")
        elements = elements or {}
        if strange := [key for key in elements if key not in obs_keys]:
            raise UserError(f"elements.{strange[0]}: not among obs_keys={list(obs_keys)}")
        self.seen = spec.only(obs_keys)
        self._takes = nn.ModuleDict()
        for key, array in self.seen.obs.items():
            if key in elements and len(array.shape) != 1:
                raise UserError(f"elements.{key}: not a flat observation")
            if len(array.shape) == 1:
                self._takes[key] = SeenElements(array, key, elements.get(key))
        sizes = {
            key: self._picked(key, torch.zeros(1, *a.shape)).shape[1] for key, a in self.seen.obs.items()
        }
        measured = {key: (sizes[key],) for key, a in self.seen.obs.items() if a.dtype.startswith("float")}
        self.normalizer = RunningNormalizer(measured)
        self._measured, self.size = tuple(measured), sum(sizes.values())

    def _picked(self, key: str, x: Tensor) -> Tensor:
        """Return the seen elements (M, f) of rows (M, ...)."""
        return self._takes[key](x) if key in self._takes else x.flatten(1)

    def watch(self, obs: Obs) -> None:
        """Let observations (B, ...) count for normalisation from now on."""
        self.normalizer.watch({key: self._picked(key, obs[key]) for key in self._measured})
        self.normalizer.commit()

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Return (..., F) of observations with the same leading axes as each other."""
        parts = []
        for key, array in self.seen.obs.items():
            lead = obs[key].shape[: obs[key].dim() - len(array.shape)]
            x = self._picked(key, obs[key].reshape(-1, *array.shape).float())
            x = self.normalizer(x, key) if key in self._measured else x
            parts.append(x.reshape(*lead, -1))
        return torch.cat(parts, -1)


class Memories(nn.Module):
    """K LSTMs over the same sequences, or none at all.

    Args:
        num_members: K.
        in_dim: size of the inputs.
        size: of their memory; 0 for none, which passes the inputs on.
        generator: draws the initial weights; the global one where None.
    """

    def __init__(
        self, num_members: int, in_dim: int, size: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.size, self.num_members, self.in_dim = size, num_members, in_dim
        self.out_dim = size or in_dim
        self.cells = nn.ModuleList()
        for _ in range(num_members if size else 0):
            cell = nn.LSTM(in_dim, size, batch_first=True)
            reach = 1 / math.sqrt(size)
            with torch.no_grad():
                for weights in cell.parameters():
                    weights.uniform_(-reach, reach, generator=generator)
            self.cells.append(cell)

    def copy_shape(self, num_members: int, generator: torch.Generator | None = None) -> Memories:
        """Return `num_members` of the same size with weights of their own."""
        return Memories(num_members, self.in_dim, self.size, generator)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return features (K, N, T, out_dim) of sequences (N, T, in_dim), and the state after them.

        The state is hidden and cell, (K, N, size) each; sequences begin with none where it is None.
        Without a memory there is no state, and features have one member: (1, N, T, in_dim).
        """
        if not self.size:
            return x[None], None
        outs = [
            cell(x, None if state is None else (state[0][k : k + 1], state[1][k : k + 1]))
            for k, cell in enumerate(self.cells)
        ]
        hidden = torch.stack([out for out, _ in outs])
        return hidden, tuple(torch.cat([after[i] for _, after in outs]) for i in (0, 1))


class StudentPolicy(nn.Module):
    """P policies of what a student sees, with weights of their own; the first is the one that is wanted.

    Args:
        spec: of the environment.
        obs_keys, elements: see `StudentEyes`.
        num_policies: P.
        hidden: sizes of the hidden layers.
        memory: size of each policy's LSTM, which sees the previous action too; 0 for none.
        generator: draws the initial weights; the global one where None.

    Attributes:
        spec: of what it sees and does.
        num_choices: n of a discrete action, None of a continuous one.
        action_dim: n, or A.

    Raises:
        UserError: observations that are not there, or actions without bounds.
    """

    def __init__(
        self,
        spec: EnvSpec,
        obs_keys: Sequence[str],
        *,
        elements: Mapping[str, Sequence[str]] | None = None,
        num_policies: int = 1,
        hidden: Sequence[int] = (128, 128),
        memory: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.eyes = StudentEyes(spec, obs_keys, elements)
        self.spec, self.num_policies, self.hidden = self.eyes.seen, num_policies, tuple(hidden)
        self.num_choices = num_choices(spec.action)
        self.action_dim = self.num_choices or spec.action.shape[0]
        self.scale = ActionScale(spec)
        in_dim = self.eyes.size + (self.action_dim if memory else 0)
        self.memories = Memories(num_policies, in_dim, memory, generator)
        out = self.action_dim if self.num_choices else 2 * self.action_dim
        sizes = [self.memories.out_dim, *hidden, out]
        self.heads = StackedMlp(sizes, num_policies, layer_norm=False, generator=generator)
        with torch.no_grad():  # near uniform choices, near the middle of the box, at the start
            self.heads.weights[-1].mul_(0.01)
            self.heads.biases[-1].zero_()

    def to_env(self, action: Tensor) -> Tensor:
        """Return choices (B,) or normalised actions (B, A) as the environment takes them."""
        return action[:, None] if self.num_choices else self.scale.to_env(action)

    def from_env(self, action: Tensor) -> Tensor:
        """Return actions in environment units (..., A) normalised to [-1, 1]; the inverse of `to_env`."""
        return self.scale.from_env(action)

    def inputs(self, obs: Obs, previous: Tensor | None = None) -> Tensor:
        """Return what the memories take, (..., in_dim).

        Args:
            obs: observations (..., ...).
            previous: action before each, as `one_hot` gives it, (..., n or A), zero where an episode starts;
                needed with a memory.
        """
        seen = self.eyes(obs)
        return seen if previous is None else torch.cat([seen, previous], -1)

    def one_hot(self, action: Tensor) -> Tensor:
        """Return choices (...) as (..., n) float32; continuous actions (..., A) as they are."""
        return F.one_hot(action, self.num_choices).float() if self.num_choices else action

    def distribution(self, features: Tensor) -> Choices | SquashedGaussian:
        """Return what each policy would do: (P, M, ...) for features (P or 1, M, out_dim) of the memories."""
        return self.read(self.heads(features))

    def read(self, out: Tensor) -> Choices | SquashedGaussian:
        """Return the distribution that the heads' outputs (..., out) stand for."""
        return Choices(out.log_softmax(-1)) if self.num_choices else SquashedGaussian.of(out, 1.0)
