"""What `robofb train residual` reads."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from robofb.errors import UserError, check_at_least
from robofb.sim.reset_bank import EQUAL_SHARES

# What a resumed run cannot change: the base, and the sizes of what its checkpoint holds.
FIXED = (
    *("base", "base_checkpoint", "task", "seed", "num_envs", "hidden", "critic_sees_time", "scale_rewards"),
    *("scale", "correction", "select_seed", "select_episodes"),
)


@dataclass
class ResidualConfig:
    """What `robofb train residual` reads. Presets in configs/preset fill in the values that go together.

    Attributes:
        preset: a set of values for the other keys, which still yield to what you say: laptop (two CPU
            cores, quick) or paper (ResiP's own, for a GPU).
        task: what to do; the base policy's own task.
        engine: what simulates it.
        base: run folder of the behaviour-cloned base policy.
        base_checkpoint: "best", "latest" or a path.
        bank: reset bank (robofb data bank) in whose states some training episodes start; none where null.
        bank_share: chance that an episode does.
        bank_kinds: weight of each kind of its states.
        num_envs: environments in lock step, B.
        rollout_steps: control steps of each env in one iteration, T.
        env_steps: budget of control steps, all envs together.
        time_limit_s: budget of wall time [s], selection included; none where null.
        target_success: stop once two selections in a row reach this rate; never where null.
        gamma: discount of future reward per control step.
        lam: lambda of generalised advantage estimation.
        clip: half-width of PPO's interval of probability ratios.
        epochs: most passes over a rollout.
        minibatch_size: samples per gradient step; the whole rollout where null.
        actor_lr: peak learning rate of the actor.
        critic_lr: peak learning rate of the critic.
        lr_warmup_iterations: iterations over which both learning rates rise.
        lr_cosine: let both fall along a cosine over the budget of steps.
        lr_end: share of them that is left at its end.
        critic_warmup_iterations: first iterations in which only the critic learns.
        target_kl: end an update once the policy has moved this far [nats].
        entropy_coef: weight of the entropy bonus.
        value_coef: weight of the value loss.
        grad_clip: largest gradient norm of each network.
        l1_coef: weight of the residual's mean magnitude in the loss.
        l2_coef: weight of the residual's mean square in the loss.
        scale_rewards: divide rewards by the running deviation of the return.
        scale: normalised action = base + scale * residual.
        correction: what one unit of residual adds to each action, in environment units; null for `scale`.
        init_log_std: logarithm of the initial exploration, before scaling.
        final_log_std: let the exploration fall linearly to this over the budget of steps; null keeps it. Not
            with learn_std.
        learn_std: train the amount of exploration.
        hidden: sizes of the hidden layers of actor and critic.
        critic_sees_time: show the critic how much of the episode's time is left.
        seed: of weights, exploration and training episodes.
        select_every: iterations between the deterministic evaluations that choose `best`.
        select_episodes: episodes of each of them.
        select_seed: seed of these episodes; keep it apart from the seeds that are reported.
        save_every: iterations between checkpoints.
        threads: torch's threads in the PPO update; one is used while physics runs.
        out: run folder; a new one below runs/ where null.
        resume: run folder to continue from its latest checkpoint.
        wandb: mirror the metrics to Weights & Biases (off, offline or online).
    """

    preset: str = "laptop"
    task: Any = MISSING
    engine: Any = MISSING
    base: str = MISSING
    base_checkpoint: str = "best"
    bank: str | None = None
    bank_share: float = 0.5
    bank_kinds: dict[str, float] = field(default_factory=lambda: dict(EQUAL_SHARES))
    num_envs: int = 64
    rollout_steps: int = 80
    env_steps: int = 1_000_000
    time_limit_s: float | None = None
    target_success: float | None = None
    gamma: float = 0.995
    lam: float = 0.95
    clip: float = 0.2
    epochs: int = 8
    minibatch_size: int | None = 1024
    actor_lr: float = 5e-4
    critic_lr: float = 1e-3
    lr_warmup_iterations: int = 0
    lr_cosine: bool = False
    lr_end: float = 0.0
    critic_warmup_iterations: int = 0
    target_kl: float = 0.02
    entropy_coef: float = 0.0
    value_coef: float = 1.0
    grad_clip: float = 1.0
    l1_coef: float = 0.0
    l2_coef: float = 0.0
    scale_rewards: bool = False
    scale: float = 0.2
    correction: list[float] | None = None
    init_log_std: float = -1.2
    final_log_std: float | None = None
    learn_std: bool = True
    hidden: list[int] = field(default_factory=lambda: [256, 256])
    critic_sees_time: bool = True
    seed: int = 0
    select_seed: int = 1_000_003
    select_every: int = 15
    select_episodes: int = 128
    save_every: int = 10
    threads: int = 1
    out: str | None = None
    resume: str | None = None
    wandb: str = "off"

    def __post_init__(self) -> None:
        check_at_least(self, 1, "num_envs", "rollout_steps", "epochs", "threads")
        check_at_least(self, 1, "select_every", "select_episodes", "save_every")
        check_at_least(self, 0, "lr_warmup_iterations", "critic_warmup_iterations")
        if self.minibatch_size is not None and self.minibatch_size < 1:
            raise UserError(
                f"minibatch_size={self.minibatch_size}: needs at least 1, or null for the rollout"
            )
        for name in ("env_steps", *("actor_lr", "critic_lr", "target_kl", "grad_clip", "clip", "scale")):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name}={getattr(self, name)}: must be positive")
        if self.time_limit_s is not None and not self.time_limit_s > 0:
            raise UserError(f"time_limit_s={self.time_limit_s}: must be positive, or null for none")
        if self.target_success is not None and not 0 <= self.target_success <= 1:
            raise UserError(f"target_success={self.target_success}: must lie in 0..1, or null for none")
        for name in ("gamma", "lam", "lr_end"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name}={getattr(self, name)}: must lie in 0..1")
        if min(self.hidden, default=1) < 1:
            raise UserError(f"hidden={list(self.hidden)}: needs sizes of at least 1")
        if self.correction is not None and not all(map(math.isfinite, self.correction)):
            raise UserError(f"correction={list(self.correction)}: needs finite numbers")
        if self.final_log_std is not None and self.learn_std:
            raise UserError(
                f"final_log_std={self.final_log_std}: a schedule needs learn_std=false, or leave it null"
            )
