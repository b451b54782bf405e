"""What `robofb train residual` reads."""

from __future__ import annotations

import math
from dataclasses import dataclass

from robofb.errors import UserError
from robofb.train.ppo_options import PpoOptions
from robofb.train.rl_config import FIXED_ON_BASE, check_positive

# What a resumed run cannot change: the base, and the sizes of what its checkpoint holds.
FIXED = (*FIXED_ON_BASE, "hidden", "critic_sees_time", "scale_rewards", "scale", "correction")


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
        final_log_std: let the exploration fall linearly to this over the budget of steps; null keeps it. Not
            with learn_std.
        learn_std: train the amount of exploration.
        critic_sees_time: show the critic how much of the episode's time is left.
    """

    preset: str = "laptop"
    l1_coef: float = 0.0
    l2_coef: float = 0.0
    scale_rewards: bool = False
    scale: float = 0.2
    correction: list[float] | None = None
    init_log_std: float = -1.2
    final_log_std: float | None = None
    learn_std: bool = True
    critic_sees_time: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "scale")
        if self.correction is not None and not all(map(math.isfinite, self.correction)):
            raise UserError(f"correction={list(self.correction)}: needs finite numbers")
        if self.final_log_std is not None and self.learn_std:
            raise UserError(
                f"final_log_std={self.final_log_std}: a schedule needs learn_std=false, or leave it null"
            )
