"""Train a residual on a frozen chunk policy by PPO (ResiP; Ankile et al., arXiv 2407.16677)."""

from __future__ import annotations

import logging

import torch

from robofb.interfaces import VecEnv
from robofb.policies.residual import BasePolicy, ResidualAgent, ResidualPolicy
from robofb.rl.ppo import PPO
from robofb.rl.rollout_buffer import RolloutBuffer
from robofb.rng import EXPLORATION_STREAM, WEIGHTS_STREAM, derive_seeds
from robofb.run import Run
from robofb.train.open_run import open_run
from robofb.train.ppo_options import ppo_settings
from robofb.train.residual_config import FIXED, ResidualConfig
from robofb.train.residual_learner import ResidualLearner
from robofb.train.rl_training import RlTraining, load_base, selection, training_envs

LOG = logging.getLogger(__name__)
SATURATION_TO_WARN_OF = 0.2  # share of mean residuals beyond +-1, that is of corrections beyond `scale`


def train(cfg: ResidualConfig) -> Run:
    """Train a residual on the run `cfg.base`, or continue the run `cfg.resume`; return the run.

    Raises:
        UserError: a wrong base, an unusable folder, or weights that became NaN.
        KeyboardInterrupt: after Ctrl-C, once everything is saved.
    """
    base, base_node = load_base(cfg, "residual")
    with training_envs(cfg, base.spec) as (env, select_env):
        policy = make_residual_policy(cfg, base).to(env.device)
        agent = ResidualAgent(policy, select_env.num_envs, device=select_env.device)
        with open_run(cfg, "residual", env.spec.task, FIXED) as run:
            learner = ResidualLearner(
                policy, env, make_ppo(cfg, policy, env), seed=cfg.seed, threads=cfg.threads
            )
            rebuilding = {"residual": policy.settings, "base_policy": base_node}
            ResidualTraining(cfg, run, learner, selection(cfg, agent, select_env), rebuilding).work()
    return run


def make_residual_policy(cfg: ResidualConfig, base: BasePolicy) -> ResidualPolicy:
    """Put a new residual on a base policy; `cfg.seed` gives its weights."""
    return ResidualPolicy(
        base,
        critic_sees_time=cfg.critic_sees_time,
        hidden=list(cfg.hidden),
        scale=cfg.scale,
        correction=None if cfg.correction is None else list(cfg.correction),
        init_log_std=cfg.init_log_std,
        learn_std=cfg.learn_std,
        generator=torch.Generator().manual_seed(int(derive_seeds(cfg.seed, WEIGHTS_STREAM))),
    )


def make_ppo(cfg: ResidualConfig, policy: ResidualPolicy, env: VecEnv) -> PPO:
    """Build the optimiser's side of a residual: buffer, generator and PPO."""
    networks = policy.actor_critic
    buffer = RolloutBuffer(
        cfg.rollout_steps,
        env.num_envs,
        networks.obs_dim,
        networks.critic_obs_dim,
        policy.spec.action.shape[0],
        device=env.device,
    )
    return PPO(
        policy.actor_critic,
        buffer,
        torch.Generator(env.device).manual_seed(int(derive_seeds(cfg.seed, EXPLORATION_STREAM))),
        l1_coef=cfg.l1_coef,
        l2_coef=cfg.l2_coef,
        scale_rewards=cfg.scale_rewards,
        **ppo_settings(cfg),
    )


class ResidualTraining(RlTraining):
    """The loop of a residual: its exploration may follow a schedule, and saturation is warned of."""

    cfg: ResidualConfig
    learner: ResidualLearner
    advice = "a lower actor_lr or critic_lr may help"

    def _step(self) -> dict[str, float]:
        self._anneal()
        metrics = super()._step()
        if metrics["ppo/saturation"] > SATURATION_TO_WARN_OF and not self.progress.warned:
            self.progress.warned = True
            LOG.warning(
                "%.0f %% of the residuals lie beyond +-1 at %d env steps: the base may need a larger %s",
                100 * metrics["ppo/saturation"],
                self.learner.env_steps,
                f"scale than {self.cfg.scale:g}" if self.cfg.correction is None else "correction",
            )
        return metrics

    def _anneal(self) -> None:
        """Set this iteration's exploration where it follows a schedule."""
        first, last = self.cfg.init_log_std, self.cfg.final_log_std
        if last is not None:
            share = min(1.0, self.learner.env_steps / self.cfg.env_steps)
            with torch.no_grad():
                self.learner.policy.actor_critic.actor.log_std.fill_(first + share * (last - first))
