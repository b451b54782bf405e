"""What the trainer of a residual is made of, by its config."""

from __future__ import annotations

from typing import Any

import torch

from robofb import loading
from robofb.interfaces import VecEnv
from robofb.policies.residual import BasePolicy, ResidualPolicy
from robofb.ranks import ALONE, Ranks
from robofb.rl.ppo import PPO
from robofb.rl.rollout_buffer import RolloutBuffer
from robofb.rng import EXPLORATION_STREAM, WEIGHTS_STREAM, derive_seeds
from robofb.run import Run
from robofb.train.residual_config import ResidualConfig, initial_log_std


def load_base(cfg: ResidualConfig) -> tuple[Any, dict[str, Any]]:
    """Return the base policy and its config node; of a run that is continued, from its own checkpoint."""
    if cfg.resume and (run := Run.open(cfg.resume)).kind == "residual" and run.has_checkpoint:
        return loading.load_residual(run, "latest").base, run.load_checkpoint("latest")["base_policy"]
    checkpoint = loading.load_bc_checkpoint(Run.open(cfg.base), cfg.base_checkpoint)
    return loading.policy_of(checkpoint), checkpoint["config"]["policy"]


def make_residual_policy(cfg: ResidualConfig, base: BasePolicy) -> ResidualPolicy:
    """Put a new residual on a base policy; `cfg.seed` gives its weights."""
    policy = ResidualPolicy(
        base,
        critic_sees_time=cfg.critic_sees_time,
        hidden=list(cfg.hidden),
        scale=cfg.scale,
        correction=None if cfg.correction is None else list(cfg.correction),
        init_log_std=initial_log_std(cfg),
        learn_std=cfg.learn_std,
        chunked=cfg.chunked,
        open_loop=cfg.open_loop,
        running_obs_stats=cfg.running_obs_stats,
        base_precision=cfg.base_precision,
        generator=torch.Generator().manual_seed(int(derive_seeds(cfg.seed, WEIGHTS_STREAM))),
    )
    if policy.running is not None:
        policy.running.start_from(base.normalizer, policy.obs_keys)
    return policy


def make_ppo(cfg: ResidualConfig, policy: ResidualPolicy, env: VecEnv, ranks: Ranks = ALONE) -> PPO:
    """Build the optimiser's side of a residual: buffer, generator and PPO."""
    networks = policy.actor_critic
    buffer = RolloutBuffer(
        cfg.rollout_steps,
        env.num_envs,
        networks.obs_dim,
        networks.critic_obs_dim,
        policy.residual_dim,
        device=env.device,
    )
    iterations = -(-cfg.env_steps // (cfg.rollout_steps * env.num_envs * ranks.size))
    return PPO(
        policy.actor_critic,
        buffer,
        torch.Generator(env.device).manual_seed(ranks.seed(derive_seeds(cfg.seed, EXPLORATION_STREAM))),
        gamma=cfg.gamma,
        lam=cfg.lam,
        clip=cfg.clip,
        epochs=cfg.epochs,
        minibatch_size=cfg.minibatch_size,
        actor_lr=cfg.actor_lr,
        critic_lr=cfg.critic_lr,
        lr_warmup_iterations=cfg.lr_warmup_iterations,
        lr_cosine_iterations=iterations if cfg.lr_cosine else None,
        lr_end=cfg.lr_end,
        critic_warmup_iterations=cfg.critic_warmup_iterations,
        target_kl=cfg.target_kl,
        entropy_coef=cfg.entropy_coef,
        value_coef=cfg.value_coef,
        grad_clip=cfg.grad_clip,
        l1_coef=cfg.l1_coef,
        l2_coef=cfg.l2_coef,
        scale_rewards=cfg.scale_rewards,
        ranks=ranks,
    )
