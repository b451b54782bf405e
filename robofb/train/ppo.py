"""Train a regression policy directly by PPO over its chunks, held near what was cloned: ResiP's rival."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robofb.errors import UserError, check_at_least, check_finite
from robofb.interfaces import VecEnv
from robofb.policies.chunk_actor import ChunkActorCritic, RegressionPolicy
from robofb.policies.executor import ChunkExecutor
from robofb.policies.gaussian import Gaussian
from robofb.rl.decision_rollout import make_rollout
from robofb.rl.ppo import PPO
from robofb.rl.ppo_losses import gaussian_kl
from robofb.rl.rollout_buffer import RolloutBuffer
from robofb.rng import WEIGHTS_STREAM, derive_seeds
from robofb.run import Run
from robofb.train.bank_env import with_bank_pinned
from robofb.train.decisions import DecisionCollector, encoded_size
from robofb.train.episodes import EpisodeCount
from robofb.train.open_run import open_run
from robofb.train.ppo_options import PpoOptions, ppo_settings
from robofb.train.rl_config import FIXED_ON_BASE
from robofb.train.rl_training import RlTraining, learning_generators, load_base, selection, training_envs
from robofb.train.stopwatch import Stopwatch


@dataclass
class PpoConfig(PpoOptions):
    """What `robofb train ppo` reads.

    Attributes:
        kl_coef: weight of the KL divergence from the policy to the cloned one, in nats for each decision.
        init_log_std: logarithm of the exploration, in normalised units, of each action of a chunk.
        learn_std: train the amount of exploration.
    """

    actor_lr: float = 1e-4
    critic_warmup_iterations: int = 3
    kl_coef: float = 1e-3
    init_log_std: float = -3.0
    learn_std: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "kl_coef")
        check_finite(self, "init_log_std")


class PpoTraining(RlTraining):
    """The loop of direct PPO."""

    advice = "a lower actor_lr or critic_lr may help"


def train(cfg: PpoConfig) -> Run:
    """Train the policy of the run `cfg.base`, or continue the run `cfg.resume`; return the run.

    Raises:
        UserError: a wrong base, an unusable folder, or weights that became NaN.
        KeyboardInterrupt: after Ctrl-C, once everything is saved.
    """
    cfg = with_bank_pinned(cfg)
    policy, node = load_base(cfg, "ppo", prefix="")
    if cfg.rollout_steps < policy.execute:
        raise UserError(
            f"rollout_steps={cfg.rollout_steps}: needs at least the {policy.execute} steps of one chunk"
        )
    with training_envs(cfg, policy.spec) as (env, select_env):
        networks = make_networks(cfg, policy)
        policy.to(env.device)
        networks.to(env.device)
        agent = ChunkExecutor(policy, select_env.num_envs, device=select_env.device)
        with open_run(cfg, "ppo", env.spec.task, (*FIXED_ON_BASE, "hidden", "init_log_std")) as run:
            learner = PpoLearner(cfg, policy, networks, env)
            rebuilding = {"policy_node": node, "base_policy": node}
            PpoTraining(cfg, run, learner, selection(cfg, agent, select_env), rebuilding).work()
    return run


def make_networks(cfg: PpoConfig, policy: RegressionPolicy) -> ChunkActorCritic:
    """Put exploration and a critic around a policy."""
    return ChunkActorCritic(
        policy,
        encoded_size(policy),
        hidden=list(cfg.hidden),
        init_log_std=cfg.init_log_std,
        learn_std=cfg.learn_std,
        generator=torch.Generator().manual_seed(int(derive_seeds(cfg.seed, WEIGHTS_STREAM))),
    )


class PpoLearner:
    """One training step of direct PPO: a rollout of decisions, then an update.

    Args:
        cfg: how.
        policy: what is trained; whole in every checkpoint.
        networks: around it.
        env: where it acts.
    """

    def __init__(
        self, cfg: PpoConfig, policy: RegressionPolicy, networks: ChunkActorCritic, env: VecEnv
    ) -> None:
        self.policy, self.networks, self.env = policy, networks, env
        self.rollout_steps, self.lam, self.kl_coef, self.threads = (
            cfg.rollout_steps,
            cfg.lam,
            cfg.kl_coef,
            cfg.threads,
        )
        (generator,) = learning_generators(cfg.seed, env.device)
        empty = RolloutBuffer(1, 0, 0, 0, 0, device=env.device)  # every rollout brings its own
        self.ppo = PPO(networks, empty, generator, regulariser=self.penalty, **ppo_settings(cfg))
        self.collector = DecisionCollector(env, policy, networks.explore, gamma=cfg.gamma, seed=cfg.seed)
        self.clock = Stopwatch()
        self.env_steps = 0

    @property
    def iteration(self) -> int:
        """Iterations done."""
        return self.ppo.iteration

    def penalty(self, cond: Tensor, distribution: Gaussian) -> Tensor:
        """Return the weighted mean of KL(policy || cloned policy) for what is seen (N, C)."""
        return self.kl_coef * self.kl_to_base(cond, distribution)

    def kl_to_base(self, cond: Tensor, distribution: Gaussian) -> Tensor:
        """Return the mean KL(policy || cloned policy) over decisions [nats]."""
        with torch.no_grad():
            base = self.networks.reference(cond)
        return gaussian_kl(distribution.mean, distribution.log_std, base.mean, base.log_std).mean()

    def step(self) -> dict[str, float]:
        """Do one iteration and return its metrics.

        Raises:
            NonFiniteError: see `PPO.update`.
        """
        metrics: dict[str, float] = {}
        with self.clock.iteration(metrics):
            count = EpisodeCount(self.env.device)
            decisions = [self._decisions(count) for _ in range(self.rollout_steps)]
            self.env_steps += self.rollout_steps * self.env.num_envs
            with self.clock("update"):
                torch.set_num_threads(self.threads)
                self.ppo.buffer = make_rollout(decisions, self.networks.value, self.lam)
                metrics |= {f"ppo/{name}": value for name, value in self.ppo.update().items()}
                metrics["ppo/kl_to_base"] = self._drift()
                torch.set_num_threads(1)
        return metrics | count.metrics()

    def _decisions(self, count: EpisodeCount) -> dict[str, Tensor]:
        """Do one control step; return the decisions that ended with it, as the critic sees them too."""
        decisions = self.collector.step(count, self.clock)
        before = decisions["length"] - decisions["steps"]
        return {
            **decisions,
            "critic_obs": self._with_time_left(decisions["obs"], before),
            "next_critic_obs": self._with_time_left(decisions["next_obs"], decisions["length"]),
        }

    def _with_time_left(self, cond: Tensor, elapsed: Tensor) -> Tensor:
        left = (1.0 - elapsed / self.policy.spec.max_steps).clamp(min=0.0)
        return torch.cat([cond, left[:, None].to(cond)], dim=1)

    @torch.no_grad()
    def _drift(self) -> float:
        """Return how far the update has left the policy from the cloned one, over its rollout."""
        cond = self.ppo.buffer.actor_obs[0]
        return float(self.kl_to_base(cond, self.networks.distribution(cond)))

    def state_dict(self) -> dict[str, Any]:
        """Return all but the policy's weights, for a resume; exact where the env is `Resumable`."""
        return {
            "log_std": self.networks.actor.log_std.detach().clone(),
            "reference": self.networks.reference.state_dict(),
            "critic": self.networks.critic.state_dict(),
            "ppo": self.ppo.state_dict(),
            "collector": self.collector.state_dict(),
            "env_steps": self.env_steps,
            "clock": dict(self.clock.seconds),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        with torch.no_grad():
            self.networks.actor.log_std.copy_(state["log_std"])
        self.networks.reference.load_state_dict(state["reference"])
        self.networks.critic.load_state_dict(state["critic"])
        self.ppo.load_state_dict(state["ppo"])
        self.env_steps = state["env_steps"]
        self.clock.seconds = dict(state["clock"])
        self.collector.load_state_dict(state["collector"], self.iteration)
