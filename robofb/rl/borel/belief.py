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


class BeliefEncoder(nn.Module):
    """A GRU over steps (s, a, s', r), and a belief read from its memory before the first and after each step.

    Unlike the paper's it also sees where a step began, so that it needs no flag of new episodes: the state
    before the first step of one is not where the last one ended.

    Args:
        spec: of the environment; its "state" and action are taken in.
        latent: Z.
        memory: size of the GRU.
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
        state_embedding: int = 32,
        action_embedding: int = 16,
        reward_embedding: int = 16,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.num_choices, self.latent, self.memory = num_choices(spec.action), latent, memory
        self.state_dim = spec.obs["state"].shape[0]
        self.action_dim = self.num_choices or spec.action.shape[0]
        self.scale = ActionScale(spec)
        self.register_buffer("state_mean", torch.zeros(self.state_dim))
        self.register_buffer("state_std", torch.ones(self.state_dim))
        self.of_state = nn.Linear(self.state_dim, state_embedding)
        self.of_action = nn.Linear(self.action_dim, action_embedding)
        self.of_reward = nn.Linear(1, reward_embedding)
        inputs = 2 * state_embedding + action_embedding + reward_embedding
        self.gru = nn.GRU(inputs, memory, batch_first=True)
        self.out = nn.Linear(memory, 2 * latent)
        layers = (self.of_state, self.of_action, self.of_reward, self.gru, self.out)
        sizes = (self.state_dim, self.action_dim, 1, memory, memory)
        with torch.no_grad():
            for layer, size in zip(layers, sizes, strict=True):
                for weights in layer.parameters():
                    weights.uniform_(-1 / math.sqrt(size), 1 / math.sqrt(size), generator=generator)

    def watch(self, states: Tensor) -> None:
        """Normalise states by the mean and deviation of these, (n, D), from now on."""
        self.state_mean.copy_(states.mean(0))
        self.state_std.copy_(states.std(0).clamp_min(1e-3))

    def states(self, obs: Tensor) -> Tensor:
        """Return states (..., D) as networks take them."""
        return (obs - self.state_mean) / self.state_std

    def actions(self, action: Tensor) -> Tensor:
        """Return actions (..., A) in environment units as networks take them: one-hot, or within [-1, 1]."""
        if self.num_choices:
            return F.one_hot(action[..., 0], self.num_choices).float()
        return self.scale.from_env(action)

    def steps(self, obs: Tensor, action: Tensor, next_obs: Tensor, reward: Tensor) -> Tensor:
        """Return what the GRU takes in of steps (..., D), (..., A), (..., D), (...)."""
        parts = [
            self.of_state(self.states(obs)),
            self.of_action(self.actions(action)),
            self.of_state(self.states(next_obs)),
            self.of_reward(reward[..., None]),
        ]
        return F.relu(torch.cat(parts, -1))

    def read(self, hidden: Tensor) -> Belief:
        """Return the belief that memories (..., memory) hold."""
        mean, raw = self.out(hidden).chunk(2, -1)
        return Belief(mean, raw.clamp(MIN_LOG_VARIANCE, MAX_LOG_VARIANCE))

    def blank(self, count: int) -> Tensor:
        """Return the memories (n, memory) of trials that begin."""
        return torch.zeros(count, self.memory)

    def forward(self, trials: Trials) -> Belief:
        """Return beliefs (M, T + 1, Z): before the first step, and after each; behind the last, nothing."""
        inputs = self.steps(trials.obs, trials.action, trials.next_obs, trials.reward)
        hidden, _ = self.gru(inputs)
        first = hidden.new_zeros(len(hidden), 1, self.memory)
        return self.read(torch.cat([first, hidden], 1))

    def after(self, hidden: Tensor, obs: Tensor, action: Tensor, next_obs: Tensor, reward: Tensor) -> Tensor:
        """Return memories (n, memory) after one more step of each."""
        inputs = self.steps(obs, action, next_obs, reward)
        return self.gru(inputs[:, None], hidden[None])[1][0]


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
