"""Train the starting noise of a frozen diffusion policy (DSRL; Wagenmaker et al., arXiv 2506.15799)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from robofb.errors import check_at_least, check_finite, check_positive
from robofb.interfaces import VecEnv
from robofb.policies.steered import SteeredPolicy
from robofb.rl.q_ensemble import QEnsemble
from robofb.rl.sac import SAC
from robofb.rng import WEIGHTS_STREAM, derive_seeds
from robofb.run import Run
from robofb.train.decisions import encoded_size
from robofb.train.frozen_base import train_around_base
from robofb.train.off_policy_config import FIXED, OffPolicyConfig
from robofb.train.off_policy_learner import OffPolicyLearner, make_off_policy_learner, node_on_base
from robofb.train.rl_training import RlTraining, learning_generators


@dataclass
class DsrlConfig(OffPolicyConfig):
    """What `robofb train dsrl` reads.

    Attributes:
        actor_lr: learning rate of the actor.
        noise_bound: largest absolute noise that may be picked.
        shared_noise: pick one noise vector for all rows of a chunk, a smaller space to search.
        temperature: weight of the entropy at first.
        temperature_lr: learning rate of its logarithm.
        entropy_per_dim: entropy that it is adjusted to, in nats for each dimension of the noise.
        backup_entropy: let the entropy of later noise count as reward.
    """

    actor_lr: float = 3e-4
    noise_bound: float = 1.5
    shared_noise: bool = False
    temperature: float = 0.01
    temperature_lr: float = 1e-3
    entropy_per_dim: float = -0.5
    backup_entropy: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "actor_lr", "noise_bound", "temperature")
        check_at_least(self, 0, "temperature_lr")
        check_finite(self, "entropy_per_dim")


class DsrlTraining(RlTraining):
    """The loop of DSRL."""

    advice = "a lower actor_lr or critic_lr may help"


def train(cfg: DsrlConfig) -> Run:
    """Steer the diffusion policy of the run `cfg.base`, see `train_around_base`."""
    fixed = (*FIXED, "noise_bound", "shared_noise")
    return train_around_base(cfg, "dsrl", fixed, make_steered_policy, make_learner, DsrlTraining)


def make_steered_policy(
    cfg: DsrlConfig, base: Any, base_node: dict[str, Any]
) -> tuple[SteeredPolicy, dict[str, Any]]:
    """Put a new actor on a base policy; return both and the config node that builds them from a spec."""
    obs_dim = encoded_size(base)
    settings: dict[str, Any] = {
        "obs_dim": obs_dim,
        "hidden": list(cfg.hidden),
        "bound": cfg.noise_bound,
        "shared_noise": cfg.shared_noise,
    }
    generator = torch.Generator().manual_seed(int(derive_seeds(cfg.seed, WEIGHTS_STREAM)))
    policy = SteeredPolicy(base.spec, lambda spec: base, generator=generator, **settings)
    return policy, node_on_base(SteeredPolicy, base_node, settings)


def make_learner(cfg: DsrlConfig, policy: SteeredPolicy, env: VecEnv) -> OffPolicyLearner:
    """Put soft actor-critic around a steered policy."""
    obs_dim, noise_dim = policy.obs_dim, policy.noise_dim
    _, weights, noise = learning_generators(cfg.seed, env.device, "cpu", env.device)  # the first: batches
    critic = QEnsemble(
        obs_dim, noise_dim, hidden=list(cfg.hidden), num_members=cfg.num_critics, generator=weights
    )
    algorithm = SAC(
        policy.actor,
        critic.to(env.device),
        noise,
        actor_lr=cfg.actor_lr,
        critic_lr=cfg.critic_lr,
        temperature_lr=cfg.temperature_lr,
        init_temperature=cfg.temperature,
        target_entropy=cfg.entropy_per_dim * noise_dim,
        backup_entropy=cfg.backup_entropy,
        tau=cfg.tau,
        grad_clip=cfg.grad_clip,
    )
    return make_off_policy_learner(cfg, policy, env, algorithm, noise_dim)
