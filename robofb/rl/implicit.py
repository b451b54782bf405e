"""Implicit Q-learning of N policies at once: no action is ever valued that the data does not hold."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from robofb.nets.stacked import StackedMlp
from robofb.optimisation import Adams
from robofb.policies.squashed import SquashedGaussian
from robofb.rl.iql import expectile_loss
from robofb.rl.single_task import TrainedPolicies, follow, values_of

_MOST_WEIGHT = 100.0  # of an action in the policy's loss


class ImplicitLearner:
    """Learn values of the better actions in the data, and imitate actions by how much better they are.

    Kostrikov et al., arXiv 2110.06169: V is an expectile of Q over the data's actions (eq. 5), Q follows from
    V of the next state (eq. 6), and the policy maximises exp(s (Q - V)) log pi (eq. 7). What a policy of
    choices gives are then logits, not values: the best choice is the likeliest one.

    Args:
        policies: act.
        generator: draws the critics' weights.
        lr: of Adam.
        tau: share of Q that its slow copy takes over per update.
        expectile: of Q that V stands for, above 0.5 and below 1.
        advantage_scale: s; 0 imitates the data.
    """

    def __init__(
        self,
        policies: TrainedPolicies,
        generator: torch.Generator,
        *,
        lr: float,
        tau: float,
        expectile: float,
        advantage_scale: float,
    ) -> None:
        self.policies, self.tau = policies, tau
        self.expectile, self.advantage_scale = expectile, advantage_scale
        agents, hidden, choices = policies.num_agents, policies.hidden, policies.num_choices
        judged = policies.in_dim + (0 if choices else policies.action_dim)
        self.critics = StackedMlp([judged, *hidden, choices or 1], 2 * agents, generator=generator)
        self.targets = copy.deepcopy(self.critics).requires_grad_(False)
        self.v = StackedMlp([policies.in_dim, *hidden, 1], agents, generator=generator)
        nets = {"actor": policies.net, "critic": self.critics, "v": self.v}
        self._adams = Adams({name: net.parameters() for name, net in nets.items()}, lr=lr)

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take one step; see `single_task.SingleTaskLearner`."""
        with torch.no_grad():
            judged = self._taken(self.targets, batch).amin(1)
            goal = batch["reward"] + batch["discount"] * self.v(batch["next_state"])[..., 0]
        value = self.v(batch["state"])[..., 0]
        advantage = judged - value
        agents = len(value)
        v_loss = agents * expectile_loss(advantage, self.expectile)  # the sum of the agents' own means
        self._adams.descend("v", v_loss)
        critic_loss = 0.5 * ((self._taken(self.critics, batch) - goal[:, None]) ** 2).mean(-1).sum()
        self._adams.descend("critic", critic_loss)
        weight = (self.advantage_scale * advantage.detach()).exp().clamp(max=_MOST_WEIGHT)
        log_prob = self._log_prob(batch)
        self._adams.descend("actor", -(weight * log_prob).mean(-1).sum())
        follow(self.targets, self.critics, self.tau)
        return {
            "critic_loss": critic_loss.detach() / agents,
            "v_loss": v_loss.detach() / agents,
            "v": value.detach().mean(),
            "log_prob": log_prob.detach().mean(),
        }

    def _taken(self, critics: StackedMlp, batch: Mapping[str, Tensor]) -> Tensor:
        """Return (N, 2, b): both critics' values of the data's actions."""
        if self.policies.num_choices is None:
            return values_of(critics, batch["state"], batch["action"])
        both = critics(batch["state"].repeat_interleave(2, 0)).unflatten(0, (-1, 2))
        return both.gather(-1, batch["action"][:, None].expand(-1, 2, -1, -1))[..., 0]

    def _log_prob(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return (N, b): log-probabilities, or log-densities, of the data's actions."""
        out = self.policies(batch["state"])
        if self.policies.num_choices is None:
            return SquashedGaussian.of(out, 1.0).log_prob(batch["action"])
        return out.log_softmax(-1).gather(-1, batch["action"])[..., 0]

    def set_rate(self, lr: float) -> None:
        """Go on at a learning rate."""
        self._adams.set_rate(lr)

    def state_dict(self) -> dict[str, Any]:
        """Return all but the policies' weights that learning continues from."""
        return {
            "critics": self.critics.state_dict(),
            "targets": self.targets.state_dict(),
            "v": self.v.state_dict(),
            "optimizers": self._adams.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.critics.load_state_dict(state["critics"])
        self.targets.load_state_dict(state["targets"])
        self.v.load_state_dict(state["v"])
        self._adams.load_state_dict(state["optimizers"])
