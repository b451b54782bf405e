"""Act with a regression policy that PPO fine-tuned, and tell how far it has come from the cloned one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from robofb.policies.chunk_actor import ChunkActor, RegressionPolicy
from robofb.policies.executor import ChunkExecutor, tiles_of
from robofb.types import Obs


class TunedExecutor(ChunkExecutor):
    """A `ChunkExecutor` that knows the divergence from the policy that it was fine-tuned from.

    Args:
        policy: fine-tuned.
        log_std: (Ta A,) of the exploration around it at the end.
        reference: state of the `ChunkActor` around the cloned policy.
        num_envs, settings: see `ChunkExecutor`; `execute` is at most the policy's own.

    Attributes:
        base: the cloned policy.
    """

    def __init__(
        self,
        policy: RegressionPolicy,
        log_std: Tensor,
        reference: Mapping[str, Tensor],
        num_envs: int,
        **settings: Any,
    ) -> None:
        super().__init__(policy, num_envs, **settings)
        self.base = copy.deepcopy(policy)
        self._actor, self._reference = (
            ChunkActor(
                one.network, one.execute, self.chunk.shape[2], init_log_std=0.0, learn_std=False
            ).requires_grad_(False)
            for one in (policy, self.base)
        )
        self._actor.log_std.copy_(log_std)
        self._reference.load_state_dict(reference)
        for actor in (self._actor, self._reference):
            actor.to(self.device)
        self._divergence = torch.zeros(num_envs, self.execute, device=self.device)  # of each planned action

    @property
    def kl_to_base(self) -> Tensor:
        """(B,) KL of the last action's distribution from the cloned policy's, given its history [nats]."""
        return self._divergence[self._rows, self._index - 1]

    def _plan(self, history: Obs, rows: Tensor) -> Tensor:
        found = [
            self._diverged({key: value[tile] for key, value in history.items()})
            for tile in tiles_of(rows, self.tile)
        ]
        self._divergence[rows] = torch.cat(found)[: len(rows)]
        return super()._plan(history, rows)

    def _diverged(self, history: Obs) -> Tensor:
        """Return the KL (n, Ta) of each action of the chunks that are planned from histories (n, To, ...)."""
        policy: Any = self.policy
        cond = policy.encode(history)
        ours, cloned = (Normal(g.mean, g.log_std.exp()) for g in (self._actor(cond), self._reference(cond)))
        each = kl_divergence(ours, cloned).unflatten(1, (policy.execute, -1))
        return each.sum(2)[:, : self.execute]
