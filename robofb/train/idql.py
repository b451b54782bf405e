"""Train critics that choose among what a frozen diffusion policy proposes (IDQL; arXiv 2304.10573)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from robofb.errors import UserError, check_at_least, check_positive
from robofb.policies.value_guided import ValueGuidedPolicy
from robofb.rl.iql import IQL
from robofb.rng import WEIGHTS_STREAM, derive_seeds
from robofb.run import Run
from robofb.train.decisions import encoded_size
from robofb.train.frozen_base import train_around_base
from robofb.train.off_policy_config import FIXED, OffPolicyConfig
from robofb.train.off_policy_learner import OffPolicyLearner, make_off_policy_learner, node_on_base
from robofb.train.rl_training import RlTraining


@dataclass
class IdqlConfig(OffPolicyConfig):
    """What `robofb train idql` reads.

    Attributes:
        num_samples: chunks that the base proposes for each decision.
        temperature: in training a chunk is taken with a chance that grows as exp(value / temperature);
            evaluation takes the best.
        expectile: which of the values of the actions in the data a state's value stands for: 0.5 is their
            mean, near 1 their largest.
    """

    num_samples: int = 16
    temperature: float = 0.05
    expectile: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "num_samples")
        check_positive(self, "temperature")
        if not 0 < self.expectile < 1:
            raise UserError(f"expectile={self.expectile}: must lie between 0 and 1")


class IdqlTraining(RlTraining):
    """The loop of IDQL."""

    advice = "a lower critic_lr may help"


def train(cfg: IdqlConfig) -> Run:
    """Guide the diffusion policy of the run `cfg.base`, see `train_around_base`."""
    return train_around_base(cfg, "idql", FIXED, make_guided_policy, make_learner, IdqlTraining)


def make_guided_policy(
    cfg: IdqlConfig, base: Any, base_node: dict[str, Any]
) -> tuple[ValueGuidedPolicy, dict[str, Any]]:
    """Put new critics on a base policy; return both and the config node that builds them from a spec."""
    settings: dict[str, Any] = {
        "obs_dim": encoded_size(base),
        "num_samples": cfg.num_samples,
        "temperature": cfg.temperature,
        "hidden": list(cfg.hidden),
        "num_critics": cfg.num_critics,
    }
    generator = torch.Generator().manual_seed(int(derive_seeds(cfg.seed, WEIGHTS_STREAM)))
    policy = ValueGuidedPolicy(base.spec, lambda spec: base, generator=generator, **settings)
    return policy, node_on_base(ValueGuidedPolicy, base_node, settings)


def make_learner(cfg: IdqlConfig, policy: ValueGuidedPolicy, env: Any) -> OffPolicyLearner:
    """Put implicit Q-learning around a guided policy."""
    algorithm = IQL(
        policy.q,
        policy.v,
        expectile=cfg.expectile,
        lr=cfg.critic_lr,
        tau=cfg.tau,
        grad_clip=cfg.grad_clip,
    )
    return make_off_policy_learner(cfg, policy, env, algorithm, policy.chunk_dim)
