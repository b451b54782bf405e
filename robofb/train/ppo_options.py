"""What the trainers by PPO read about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robofb.errors import UserError, check_at_least, check_finite, check_positive
from robofb.train.rl_config import OnBaseConfig, check_share


@dataclass
class PpoOptions(OnBaseConfig):
    """Rollouts of fixed length, and how PPO learns from them.

    Attributes:
        rollout_steps: control steps of each env in one iteration, T.
        lam: lambda of generalised advantage estimation.
        clip: half-width of PPO's interval of probability ratios.
        epochs: most passes over a rollout.
        minibatch_size: samples per gradient step, all processes together; the whole rollout where null.
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
    """

    rollout_steps: int = 80
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

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "rollout_steps", "epochs")
        check_at_least(self, 0, "lr_warmup_iterations", "critic_warmup_iterations")
        if self.minibatch_size is not None and self.minibatch_size < 1:
            raise UserError(
                f"minibatch_size={self.minibatch_size}: needs at least 1, or null for the rollout"
            )
        check_positive(self, "actor_lr", "critic_lr", "target_kl", "grad_clip", "clip")
        check_at_least(self, 0, "value_coef")
        check_finite(self, "entropy_coef")
        check_share(self, "lam", "lr_end")


def ppo_settings(cfg: PpoOptions) -> dict[str, Any]:
    """Return these options as `PPO` takes them."""
    iterations = -(-cfg.env_steps // (cfg.rollout_steps * cfg.num_envs))
    return {
        "gamma": cfg.gamma,
        "lam": cfg.lam,
        "clip": cfg.clip,
        "epochs": cfg.epochs,
        "minibatch_size": cfg.minibatch_size,
        "actor_lr": cfg.actor_lr,
        "critic_lr": cfg.critic_lr,
        "lr_warmup_iterations": cfg.lr_warmup_iterations,
        "lr_cosine_iterations": iterations if cfg.lr_cosine else None,
        "lr_end": cfg.lr_end,
        "critic_warmup_iterations": cfg.critic_warmup_iterations,
        "target_kl": cfg.target_kl,
        "entropy_coef": cfg.entropy_coef,
        "value_coef": cfg.value_coef,
        "grad_clip": cfg.grad_clip,
    }
