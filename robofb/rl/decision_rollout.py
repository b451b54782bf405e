"""A rollout of decisions that take different numbers of control steps in different envs, for PPO."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from robofb.rl.advantages import decision_advantages
from robofb.rl.rollout_buffer import RolloutBuffer


@torch.no_grad()
def make_rollout(
    decisions: Sequence[Mapping[str, Tensor]], value: Callable[[Tensor], Tensor], lam: float
) -> RolloutBuffer:
    """Return the decisions of a rollout with their advantages, as `PPO.update` takes them.

    Args:
        decisions: in order of time; each has "env", "obs", "critic_obs", "next_critic_obs", "action", "mean",
            "log_prob", "reward", "discount" and "done", with n >= 0 rows.
        value: the critic, of critic inputs (N, Fc).
        lam: see `decision_advantages`.
    """
    whole = {name: torch.cat([part[name] for part in decisions]) for name in decisions[0]}
    count = len(whole["env"])
    dims = (whole[name].shape[1] for name in ("obs", "critic_obs", "action"))
    buffer = RolloutBuffer(1, count, *dims, device=whole["env"].device)
    values = value(whole["critic_obs"])
    buffer.add_decision(
        whole["obs"], whole["critic_obs"], whole["action"], whole["mean"], whole["log_prob"], values
    )
    advantage = decision_advantages(
        whole["env"],
        whole["reward"],
        whole["discount"],
        values,
        value(whole["next_critic_obs"]),
        whole["done"],
        lam,
    )
    buffer.advantage[0], buffer.returns[0] = advantage, advantage + values
    return buffer
