"""Train a residual on a frozen chunk policy by PPO (ResiP; Ankile et al., arXiv 2407.16677)."""

from __future__ import annotations

import logging

import torch

from robofb.errors import UserError
from robofb.normalize import is_image
from robofb.policies.residual_agent import ResidualAgent
from robofb.ranks import Ranks, join_ranks
from robofb.run import Run
from robofb.train.bank_env import with_bank_pinned
from robofb.train.open_run import open_run
from robofb.train.residual_config import FIXED, ResidualConfig, initial_log_std
from robofb.train.residual_learner import ResidualLearner
from robofb.train.residual_parts import make_ppo, make_residual_policy
from robofb.train.rl_training import RlTraining, load_base, selection, training_envs

LOG = logging.getLogger(__name__)
SATURATION_TO_WARN_OF = 0.2  # share of mean residuals beyond +-1, that is of corrections beyond `scale`


def train(cfg: ResidualConfig) -> Run:
    """Train a residual on the run `cfg.base`, or continue the run `cfg.resume`; return the run.

    Raises:
        UserError: a wrong base, an unusable folder, or weights that became NaN.
        KeyboardInterrupt: after Ctrl-C, once everything is saved.
    """
    with join_ranks() as ranks:
        return _train(cfg, ranks)


def _train(cfg: ResidualConfig, ranks: Ranks) -> Run:
    cfg = with_bank_pinned(cfg)
    base, base_node = load_base(cfg, "residual")
    if images := [key for key, array in base.spec.obs.items() if is_image(array)]:
        raise UserError(
            f"base={cfg.base}: sees images ({', '.join(images)}); a residual corrects policies of flat "
            "observations only, such as policy=mlp_diffusion"
        )
    if cfg.base_compile and not hasattr(base, "compile_sampling"):
        raise UserError(
            f"base_compile=true: {type(base).__name__}, the policy of base={cfg.base}, samples nothing that "
            "could be compiled; leave it false"
        )
    with training_envs(cfg, base.spec, ranks=ranks) as (env, select_env):
        policy = make_residual_policy(cfg, base).to(env.device)
        if cfg.base_compile:
            base.compile_sampling()  # on the device that it stays on
        agent = ResidualAgent(policy, select_env.num_envs, device=select_env.device)
        with open_run(cfg, "residual", env.spec.task, FIXED, ranks) as run:
            ppo = make_ppo(cfg, policy, env, ranks)
            learner = ResidualLearner(policy, env, ppo, seed=cfg.seed, threads=cfg.threads)
            rebuilding = {"residual": policy.settings, "base_policy": base_node}
            select = selection(cfg, agent, select_env)
            ResidualTraining(cfg, run, learner, select, rebuilding, ranks).work()
    return run


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
        first, last = initial_log_std(self.cfg), self.cfg.final_log_std
        if last is not None:
            share = min(1.0, self.learner.env_steps / self.cfg.env_steps)
            with torch.no_grad():
                self.learner.policy.actor_critic.actor.log_std.fill_(first + share * (last - first))
