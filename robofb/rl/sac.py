"""Soft actor-critic with automatic temperature (Haarnoja et al., arXiv 1812.05905)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from robofb.optimisation import restore_optimizers
from robofb.policies.squashed import SquashedActor
from robofb.rl.q_ensemble import QEnsemble
from robofb.rl.sac_losses import actor_loss, critic_loss, soft_target, temperature_loss


class SAC:
    """Improve an actor and its critics on batches of transitions from anywhere.

    Args:
        actor: what is trained to act.
        critic: what judges it; a slow copy of it gives the targets.
        generator: draws the actions' noise.
        actor_lr, critic_lr, temperature_lr: learning rates of Adam.
        init_temperature: weight of the entropy at first.
        target_entropy: entropy that the temperature is adjusted to, in nats; -action_dim where None.
        backup_entropy: let the entropy of later actions count as reward; without it they are judged by
            their reward alone.
        tau: share of the critic that its slow copy takes over per update.
        grad_clip: largest gradient norm of actor and critic.
    """

    def __init__(
        self,
        actor: SquashedActor,
        critic: QEnsemble,
        generator: torch.Generator,
        *,
        actor_lr: float = 3e-4,
        critic_lr: float = 3e-4,
        temperature_lr: float = 3e-4,
        init_temperature: float = 1.0,
        target_entropy: float | None = None,
        backup_entropy: bool = True,
        tau: float = 0.005,
        grad_clip: float = 10.0,
    ) -> None:
        self.actor, self.critic, self.generator = actor, critic, generator
        self.target_critic = copy.deepcopy(critic).requires_grad_(False)
        device = next(actor.parameters()).device
        self.log_temperature = torch.tensor(
            math.log(init_temperature), dtype=torch.float32, device=device, requires_grad=True
        )
        self.target_entropy = -float(actor.action_dim) if target_entropy is None else target_entropy
        self.backup_entropy, self.tau, self.grad_clip = backup_entropy, tau, grad_clip
        self._optimizers = {
            "actor": torch.optim.Adam(actor.parameters(), lr=actor_lr, fused=True),
            "critic": torch.optim.Adam(critic.parameters(), lr=critic_lr, fused=True),
            "temperature": torch.optim.Adam([self.log_temperature], lr=temperature_lr),
        }

    @property
    def temperature(self) -> Tensor:
        """The weight of the entropy, ()."""
        return self.log_temperature.detach().exp()

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take one step of critics, actor and temperature; return their metrics, on the device.

        Args:
            batch: "obs" (B, F), "action" (B, A), "reward" (B,), "discount" (B,), "next_obs" (B, F).
        """
        metrics = self._learn_values(batch) | self._learn_actions(batch["obs"])
        with torch.no_grad():
            for slow, fast in zip(self.target_critic.parameters(), self.critic.parameters()):
                slow.lerp_(fast, self.tau)
        return metrics

    @torch.no_grad()
    def targets(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return what the critics should have predicted, (B,)."""
        action, log_prob = self._sample(batch["next_obs"])
        next_q = self.target_critic(batch["next_obs"], action)
        weight = self.temperature if self.backup_entropy else torch.zeros_like(self.temperature)
        return soft_target(batch["reward"], batch["discount"], next_q, log_prob, weight)

    def _learn_values(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        q = self.critic(batch["obs"], batch["action"])
        loss = critic_loss(q, self.targets(batch))
        norm = self._descend("critic", loss, self.critic)
        return {"critic_loss": loss.detach(), "q": q.detach().mean(), "grad_norm_critic": norm}

    def _learn_actions(self, obs: Tensor) -> dict[str, Tensor]:
        action, log_prob = self._sample(obs)
        self.critic.requires_grad_(False)
        loss = actor_loss(self.critic(obs, action), log_prob, self.temperature)
        self.critic.requires_grad_(True)
        norm = self._descend("actor", loss, self.actor)
        optimizer = self._optimizers["temperature"]
        optimizer.zero_grad(set_to_none=True)
        temperature_loss(self.log_temperature, log_prob, self.target_entropy).backward()
        optimizer.step()
        return {
            "actor_loss": loss.detach(),
            "entropy": -log_prob.detach().mean(),
            "temperature": self.temperature,
            "grad_norm_actor": norm,
        }

    def _sample(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        shape = (len(obs), self.actor.action_dim)
        return self.actor(obs).sample(torch.randn(shape, generator=self.generator, device=obs.device))

    def _descend(self, name: str, loss: Tensor, network: nn.Module) -> Tensor:
        """Take one gradient step; return the gradient's norm before clipping."""
        optimizer = self._optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), self.grad_clip)
        optimizer.step()
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the actor that learning continues from."""
        return {
            "critic": self.critic.state_dict(),
            "target_critic": self.target_critic.state_dict(),
            "log_temperature": self.log_temperature.detach().clone(),
            "optimizers": {name: copy.deepcopy(one.state_dict()) for name, one in self._optimizers.items()},
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.critic.load_state_dict(state["critic"])
        self.target_critic.load_state_dict(state["target_critic"])
        with torch.no_grad():
            self.log_temperature.copy_(state["log_temperature"])
        restore_optimizers(self._optimizers, state["optimizers"])
        self.generator.set_state(state["generator"])
