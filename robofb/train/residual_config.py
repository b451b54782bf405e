"""What `robofb train residual` reads."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robofb.errors import UserError, check_at_least, check_finite, check_positive
from robofb.train.device import PRECISIONS
from robofb.train.ppo_options import PpoOptions
from robofb.train.rl_config import FIXED_ON_BASE

# What a resumed run cannot change: the base, and the sizes of what its checkpoint holds.
FIXED = (
    *FIXED_ON_BASE,
    *("hidden", "critic_sees_time", "scale_rewards", "scale", "correction"),
    *("chunked", "open_loop", "running_obs_stats", "base_precision"),
)


@dataclass
class ResidualConfig(PpoOptions):
    """What `robofb train residual` reads. Presets in configs/preset fill in the values that go together.

    Attributes:
        preset: a set of values for the other keys, which still yield to what you say: laptop (two CPU
            cores, quick) or paper (ResiP's own, for a GPU).
        l1_coef: weight of the residual's mean magnitude in the loss.
        l2_coef: weight of the residual's mean square in the loss.
        scale_rewards: divide rewards by the running deviation of the return.
        scale: normalised action = base + scale * residual.
        correction: what one unit of residual adds to each action, in environment units; null for `scale`.
        init_log_std: logarithm of the initial exploration, before scaling.
        exploration: initial exploration in normalised action, scale times the residual's deviation, kept
            whatever the scale is (the paper's is 0.037); init_log_std follows from it. null takes
            init_log_std. Not with correction.
        final_log_std: let the exploration fall linearly to this over the budget of steps; null keeps it. Not
            with learn_std.
        learn_std: train the amount of exploration.
        chunked: let the residual decide once per chunk, for all its actions.
        open_loop: show the actor the observation at its chunk's start in every step of the chunk. A chunked
            residual is open-loop already.
        running_obs_stats: normalise the residual's observations by running mean and deviation instead of the
            base's normaliser.
        base_precision: of the frozen base's network, float32 or bfloat16, in training and ever after.
        base_compile: sample the frozen base by a compiled program in this training, a CUDA graph on a GPU; a
            minute to start with. Diffusion and flow policies only.
        critic_sees_time: show the critic how much of the episode's time is left.
    """

    preset: str = "laptop"
    l1_coef: float = 0.0
    l2_coef: float = 0.0
    scale_rewards: bool = False
    scale: float = 0.2
    correction: list[float] | None = None
    init_log_std: float = -1.2
    exploration: float | None = None
    final_log_std: float | None = None
    learn_std: bool = True
    chunked: bool = False
    open_loop: bool = False
    running_obs_stats: bool = False
    base_precision: str = "float32"
    base_compile: bool = False
    critic_sees_time: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "scale")
        check_at_least(self, 0, "l1_coef", "l2_coef")
        check_finite(self, "init_log_std")
        if self.final_log_std is not None:
            check_finite(self, "final_log_std")
        if self.correction is not None and not all(map(math.isfinite, self.correction)):
            raise UserError(f"correction={list(self.correction)}: needs finite numbers")
        if self.final_log_std is not None and self.learn_std:
            raise UserError(
                f"final_log_std={self.final_log_std}: a schedule needs learn_std=false, or leave it null"
            )
        if self.exploration is not None and not 0 < self.exploration < math.inf:
            raise UserError(f"exploration={self.exploration}: must be positive, or null for init_log_std")
        if self.exploration is not None and self.correction is not None:
            raise UserError(
                f"exploration={self.exploration}: pairs with scale; say correction=null, or leave it null"
            )
        if self.base_precision not in PRECISIONS:
            raise UserError(f"base_precision={self.base_precision}: choose one of {', '.join(PRECISIONS)}")
        if self.chunked and self.open_loop:
            raise UserError("open_loop=true: a chunked residual is open-loop already; leave one of them out")


def initial_log_std(cfg: ResidualConfig) -> float:
    """Return the logarithm of the residual's initial deviation, before scaling."""
    return cfg.init_log_std if cfg.exploration is None else math.log(cfg.exploration / cfg.scale)
