"""What a history says of the task that one is in: a Gaussian over a few latent numbers, after every step."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robofb.policies.action_scale import ActionScale
from robofb.rl.histories import Trials
from robofb.types import EnvSpec, num_choices

MIN_LOG_VARIANCE, MAX_LOG_VARIANCE = -10.0, 4.0
_LONGEST = 6.0  # wavelength, in deviations of a state


class Belief(NamedTuple):
    """A Gaussian with independent dimensions.

    Attributes:
        mean: (..., Z).
        log_variance: (..., Z).
    """

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Return draws made of unit normal `noise` (..., Z), differentiably."""
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def flat(self) -> Tensor:
        """Return (..., 2 Z): mean, then log-variance."""
        return torch.cat([self.mean, self.log_variance], -1)


def _draw_weights(layer: nn.Module, size: int, generator: torch.Generator | None) -> None:
    """Draw a layer's weights evenly within 1 / sqrt(size)."""
    with torch.no_grad():
        for weights in layer.parameters():
            weights.uniform_(-1 / math.sqrt(size), 1 / math.sqrt(size), generator=generator)


class Memory(nn.Module):
    """What is remembered of a trial's steps: `said` by each of them alone, then taken `through` one by one.

    Args:
        size_in: X, of a step.
        size: of what is remembered.
        generator: draws the initial weights; the global one where None.
    """

    def __init__(self, size_in: int, size: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.size = size
        self.build(size_in, generator)

    def build(self, size_in: int, generator: torch.Generator | None) -> None:
        """Make the layers."""
        raise NotImplementedError

    def said(self, steps: Tensor) -> Tensor:
        """Return what steps (..., X) say by themselves, (..., S)."""
        raise NotImplementedError

    def through(self, said: Tensor) -> Tensor:
        """Return what is remembered after each of T steps that said (M, T, S), (M, T, size)."""
        raise NotImplementedError

    def after(self, hidden: Tensor, said: Tensor) -> Tensor:
        """Return what is remembered (n, size) after one more step that said (n, S)."""
        raise NotImplementedError


class GruMemory(Memory):
    """Takes steps in by a GRU, as in the paper; see `Memory`."""

    def build(self, size_in: int, generator: torch.Generator | None) -> None:
        """Make the layers."""
        self.gru = nn.GRU(size_in, self.size, batch_first=True)
        _draw_weights(self.gru, self.size, generator)

    def said(self, steps: Tensor) -> Tensor:
        """Return steps (..., X) as they are."""
        return steps

    def through(self, said: Tensor) -> Tensor:
        """Return what is remembered after each of T steps (M, T, X), (M, T, size)."""
        hidden: Tensor = self.gru(said)[0]
        return hidden

    def after(self, hidden: Tensor, said: Tensor) -> Tensor:
        """Return what is remembered (n, size) after one more step (n, X)."""
        last: Tensor = self.gru(said[:, None], hidden[None])[1][0]
        return last


class PooledMemory(Memory):
    """Remembers the largest of what every step by itself says, number by number, whatever their order.

    The task stays the same during a trial, so that the posterior over tasks is one of the set of steps (as in
    PEARL, Rakelly et al., arXiv 1903.08254; pooled as in PointNet, Qi et al., arXiv 1612.00593). What a
    step has shown stays known, and seeing it again changes nothing: nobody has to learn how to keep it. Weak
    evidence, which only many steps together are, needs `GruMemory`. See `Memory`.
    """

    def build(self, size_in: int, generator: torch.Generator | None) -> None:
        """Make the layers."""
        self.first, self.second = nn.Linear(size_in, self.size), nn.Linear(self.size, self.size)
        _draw_weights(self.first, size_in, generator)
        _draw_weights(self.second, self.size, generator)

    def said(self, steps: Tensor) -> Tensor:
        """Return what steps (..., X) say, (..., size), above 0, which is what is remembered of none.

        Nothing here is flat: units that rectify die, and six of GridNavi's 21 cells stayed unseen for good.
        """
        return F.softplus(self.second(F.silu(self.first(steps))))

    def through(self, said: Tensor) -> Tensor:
        """Return the largest of what was said after each of T steps (M, T, size), (M, T, size)."""
        return said.transpose(1, 2).contiguous().cummax(-1).values.transpose(1, 2)

    def after(self, hidden: Tensor, said: Tensor) -> Tensor:
        """Return the larger of what is remembered and what one more step says, (n, size)."""
        return torch.maximum(hidden, said)


MEMORIES: dict[str, type[Memory]] = {"gru": GruMemory, "pooled": PooledMemory}


class BeliefEncoder(nn.Module):
    """A memory of steps (s, a, s', r), and a belief read from it before the first and after each step.

    Unlike the paper's it also sees where a step began, so that it needs no flag of new episodes: the state
    before the first step of one is not where the last one ended.

    Args:
        spec: of the environment; its "state" and action are taken in.
        latent: Z.
        memory: size of the memory.
        reader: what takes steps in, one of `MEMORIES`.
        waves: sines and cosines of each normalised state at so many wavelengths, 6 deviations and half of the
            one before, that are taken in and decoded beside it: they tell near places apart (Tancik et al.,
            arXiv 2006.10739).
        state_embedding, action_embedding, reward_embedding: sizes of the layers that take each of them in.
        generator: draws the initial weights; the global one where None.
    """

    state_mean: Tensor
    state_std: Tensor

    def __init__(
        self,
        spec: EnvSpec,
        *,
        latent: int = 5,
        memory: int = 64,
        reader: str = "gru",
        waves: int = 0,
        state_embedding: int = 32,
        action_embedding: int = 16,
        reward_embedding: int = 16,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.num_choices, self.latent, self.waves = num_choices(spec.action), latent, waves
        self.state_dim = spec.obs["state"].shape[0]
        self.action_dim = self.num_choices or spec.action.shape[0]
        self.scale = ActionScale(spec)
        self.register_buffer("state_mean", torch.zeros(self.state_dim))
        self.register_buffer("state_std", torch.ones(self.state_dim))
        self.place_dim = self.state_dim * (1 + 2 * waves)
        self.of_state = nn.Linear(self.place_dim, state_embedding)
        self.of_action = nn.Linear(self.action_dim, action_embedding)
        self.of_reward = nn.Linear(1, reward_embedding)
        inputs = 2 * state_embedding + action_embedding + reward_embedding
        for layer in (self.of_state, self.of_action, self.of_reward):
            _draw_weights(layer, layer.in_features, generator)
        self.memory = MEMORIES[reader](inputs, memory, generator)
        self.out = nn.Linear(memory, 2 * latent)
        _draw_weights(self.out, memory, generator)

    def watch(self, states: Tensor) -> None:
        """Normalise states by the mean and deviation of these, (n, D), from now on."""
        self.state_mean.copy_(states.mean(0))
        self.state_std.copy_(states.std(0).clamp_min(1e-3))

    def states(self, obs: Tensor) -> Tensor:
        """Return states (..., D) as networks take them."""
        return (obs - self.state_mean) / self.state_std

    def places(self, obs: Tensor) -> Tensor:
        """Return states (..., D) with their waves, (..., D (1 + 2 waves))."""
        states = self.states(obs)
        if not self.waves:
            return states
        octaves = 2.0 ** torch.arange(self.waves, device=obs.device)
        angle = (states[..., None] * (octaves * 2 * math.pi / _LONGEST)).flatten(-2)
        return torch.cat([states, angle.sin(), angle.cos()], -1)

    def actions(self, action: Tensor) -> Tensor:
        """Return actions (..., A) in environment units as networks take them: one-hot, or within [-1, 1]."""
        if self.num_choices:
            return F.one_hot(action[..., 0], self.num_choices).float()
        return self.scale.from_env(action)

    def steps(self, obs: Tensor, action: Tensor, next_obs: Tensor, reward: Tensor) -> Tensor:
        """Return what the memory takes in of steps (..., D), (..., A), (..., D), (...)."""
        parts = [
            self.of_state(self.places(obs)),
            self.of_action(self.actions(action)),
            self.of_state(self.places(next_obs)),
            self.of_reward(reward[..., None]),
        ]
        return F.relu(torch.cat(parts, -1))

    def read(self, hidden: Tensor) -> Belief:
        """Return the belief that memories (..., memory) hold."""
        mean, raw = self.out(hidden).chunk(2, -1)
        return Belief(mean, raw.clamp(MIN_LOG_VARIANCE, MAX_LOG_VARIANCE))

    def blank(self, count: int) -> Tensor:
        """Return the memories (n, memory) of trials that begin."""
        return torch.zeros(count, self.memory.size)

    def forward(self, trials: Trials) -> Belief:
        """Return beliefs (M, T + 1, Z): before the first step, and after each; behind the last, nothing."""
        hidden = self.memory.through(self._said(trials))
        first = torch.zeros_like(hidden[:, :1])
        return self.read(torch.cat([first, hidden], 1))

    def after(self, hidden: Tensor, obs: Tensor, action: Tensor, next_obs: Tensor, reward: Tensor) -> Tensor:
        """Return memories (n, memory) after one more step of each."""
        inputs = self.steps(obs, action, next_obs, reward)
        return self.memory.after(hidden, self.memory.said(inputs))

    def _said(self, trials: Trials) -> Tensor:
        """Return what each step of trials (M, T) says, (M, T, S); of equal ones, it is computed once."""
        parts = (trials.obs, trials.action, trials.next_obs, trials.reward[..., None])
        rows = torch.cat([part.flatten(0, 1).float() for part in parts], -1)
        first, which = distinct(rows)
        obs, action, next_obs, reward = (part.flatten(0, 1).index_select(0, first) for part in parts)
        said = self.memory.said(self.steps(obs, action, next_obs, reward[:, 0]))
        return said.index_select(0, which).unflatten(0, trials.reward.shape)


def distinct(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return numbers (U,) of rows among (R, D) that all others equal, and (R,) which of these each equals.

    A few of them may be equal to each other: rows are told apart by a weighted sum, which is quick.
    """
    weights = torch.rand(rows.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    keys, which = (rows.double() @ weights.to(rows.device)).unique(return_inverse=True)
    number = torch.arange(len(rows), device=rows.device)
    first = number.new_empty(len(keys)).scatter_(0, which, number)
    return (first, which) if bool((rows[first[which]] == rows).all()) else (number, number)


def kl_between(belief: Belief, before: Belief) -> Tensor:
    """Return KL(belief || before) (...) in nats."""
    gap = belief.log_variance - before.log_variance
    far = (belief.mean - before.mean) ** 2 / before.log_variance.exp()
    return 0.5 * (gap.exp() + far - 1.0 - gap).sum(-1)


def sequential_kl(beliefs: Belief) -> Tensor:
    """Return (M, T + 1) KL of each belief (M, T + 1, Z) from the one before, the first from N(0, 1)."""
    first = [torch.zeros_like(part[:, :1]) for part in beliefs]
    parts = zip(first, beliefs, strict=True)
    before = Belief(*(torch.cat([start, part[:, :-1]], 1) for start, part in parts))
    return kl_between(beliefs, before)
