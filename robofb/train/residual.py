"""Train a residual on a frozen chunk policy by PPO (ResiP; Ankile et al., arXiv 2407.16677)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch

from robofb import loading
from robofb.errors import UserError
from robofb.evaluate import evaluate
from robofb.interfaces import VecEnv
from robofb.normalize import is_image
from robofb.optimisation import NonFiniteError
from robofb.policies.residual import BasePolicy, ResidualAgent, ResidualPolicy
from robofb.progress import progress_bar
from robofb.rl.ppo import PPO
from robofb.rl.rollout_buffer import RolloutBuffer
from robofb.rng import EXPLORATION_STREAM, WEIGHTS_STREAM, derive_seeds
from robofb.run import Run
from robofb.stats import SuccessRate
from robofb.store.checks import check_same_spec
from robofb.train.bank_env import make_training_env
from robofb.train.interrupt import InterruptFlag
from robofb.train.nonfinite import save_cause
from robofb.train.open_run import keep_config, open_run
from robofb.train.residual_config import FIXED, ResidualConfig
from robofb.train.residual_learner import ResidualLearner

LOG = logging.getLogger(__name__)
SATURATION_TO_WARN_OF = 0.2  # share of mean residuals beyond +-1, that is of corrections beyond `scale`


def train(cfg: ResidualConfig) -> Run:
    """Train a residual on the run `cfg.base`, or continue the run `cfg.resume`; return the run.

    Raises:
        UserError: a wrong base, an unusable folder, or weights that became NaN.
        KeyboardInterrupt: after Ctrl-C, once everything is saved.
    """
    base, base_node = load_base(cfg)
    if images := [key for key, array in base.spec.obs.items() if is_image(array)]:
        raise UserError(
            f"base={cfg.base}: sees images ({', '.join(images)}); a residual corrects policies of flat "
            "observations only, such as policy=mlp_diffusion"
        )
    with closing(make_training_env(cfg)) as env:
        check_same_spec(base.spec, env.spec.only(base.spec.obs), f"base={cfg.base}")
        policy = make_residual_policy(cfg, base).to(env.device)
        with closing(loading.make_env(cfg.task, cfg.engine, cfg.num_envs)) as select_env:
            agent = ResidualAgent(policy, select_env.num_envs, device=select_env.device)

            def select() -> SuccessRate:
                episodes, seed = cfg.select_episodes, cfg.select_seed
                return evaluate(agent, select_env, episodes, seed, progress="select").rate

            with open_run(cfg, "residual", env.spec.task, FIXED) as run:
                learner = ResidualLearner(
                    policy, env, make_ppo(cfg, policy, env), seed=cfg.seed, threads=cfg.threads
                )
                ResidualTraining(cfg, run, learner, select, base_node).work()
    return run


def load_base(cfg: ResidualConfig) -> tuple[Any, dict[str, Any]]:
    """Return the base policy and its config node; of a run that is continued, from its own checkpoint."""
    if cfg.resume and (run := Run.open(cfg.resume)).kind == "residual" and run.has_checkpoint:
        return loading.load_residual(run, "latest").base, run.load_checkpoint("latest")["base_policy"]
    checkpoint = loading.load_bc_checkpoint(Run.open(cfg.base), cfg.base_checkpoint)
    return loading.policy_of(checkpoint), checkpoint["config"]["policy"]


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
    iterations = -(-cfg.env_steps // (cfg.rollout_steps * env.num_envs))
    return PPO(
        policy.actor_critic,
        buffer,
        torch.Generator(env.device).manual_seed(int(derive_seeds(cfg.seed, EXPLORATION_STREAM))),
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
    )


@dataclass
class Progress:
    """What a training has come to beside its weights.

    Attributes:
        seconds: wall time worked, resumed stretches together.
        best: success at the best selection so far, None before the first.
        hits: selections in a row that reached the target.
        warned: the warning about saturation was given.
    """

    seconds: float = 0.0
    best: float | None = None
    hits: int = 0
    warned: bool = False


class ResidualTraining:
    """The loop around `ResidualLearner.step`: budget, selection, log, checkpoints, Ctrl-C.

    Args:
        cfg: budgets and intervals.
        run: where to log and save; continued from its latest checkpoint where `cfg.resume` is set.
        learner: what learns.
        select: evaluates the deterministic policy on the selection's episodes.
        base_config: the base policy's config node, kept in every checkpoint to rebuild the base from.
    """

    def __init__(
        self,
        cfg: ResidualConfig,
        run: Run,
        learner: ResidualLearner,
        select: Callable[[], SuccessRate],
        base_config: Mapping[str, Any],
    ) -> None:
        self.cfg, self.run, self.learner, self.select = cfg, run, learner, select
        self.base_config = dict(base_config)
        self.progress = Progress()
        self._saved_at = -1
        if cfg.resume and run.has_checkpoint:
            self._restore(run.load_checkpoint("latest"))
        self._started = time.monotonic() - self.progress.seconds
        if cfg.resume and not self._why_finished():
            keep_config(run, cfg)

    def work(self) -> None:
        """Train until a budget is spent or the target is reached twice in a row."""
        cfg, learner = self.cfg, self.learner
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        bar = progress_bar(cfg.env_steps, "residual PPO", "step", learner.env_steps)
        try:
            with InterruptFlag() as interrupt, bar:
                if self.progress.best is None:
                    self.run.log(self._choose(), learner.env_steps)
                finished = self._why_finished()
                while not finished:
                    if interrupt.raised:
                        self._stop()
                    metrics = self._step()
                    finished = self._why_finished()
                    bar.update(learner.env_steps - bar.n)
                    bar.set_postfix(success=f"{metrics.get('train/success', 0):.2f}", refresh=False)
                    if learner.ppo.iteration % cfg.select_every == 0 or finished:
                        metrics |= self._choose()
                        finished = finished or self._why_finished()
                    elif learner.ppo.iteration % cfg.save_every == 0:
                        self._save()
                    self.run.log(metrics, learner.env_steps)
        finally:
            torch.set_num_threads(num_threads)
        LOG.info("training ends: %s", finished)
        self._summarise(finished)
        if interrupt.raised:  # in the last iteration: what would come next must not start
            raise KeyboardInterrupt

    def _step(self) -> dict[str, float]:
        """Do one iteration; save what caused it where a number is no longer finite."""
        self._anneal()
        try:
            metrics = self.learner.step()
        except NonFiniteError as error:
            advice = "a lower actor_lr or critic_lr may help"
            raise save_cause(self.run, error, self.learner.env_steps, "env steps", advice) from error
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

    def _choose(self) -> dict[str, float]:
        """Evaluate on the selection's episodes, save, and keep the best."""
        start = time.monotonic()
        success = self.select()
        progress, target = self.progress, self.cfg.target_success
        best = progress.best is None or success.rate >= progress.best
        progress.best = success.rate if best else progress.best
        progress.hits = progress.hits + 1 if target is not None and success.rate >= target else 0
        self._save(best=best)
        LOG.info(
            "%d env steps: %d of %d selection episodes succeed (%.1f %%)",
            self.learner.env_steps,
            success.successes,
            success.episodes,
            100 * success.rate,
        )
        return {
            "select/success": success.rate,
            "select/low": success.low,
            "select/high": success.high,
            "seconds/selection": time.monotonic() - start,
        }

    def _why_finished(self) -> str:
        """Return why training ends here, nothing while it goes on."""
        cfg = self.cfg
        if self.learner.env_steps >= cfg.env_steps:
            return f"the budget env_steps={cfg.env_steps} is spent"
        if cfg.time_limit_s is not None and time.monotonic() - self._started >= cfg.time_limit_s:
            return f"the time limit time_limit_s={cfg.time_limit_s:g} is over"
        if self.progress.hits >= 2:
            return f"two selections in a row reached target_success={cfg.target_success}"
        return ""

    def _stop(self) -> None:
        """Save after Ctrl-C, say how to go on, and leave."""
        if self._saved_at != self.learner.env_steps:
            self._save()
        LOG.info("saved; continue with: robofb train residual resume=%s", self.run.path)
        raise KeyboardInterrupt

    def _save(self, best: bool = False) -> None:
        self.progress.seconds = time.monotonic() - self._started
        policy = self.learner.policy
        state = {
            "spec": policy.spec.to_dict(),
            "policy": policy.state_dict(),
            "residual": policy.settings,
            "base_policy": self.base_config,
            "learner": self.learner.state_dict(),
            "progress": vars(self.progress).copy(),
        }
        self.run.save_checkpoint(state, self.learner.env_steps, best=best)
        self._saved_at = self.learner.env_steps

    def _restore(self, checkpoint: dict[str, Any]) -> None:
        self.learner.policy.load_state_dict(checkpoint["policy"])
        self.learner.load_state_dict(checkpoint["learner"])
        self.progress = Progress(**checkpoint["progress"])
        if checkpoint["config"]["target_success"] != self.cfg.target_success:
            self.progress.hits = 0

    def _summarise(self, ended: str) -> None:
        """Write why training ended and its cost; "other" is what is neither of the named parts."""
        parts = self.learner.clock.seconds
        total = sum(parts.values())
        self.run.write_summary(
            {
                "residual_training": {
                    "ended": ended,
                    "env_steps": self.learner.env_steps,
                    "iterations": self.learner.ppo.iteration,
                    "seconds": time.monotonic() - self._started,
                    "seconds_by_part": parts,
                    "share_by_part": {part: seconds / total for part, seconds in parts.items() if total > 0},
                    "best_selection_success": self.progress.best,
                }
            }
        )
