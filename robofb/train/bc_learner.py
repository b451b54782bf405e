"""One training step of behaviour cloning: sample, loss, optimise, average."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robofb.nets.ema import Ema
from robofb.optimisation import NonFiniteError, learning_rate_factor
from robofb.policies.chunk_policy import ChunkPolicy
from robofb.ranks import ALONE, Ranks
from robofb.store.windows import Windows
from robofb.types import Batch

Augment = Callable[[Batch, torch.Generator], Batch]
"""Changes a batch before it is learnt from, drawing from the generator it is given."""

CHECK_EVERY_ON_GPU = 50  # steps between looks at the loss, each of which waits for the GPU


class BcLearner:
    """Train a chunk policy on windows by AdamW, with warm-up, cosine decay and an average of the weights.

    Everything random comes from one generator, so a restored learner goes on exactly as the saved one.

    Args:
        policy: what is trained, on its device and with its statistics.
        windows: the training data, on the same device.
        batch_size: windows per step.
        lr: peak learning rate.
        weight_decay: of AdamW; not of what the network calls `undecayed`.
        warmup_steps: steps over which the learning rate rises.
        total_steps: step at which it has fallen to 0.
        ema_decay: see `Ema`.
        grad_clip: largest norm of the gradient.
        seed: of batches, noise levels and noise.
        precision: bfloat16 computes products and convolutions of the loss in it; weights, their
            gradients and the optimiser stay float32.
        augment: change each batch, one after the other.
        ranks: who learn together, each from batches of its own: their mean gradient is that of one batch.
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        windows: Windows,
        *,
        batch_size: int,
        lr: float,
        weight_decay: float,
        warmup_steps: int,
        total_steps: int,
        ema_decay: float,
        grad_clip: float,
        seed: int,
        precision: torch.dtype = torch.float32,
        augment: Sequence[Augment] = (),
        ranks: Ranks = ALONE,
    ) -> None:
        self.policy, self.windows, self.batch_size = policy, windows, batch_size
        self.lr, self.warmup_steps, self.total_steps = lr, warmup_steps, total_steps
        self.grad_clip, self.precision = grad_clip, precision
        self.device, self.augment = windows.device, tuple(augment)
        self.parameters = list(policy.parameters())
        self.optimizer = torch.optim.AdamW(parameter_groups(policy, weight_decay), lr=lr, fused=True)
        self.ema = Ema(policy, ema_decay)
        self.generator = torch.Generator(self.device).manual_seed(ranks.seed(seed))
        self.ranks = ranks
        self.steps = 0
        self._check_every = 1 if self.device.type == "cpu" else CHECK_EVERY_ON_GPU

    def step(self) -> dict[str, Tensor]:
        """Do one optimiser step and return its metrics, on the device.

        Raises:
            NonFiniteError: the loss became NaN or infinite; this step changed no weight.
        """
        before = self.generator.get_state()
        batch = self.windows.sample(self.batch_size, self.generator)
        for change in self.augment:
            batch = change(batch, self.generator)
        loss = self._share(batch) * self._loss(batch)
        total = loss.detach().clone()
        self.ranks.average_([total])
        self._check_finite(total, batch, before)
        grad_norm = self._optimise(loss)
        self.ema.update(self.policy)
        self.steps += 1
        return {"loss": total, "grad_norm": grad_norm}

    @property
    def present_lr(self) -> float:
        """The learning rate of the next step."""
        return self.lr * learning_rate_factor(self.steps, warmup=self.warmup_steps, total=self.total_steps)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {
            "model": self.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict(),
            "generator": self.generator.get_state(),
            "windows": self.windows.state_dict(),
            "steps": self.steps,
        }

    def own_state(self) -> dict[str, Any]:
        """Return the part of `state_dict` that is not the same on all ranks."""
        return {"generator": self.generator.get_state(), "windows": self.windows.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.policy.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])
        self.generator.set_state(state["generator"])
        if "windows" in state:  # checkpoints of before draws were counted have none
            self.windows.load_state_dict(state["windows"])
        self.steps = state["steps"]

    def _loss(self, batch: Batch) -> Tensor:
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            return self.policy.loss(batch, self.generator)[0]

    def _share(self, batch: Batch) -> Tensor | float:
        """Return the weight of this rank's batch over the mean weight of all ranks'."""
        if self.ranks.size == 1:
            return 1.0
        mean = batch.weight.sum()
        self.ranks.average_([mean])
        return batch.weight.sum() / mean

    def _optimise(self, loss: Tensor) -> Tensor:
        """Apply the gradient and return its norm before clipping."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.present_lr
        loss.backward()
        self.ranks.average_([p.grad for p in self.parameters if p.grad is not None])
        grad_norm = nn.utils.clip_grad_norm_(self.parameters, self.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return grad_norm

    def _check_finite(self, loss: Tensor, batch: Batch, generator_before: Tensor) -> None:
        if self.steps % self._check_every == 0 and not torch.isfinite(loss.detach()):
            batch_state = {"obs": dict(batch.obs), "action": batch.action, "weight": batch.weight}
            state = {**self.state_dict(), "generator": generator_before, "batch": batch_state}
            raise NonFiniteError("the loss", state)


def parameter_groups(policy: ChunkPolicy, weight_decay: float) -> list[dict[str, Any]]:
    """Return AdamW's groups: all parameters, and apart from them those that the network leaves undecayed."""
    undecayed = list(getattr(policy.network, "undecayed", []))
    apart = {id(parameter) for parameter in undecayed}
    decayed = [parameter for parameter in policy.parameters() if id(parameter) not in apart]
    groups = [(decayed, weight_decay), (undecayed, 0.0)]
    return [{"params": params, "weight_decay": decay} for params, decay in groups if params]
