"""What TGRL is compared with: other ways to weigh a teacher's word against reward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robofb.rl.balance import Signals, Weights, check_range, check_settings, constant_weights, moved


class _Constant:
    """A balance that nothing changes."""

    policies: tuple[str, ...] = ("student",)
    needs_teacher = True
    foresees_teacher = uses_gap = shapes = soft_values = False

    def step(self, signals: Signals) -> None:
        """Change nothing."""

    def metrics(self) -> dict[str, float]:
        """Return nothing."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: there is nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore nothing."""


class RewardOnly(_Constant):
    """Soft actor-critic: no teacher at all."""

    policies = ("reward",)
    needs_teacher = False
    soft_values = True

    def weights(self, distance: Tensor) -> Weights:
        """Return weights of reward alone."""
        return constant_weights([1.0], [0.0], [0.0], distance)


class Imitation(_Constant):
    """No reward at all: DAgger where the student collects, behaviour cloning where the teacher does."""

    def weights(self, distance: Tensor) -> Weights:
        """Return weights of imitation alone."""
        return constant_weights([0.0], [0.0], [1.0], distance)


class Advisor(_Constant):
    """Imitate where a student can, earn where it cannot (ADVISOR; Weihs et al., arXiv 2007.12173).

    A second student that only imitates shows where that is possible: the weight of imitation is
    exp(-sharpness * its KL from the teacher), that of reward the rest.
    """

    policies = ("student", "imitator")

    def __init__(self, sharpness: float = 4.0) -> None:
        check_settings(sharpness=sharpness)
        self.sharpness = sharpness

    def weights(self, distance: Tensor) -> Weights:
        """Return weights by state."""
        able = torch.exp(-self.sharpness * distance[1]).detach()
        zero, one = torch.zeros_like(able), torch.ones_like(able)
        return Weights(torch.stack([1 - able, zero]), torch.zeros_like(distance), torch.stack([able, one]))


class Shaping(_Constant):
    """Reward shaped by potential: the value of a second student that only imitates (Ng et al., 1999)."""

    policies = ("student", "imitator")
    shapes = True

    def weights(self, distance: Tensor) -> Weights:
        """Return reward for the student, imitation for the imitator."""
        return constant_weights([1.0, 0.0], [0.0, 0.0], [0.0, 1.0], distance)


class Fixed(_Constant):
    """A constant coefficient.

    Args:
        coefficient: weight of the teacher's word beside reward.
    """

    foresees_teacher = True

    def __init__(self, coefficient: float = 0.1) -> None:
        check_settings(coefficient=coefficient)
        self.coefficient = coefficient

    def weights(self, distance: Tensor) -> Weights:
        """Return the coefficient beside reward."""
        return constant_weights([1.0], [self.coefficient], [0.0], distance)

    def metrics(self) -> dict[str, float]:
        """Return the coefficient."""
        return {"coefficient": self.coefficient}


class Cosil(Fixed):
    """Steer the coefficient so that the student stays at a given cross-entropy from the teacher (COSIL).

    Args:
        coefficient: at first.
        target: cross-entropy in nats.
        lr: change of the coefficient's logarithm per step and nat.
        low, high: bounds of the coefficient.
    """

    def __init__(
        self,
        coefficient: float = 0.1,
        target: float = 0.5,
        lr: float = 3e-3,
        low: float = 0.003,
        high: float = 1.0,
    ) -> None:
        super().__init__(coefficient)
        check_settings(target=target, lr=lr)
        check_range(coefficient, low, high)
        self.target, self.lr, self.low, self.high = target, lr, low, high

    def step(self, signals: Signals) -> None:
        """Raise the coefficient where the student is farther from its teacher than the target."""
        change = self.lr * (signals.cross_entropy - self.target)
        self.coefficient = moved(self.coefficient, change, self.low, self.high)

    def state_dict(self) -> dict[str, Any]:
        """Return the coefficient."""
        return {"coefficient": self.coefficient}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.coefficient = state["coefficient"]
