"""What a latent task says of steps: what they pay, and where they lead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robofb.meta_interfaces import MetaTask, OutcomeFamily
from robofb.nets.factored import FactoredMlp
from robofb.nets.pairwise import PairwiseMlp
from robofb.rl.borel.belief import BeliefEncoder
from robofb.rl.histories import Trials


class Decoder(Protocol):
    """Says how unlikely the steps of a trial are to latent tasks."""

    def surprise(self, z: Tensor, trials: Trials, encoder: BeliefEncoder) -> Tensor:
        """Return (M, L): the negative log-likelihood of all valid steps of trial m to its latent l.

        Args:
            z: (M, L, Z).
            trials: M.
            encoder: normalises states and actions.
        """
        ...


class Said(NamedTuple):
    """A decoder and what its word counts.

    Attributes:
        name: in metrics.
        decoder: an nn.Module that is a `Decoder`.
        weight: of its surprise in the loss.
    """

    name: str
    decoder: Any
    weight: float = 1.0


class OutcomeDecoder(nn.Module):
    """Chances that a step pays, one head for each of C outcomes of a step, such as the cell it ends in.

    A latent is decoded once, however many steps are asked of it. Logits are those of a network and of a layer
    without hidden ones together, which learns first.

    Args:
        latent: Z.
        outcome: returns the outcome (...) int64 of steps by `next_obs` (..., D).
        num_outcomes: C.
        threshold: rewards above this pay.
        hidden: sizes of the hidden layers.
    """

    threshold: Tensor

    def __init__(
        self,
        latent: int,
        outcome: Callable[[Tensor], Tensor],
        num_outcomes: int,
        threshold: float = 0.0,
        hidden: Sequence[int] = (32, 32),
    ) -> None:
        super().__init__()
        self.outcome, self.num_outcomes = outcome, num_outcomes
        self.register_buffer("threshold", torch.tensor(float(threshold)))
        sizes = [latent, *hidden]
        layers: list[nn.Module] = []
        for size_in, size_out in pairwise(sizes):
            layers += [nn.Linear(size_in, size_out), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Linear(sizes[-1], num_outcomes))
        self.straight = nn.Linear(latent, num_outcomes)

    def watch(self, rewards: Tensor) -> None:
        """Call rewards above the middle of these (n,) high, from now on."""
        self.threshold.copy_((rewards.min() + rewards.max()) / 2)

    def surprise(self, z: Tensor, trials: Trials, encoder: BeliefEncoder) -> Tensor:
        """Return (M, L); see `Decoder`."""
        outcome = self.outcome(trials.next_obs)  # (M, T)
        paid = (trials.reward > self.threshold) & trials.valid
        counts = [
            z.new_zeros(len(outcome), self.num_outcomes).scatter_add_(1, outcome, kind.float())
            for kind in (paid, ~paid & trials.valid)
        ]
        logits = self.logits(z)  # (M, L, C)
        return (F.softplus(-logits) * counts[0][:, None] + F.softplus(logits) * counts[1][:, None]).sum(-1)

    def chances(self, z: Tensor) -> Tensor:
        """Return how likely each outcome pays, (..., C), for latents (..., Z)."""
        return torch.sigmoid(self.logits(z))

    def logits(self, z: Tensor) -> Tensor:
        """Return log-odds that each outcome pays, (..., C), for latents (..., Z)."""
        logits: Tensor = self.net(z) + self.straight(z)
        return logits


class RewardDecoder(nn.Module):
    """The mean of a step's reward, of unit deviation, by where it ends, and perhaps where it began and how.

    Args:
        latent: Z.
        encoder: whose states and actions it takes.
        sees_move: take state and action before the step too.
        hidden: sizes of the hidden layers.
        scale: deviations in a unit of reward: rewards are multiplied by it before they are compared.
    """

    scale: Tensor

    def __init__(
        self,
        latent: int,
        encoder: BeliefEncoder,
        *,
        sees_move: bool = False,
        hidden: Sequence[int] = (32, 32),
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.sees_move = sees_move
        self.register_buffer("scale", torch.tensor(float(scale)))
        size = encoder.place_dim + (encoder.place_dim + encoder.action_dim if sees_move else 0)
        self.net = FactoredMlp(latent, size, hidden)

    def watch(self, rewards: Tensor) -> None:
        """Measure rewards by the deviation of these (n,) from now on."""
        self.scale.copy_(1 / rewards.std().clamp_min(1e-3))

    def surprise(self, z: Tensor, trials: Trials, encoder: BeliefEncoder) -> Tensor:
        """Return (M, L), constants left out; see `Decoder`."""
        error = self.net(z, self.inputs(trials, encoder)) - self.scale * trials.reward[:, None]
        return 0.5 * (error**2 * trials.valid[:, None]).sum(-1)

    def inputs(self, trials: Trials, encoder: BeliefEncoder) -> Tensor:
        """Return what the network takes of steps, (M, T, X)."""
        after = encoder.places(trials.next_obs)
        if not self.sees_move:
            return after
        return torch.cat([encoder.places(trials.obs), encoder.actions(trials.action), after], -1)


class StateDecoder(nn.Module):
    """The mean of how far a step leads from where it began, of a deviation that follows from the data.

    Args:
        latent: Z.
        encoder: whose states and actions it takes.
        hidden: sizes of the hidden layers.

    Attributes:
        deviation: (D,) buffer: of a normalised state's change in a step.
    """

    deviation: Tensor

    def __init__(self, latent: int, encoder: BeliefEncoder, *, hidden: Sequence[int] = (32, 32)) -> None:
        super().__init__()
        self.net = PairwiseMlp(latent, encoder.place_dim + encoder.action_dim, hidden, encoder.state_dim)
        self.register_buffer("deviation", torch.ones(encoder.state_dim))

    def watch(self, changes: Tensor) -> None:
        """Measure changes by the deviation of these (n, D), of normalised states, from now on."""
        self.deviation.copy_(changes.std(0).clamp_min(1e-4))

    def surprise(self, z: Tensor, trials: Trials, encoder: BeliefEncoder) -> Tensor:
        """Return (M, L), constants left out; see `Decoder`."""
        change = (encoder.states(trials.next_obs) - encoder.states(trials.obs)) / self.deviation
        inputs = torch.cat([encoder.places(trials.obs), encoder.actions(trials.action)], -1)
        error = self.net(z, inputs) - change[:, None]
        return 0.5 * ((error**2).sum(-1) * trials.valid[:, None]).sum(-1)


def make_decoders(
    family: MetaTask, encoder: BeliefEncoder, *, hidden: Sequence[int], sees_move: bool, state_weight: float
) -> list[Said]:
    """Return decoders for what a family's tasks differ in, "reward" and perhaps "state".

    Args:
        family: of the tasks; one of outcomes gets a head for each of them, else there is a mean.
        encoder: whose states and actions they take.
        hidden: sizes of their hidden layers.
        sees_move: see `RewardDecoder`.
        state_weight: of a `StateDecoder`; 0 for none.
    """
    latent = encoder.latent
    reward: nn.Module
    if isinstance(family, OutcomeFamily):
        reward = OutcomeDecoder(latent, family.outcome, family.num_outcomes, hidden=hidden)
    else:
        reward = RewardDecoder(latent, encoder, sees_move=sees_move, hidden=hidden)
    said = [Said("reward", reward)]
    if state_weight:
        said.append(Said("state", StateDecoder(latent, encoder, hidden=hidden), state_weight))
    return said
