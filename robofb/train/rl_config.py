"""What all trainers by rollouts read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from robofb.errors import MOST, UserError, check_at_least, check_seeds, check_threads
from robofb.sim.reset_bank import EQUAL_SHARES, check_kinds

# What a resumed run of any of them cannot change, and what one on a base cannot either.
FIXED = ("task", "seed", "num_envs", "select_seed", "select_episodes")
FIXED_ON_BASE = (*FIXED, "base", "base_checkpoint")


@dataclass
class RlConfig:
    """Where and how long a policy is trained by rollouts, and how `best` is chosen.

    Attributes:
        task: what to do; the base policy's own task.
        engine: what simulates it.
        num_envs: environments in lock step, B; of train residual all processes together where torchrun starts
            several.
        env_steps: budget of control steps, all envs together.
        time_limit_s: budget of wall time [s], selection included; none where null.
        target_success: stop once two selections in a row reach this rate; never where null.
        seed: of weights, exploration and training episodes.
        select_every: iterations between the deterministic evaluations that choose `best`.
        select_episodes: episodes of each of them.
        select_seed: seed of these episodes; keep it apart from the seeds that are reported.
        save_every: iterations between checkpoints.
        threads: torch's threads in the update; one is used while physics runs.
        out: run folder; a new one below runs/ where null.
        resume: run folder to continue from its latest checkpoint.
        wandb: mirror the metrics to Weights & Biases (off, offline or online).
    """

    task: Any = MISSING
    engine: Any = MISSING
    num_envs: int = 64
    env_steps: int = 1_000_000
    time_limit_s: float | None = None
    target_success: float | None = None
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
        check_at_least(self, 1, "num_envs", "select_every", "select_episodes", "save_every", "threads")
        check_at_least(self, 1, "env_steps")
        check_threads(self.threads)
        check_seeds(self, "seed", "select_seed")
        if self.time_limit_s is not None and not self.time_limit_s > 0:
            raise UserError(f"time_limit_s={self.time_limit_s}: must be positive, or null for none")
        if self.target_success is not None and not 0 <= self.target_success <= 1:
            raise UserError(f"target_success={self.target_success}: must lie in 0..1, or null for none")


def check_warmup(config: Any) -> None:
    """Refuse `warmup_steps` that leave none of `env_steps` to learn in."""
    if config.warmup_steps >= config.env_steps:
        raise UserError(
            f"warmup_steps={config.warmup_steps}: learning begins after them, but env_steps="
            f"{config.env_steps} ends the training before"
        )


@dataclass
class OnBaseConfig(RlConfig):
    """The same for a trainer that starts from a behaviour-cloned policy.

    Attributes:
        base: run folder of the behaviour-cloned base policy.
        base_checkpoint: "best", "latest" or a path.
        gamma: discount of future reward per control step.
        hidden: sizes of the hidden layers of actor and critic.
        bank: reset bank (robofb data bank) in whose states some training episodes start; none where null.
        bank_share: chance that an episode does.
        bank_kinds: weight of each kind of its states.
        bank_sha256: of its file, which must have it; null takes any, and the run then holds it to that one.
    """

    base: str = MISSING
    base_checkpoint: str = "best"
    gamma: float = 0.995
    hidden: list[int] = field(default_factory=lambda: [256, 256])
    bank: str | None = None
    bank_share: float = 0.5
    bank_kinds: dict[str, float] = field(default_factory=lambda: dict(EQUAL_SHARES))
    bank_sha256: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self, "gamma", "bank_share")
        check_kinds(self.bank_kinds)
        if min(self.hidden, default=1) < 1 or max(self.hidden, default=1) >= MOST:
            raise UserError(f"hidden={list(self.hidden)}: needs sizes of at least 1, below 2**63")


def check_share(config: object, *names: str) -> None:
    """Refuse a config some of whose numbers lie outside 0..1."""
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise UserError(f"{name}={getattr(config, name)}: must lie in 0..1")
