"""What the trainer of a residual is made of, by its config."""

from __future__ import annotations

import torch

from robofb.interfaces import VecEnv
from robofb.policies.residual import BasePolicy, ResidualPolicy
from robofb.ranks import ALONE, Ranks
from robofb.rl.ppo import PPO
from robofb.rl.rollout_buffer import RolloutBuffer
from robofb.rng import EXPLORATION_STREAM, WEIGHTS_STREAM, derive_seeds
from robofb.train.ppo_options import ppo_settings
from robofb.train.residual_config import ResidualConfig, initial_log_std


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
    return PPO(
        policy.actor_critic,
        buffer,
        torch.Generator(env.device).manual_seed(ranks.seed(derive_seeds(cfg.seed, EXPLORATION_STREAM))),
        l1_coef=cfg.l1_coef,
        l2_coef=cfg.l2_coef,
        scale_rewards=cfg.scale_rewards,
        ranks=ranks,
        **ppo_settings(cfg),
    )
