"""Implicit Q-learning: values of the better actions in the data, and of no others (arXiv 2110.06169)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from robofb.optimisation import restore_optimizers
from robofb.rl.q_ensemble import QEnsemble
from robofb.rl.sac_losses import critic_loss


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """Return the mean of |expectile - 1(u < 0)| u^2 for u = `difference` (N,), eq. 4.

    What it makes u = x - m smallest for is the expectile m of x: the mean for 0.5, near the largest for 1.
    """
    weight = torch.where(difference < 0, 1 - expectile, expectile)
    return (weight * difference**2).mean()


class IQL:
    """Learn critics Q and V from transitions.

    Args:
        q: critics of state and action; a slow copy judges for V.
        v: critic of the state, (B, F) -> (B, 1).
        expectile: of Q over the data's actions that V stands for.
        lr: learning rate of Adam.
        tau: share of Q that its slow copy takes over per update.
        grad_clip: largest gradient norm of each.
    """

    def __init__(
        self,
        q: QEnsemble,
        v: nn.Module,
        *,
        expectile: float = 0.8,
        lr: float = 3e-4,
        tau: float = 0.005,
        grad_clip: float = 10.0,
    ) -> None:
        self.q, self.v, self.expectile, self.tau, self.grad_clip = q, v, expectile, tau, grad_clip
        self.target_q = copy.deepcopy(q).requires_grad_(False)
        self._optimizers = {
            "q": torch.optim.Adam(q.parameters(), lr=lr),
            "v": torch.optim.Adam(v.parameters(), lr=lr),
        }

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take one step of both critics; return their metrics, on the device.

        Args:
            batch: "obs" (B, F), "action" (B, A), "reward" (B,), "discount" (B,), "next_obs" (B, F).
        """
        with torch.no_grad():
            judged = self.target_q(batch["obs"], batch["action"]).amin(0)
            target = batch["reward"] + batch["discount"] * self.v(batch["next_obs"])[:, 0]
        value = self.v(batch["obs"])[:, 0]
        v_loss = expectile_loss(judged - value, self.expectile)
        self._descend("v", v_loss, self.v)
        q = self.q(batch["obs"], batch["action"])
        q_loss = critic_loss(q, target)
        self._descend("q", q_loss, self.q)
        with torch.no_grad():
            for slow, fast in zip(self.target_q.parameters(), self.q.parameters()):
                slow.lerp_(fast, self.tau)
        return {
            "q_loss": q_loss.detach(),
            "v_loss": v_loss.detach(),
            "q": q.detach().mean(),
            "v": value.detach().mean(),
        }

    def _descend(self, name: str, loss: Tensor, network: nn.Module) -> None:
        self._optimizers[name].zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), self.grad_clip)
        self._optimizers[name].step()

    def state_dict(self) -> dict[str, Any]:
        """Return everything but Q and V that learning continues from."""
        return {
            "target_q": self.target_q.state_dict(),
            "optimizers": {name: copy.deepcopy(one.state_dict()) for name, one in self._optimizers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.target_q.load_state_dict(state["target_q"])
        restore_optimizers(self._optimizers, state["optimizers"])
