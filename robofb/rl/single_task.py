"""Learn N single-task policies at once: DQN for choices, soft actor-critic for continuous actions.

One optimiser step is one step of each agent by itself: Adam works element by element, and no two agents share
a weight or a transition.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from robofb.nets.stacked import StackedMlp
from robofb.optimisation import Adams
from robofb.policies.squashed import SquashedGaussian

_DRAWS = 10  # of each kind, that an integral over actions is estimated from


class TrainedPolicies(Protocol):
    """N policies with weights of their own: `SingleTaskPolicies`, or one `HyperPolicy`."""

    num_agents: int
    num_choices: int | None
    action_dim: int
    in_dim: int
    hidden: tuple[int, ...]
    net: StackedMlp

    def __call__(self, x: Tensor) -> Tensor:
        """Return values (N, b, n) of choices, or raw Gaussians (N, b, 2 A), for inputs (N, b, in_dim)."""
        ...


class SingleTaskLearner(Protocol):
    """Improves the policies of N agents."""

    policies: Any

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take one step of every agent; return metrics, on the device.

        Args:
            batch: normalised "state", "next_state" (N, b, D) and "action" (N, b, A); "reward" (N, b), and
                "discount" (N, b), which is 0 after a termination.
        """
        ...

    def set_rate(self, lr: float) -> None:
        """Go on at a learning rate."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class ChoiceLearner:
    """Double DQN (van Hasselt et al., arXiv 1509.06461) with a slowly following target.

    Args:
        policies: values of choices.
        lr: of Adam.
        tau: share of the values that their slow copies take over per update.
        temperature: of soft Q-learning (Haarnoja et al., arXiv 1702.08165): a choice is made with a chance
            that grows as exp(Q / temperature), and a state is worth temperature log sum exp(Q / temperature);
            0 makes the best one.
        conservatism: weight of conservative Q-learning's regulariser (CQL(H); Kumar et al., 2006.04779),
            log sum exp Q - Q(taken), for learning from data alone.
    """

    def __init__(
        self,
        policies: TrainedPolicies,
        *,
        lr: float,
        tau: float,
        temperature: float = 0.0,
        conservatism: float = 0.0,
    ) -> None:
        self.policies, self.tau, self.conservatism = policies, tau, conservatism
        self.temperature = temperature
        self.target = copy.deepcopy(policies.net).requires_grad_(False)
        self._adams = Adams({"values": policies.net.parameters()}, lr=lr)

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take one step; see `SingleTaskLearner`."""
        with torch.no_grad():
            goal = batch["reward"] + batch["discount"] * self._worth(batch["next_state"])
        values = self.policies(batch["state"])
        taken = values.gather(-1, batch["action"])[..., 0]
        loss = 0.5 * ((taken - goal) ** 2).mean(1).sum()
        if self.conservatism:
            loss = loss + self.conservatism * (values.logsumexp(-1) - taken).mean(1).sum()
        self._adams.descend("values", loss)
        follow(self.target, self.policies.net, self.tau)
        return {"critic_loss": loss.detach() / len(goal), "q": taken.detach().mean()}

    def _worth(self, state: Tensor) -> Tensor:
        """Return what states (N, b, F) are worth, (N, b), by the slow copies."""
        values = self.target(state)
        if self.temperature:
            return self.temperature * (values / self.temperature).logsumexp(-1)
        wanted = self.policies(state).argmax(-1, keepdim=True)
        return values.gather(-1, wanted)[..., 0]

    def set_rate(self, lr: float) -> None:
        """Go on at a learning rate."""
        self._adams.set_rate(lr)

    def state_dict(self) -> dict[str, Any]:
        """Return all but the policies' weights that learning continues from."""
        return {"target": self.target.state_dict(), "optimizers": self._adams.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.target.load_state_dict(state["target"])
        self._adams.load_state_dict(state["optimizers"])


class ContinuousLearner:
    """Soft actor-critic (Haarnoja et al., arXiv 1812.05905) with two critics and a temperature each.

    Args:
        policies: act.
        generator: draws the critics' weights and the actions' noise.
        lr: of Adam.
        tau: share of the critics that their slow copies take over per update.
        temperature: weight of the entropy, at first.
        target_entropy: that it is adjusted to, in nats; constant where None.
        conservatism: weight of conservative Q-learning's regulariser (CQL(H); see `ChoiceLearner`), whose
            integral over actions is estimated from draws.
    """

    def __init__(
        self,
        policies: TrainedPolicies,
        generator: torch.Generator,
        *,
        lr: float,
        tau: float,
        temperature: float,
        target_entropy: float | None,
        conservatism: float = 0.0,
    ) -> None:
        self.policies, self.generator, self.tau = policies, generator, tau
        self.target_entropy, self.conservatism = target_entropy, conservatism
        size = policies.in_dim + policies.action_dim
        # Two critics of each agent, one after the other.
        self.critics = StackedMlp([size, *policies.hidden, 1], 2 * policies.num_agents, generator=generator)
        self.targets = copy.deepcopy(self.critics).requires_grad_(False)
        self.log_temperature = torch.full((policies.num_agents, 1), math.log(temperature))
        self.log_temperature.requires_grad_()
        parts = {
            "actor": policies.net.parameters(),
            "critic": self.critics.parameters(),
            "temperature": [self.log_temperature],
        }
        self._adams = Adams(parts, lr=lr)

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take one step; see `SingleTaskLearner`."""
        temperature = self.log_temperature.detach().exp()
        with torch.no_grad():
            action, log_prob = self._sample(batch["next_state"])
            later = values_of(self.targets, batch["next_state"], action).amin(1) - temperature * log_prob
            goal = batch["reward"] + batch["discount"] * later
        values = values_of(self.critics, batch["state"], batch["action"])
        critic_loss = 0.5 * ((values - goal[:, None]) ** 2).mean(-1).sum()
        loss = critic_loss
        if self.conservatism:
            hoped = log_integral(self.critics, batch, self._sample, self.policies.action_dim, self.generator)
            loss = loss + self.conservatism * (hoped - values).mean(-1).sum()
        self._adams.descend("critic", loss)
        action, log_prob = self._sample(batch["state"])
        self.critics.requires_grad_(False)
        worth = values_of(self.critics, batch["state"], action).amin(1)
        self._adams.descend("actor", (temperature * log_prob - worth).mean(-1).sum())
        self.critics.requires_grad_(True)
        if self.target_entropy is not None:
            lacking = (log_prob.detach() + self.target_entropy).mean(-1, keepdim=True)
            self._adams.descend("temperature", -(self.log_temperature.exp() * lacking).sum())
        follow(self.targets, self.critics, self.tau)
        return {
            "critic_loss": critic_loss.detach() / len(goal),
            "q": values.detach().mean(),
            "entropy": -log_prob.detach().mean(),
            "temperature": temperature.mean(),
        }

    def _sample(self, state: Tensor) -> tuple[Tensor, Tensor]:
        shape = (*state.shape[:-1], self.policies.action_dim)
        wanted = SquashedGaussian.of(self.policies(state), 1.0)
        return wanted.sample(torch.randn(shape, generator=self.generator))

    def set_rate(self, lr: float) -> None:
        """Go on at a learning rate."""
        self._adams.set_rate(lr)

    def state_dict(self) -> dict[str, Any]:
        """Return all but the policies' weights that learning continues from."""
        return {
            "critics": self.critics.state_dict(),
            "targets": self.targets.state_dict(),
            "log_temperature": self.log_temperature.detach().clone(),
            "optimizers": self._adams.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.critics.load_state_dict(state["critics"])
        self.targets.load_state_dict(state["targets"])
        with torch.no_grad():
            self.log_temperature.copy_(state["log_temperature"])
        self._adams.load_state_dict(state["optimizers"])
        self.generator.set_state(state["generator"])


def values_of(critics: StackedMlp, state: Tensor, action: Tensor) -> Tensor:
    """Return (N, 2, b) of both critics of each agent, of states (N, b, D) and actions (N, b, A)."""
    both = [part.repeat_interleave(2, 0) for part in (state, action)]
    return critics(*both)[..., 0].unflatten(0, (len(state), 2))


def log_integral(
    critics: StackedMlp,
    batch: Mapping[str, Tensor],
    draw: Callable[[Tensor], tuple[Tensor, Tensor]],
    action_dim: int,
    generator: torch.Generator,
) -> Tensor:
    """Return log of the integral of exp Q over actions in [-1, 1]^A, (N, 2, b), estimated by importance.

    Conservative Q-learning's, Kumar et al., arXiv 2006.04779, appendix F: a third of the actions is drawn
    evenly, a third by the policy in this state, and a third by it in the next.

    Args:
        critics: two of each agent.
        batch: "state", "next_state" (N, b, D).
        draw: returns actions (N, n, A) of states (N, n, D), and their log-densities (N, n).
        action_dim: A.
        generator: draws the even ones.
    """
    state, following = (
        batch[name].repeat_interleave(_DRAWS, 1) for name in ("state", "next_state")
    )  # (N, b * draws, D)
    even = 2 * torch.rand((*state.shape[:-1], action_dim), generator=generator) - 1
    drawn = [(even, torch.full(state.shape[:-1], -action_dim * math.log(2.0)))]
    with torch.no_grad():
        drawn += [draw(state), draw(following)]
    terms = [values_of(critics, state, action) - log_density[:, None] for action, log_density in drawn]
    each = torch.stack(terms, -1).unflatten(2, (-1, _DRAWS)).flatten(3)  # (N, 2, b, 3 * draws)
    return each.logsumexp(-1) - math.log(3 * _DRAWS)


@torch.no_grad()
def follow(slow: torch.nn.Module, fast: torch.nn.Module, share: float) -> None:
    """Let the weights of `slow` take over a share of those of `fast`."""
    ours: list[Tensor] = list(slow.parameters())
    theirs: list[Tensor] = list(fast.parameters())
    torch._foreach_lerp_(ours, theirs, share)
