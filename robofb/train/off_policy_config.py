"""What the trainers with a replay buffer read about it."""

from __future__ import annotations

from dataclasses import dataclass

from robofb.errors import UserError, check_at_least, check_positive
from robofb.train.rl_config import FIXED_ON_BASE, OnBaseConfig, check_warmup

# What a resumed run cannot change: the base, and the sizes of what its checkpoint holds.
FIXED = (*FIXED_ON_BASE, "hidden", "buffer_size", "num_critics", "gamma")


@dataclass
class OffPolicyConfig(OnBaseConfig):
    """How decisions, one for each chunk, are collected and learnt from again and again.

    Attributes:
        rollout_steps: control steps of each env in one iteration.
        warmup_steps: control steps, all envs together, with the base as it is before learning begins.
        updates: gradient steps in one iteration.
        batch_size: decisions in each.
        buffer_size: decisions that are kept, and saved with every checkpoint; the oldest make room.
        n_step: decisions whose rewards are summed up before the critics' own guess takes over.
        critic_lr: learning rate of the critics.
        num_critics: how many of them; the lowest counts.
        tau: share of the critics that the slow copy, which gives the targets, takes over per step.
        grad_clip: largest gradient norm of each network.
    """

    rollout_steps: int = 16
    warmup_steps: int = 20_000
    updates: int = 128
    batch_size: int = 256
    buffer_size: int = 200_000
    n_step: int = 1
    critic_lr: float = 3e-4
    num_critics: int = 5
    tau: float = 0.005
    grad_clip: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "rollout_steps", "updates", "batch_size", "n_step", "num_critics")
        check_at_least(self, 0, "warmup_steps")
        check_warmup(self)
        check_positive(self, "critic_lr", "grad_clip")
        if not 0 < self.tau <= 1:
            raise UserError(f"tau={self.tau}: must be above 0 and at most 1")
        if self.buffer_size < self.num_envs:
            raise UserError(
                f"buffer_size={self.buffer_size}: needs at least num_envs={self.num_envs}, a decision each"
            )
