"""How much a student listens to its teacher, beside its reward: TGRL's balance, and what others do."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from robofb.errors import UserError


class Weights(NamedTuple):
    """What each policy's loss weighs, (P, 1) or (P, M) each.

    Attributes:
        reward: of the reward to come.
        teacher: of the likelihood to the teacher, of this action and of those to come.
        imitation: of the distance from the teacher at this state.
    """

    reward: Tensor
    teacher: Tensor
    imitation: Tensor


class Signals(NamedTuple):
    """What a balance may go by, averaged since its last step.

    Attributes:
        gap: J(student) - J(reward alone), return of an episode; None where there is one policy.
        cross_entropy: of the student's actions to the teacher, in nats; 0 where none is needed.
    """

    gap: float | None
    cross_entropy: float


class Balance(Protocol):
    """Weighs a teacher's word against reward.

    Attributes:
        policies: what is trained, by name; the first is the student.
        needs_teacher: whether a teacher's answers are used at all.
        foresees_teacher: whether the student weighs what its teacher will say of later actions.
        uses_gap: whether it goes by `Signals.gap`.
        shapes: the student's reward is shaped by the value of the second policy.
    """

    policies: tuple[str, ...]
    needs_teacher: bool
    foresees_teacher: bool
    uses_gap: bool
    shapes: bool

    def weights(self, distance: Tensor) -> Weights:
        """Return the weights; `distance` (P, M) is how far each policy is from the teacher."""
        ...

    def step(self, signals: Signals) -> None:
        """Adjust the balance."""
        ...

    def metrics(self) -> dict[str, float]:
        """Return numbers for the log."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class _Constant:
    """A balance that nothing changes."""

    policies: tuple[str, ...] = ("student",)
    needs_teacher = True
    foresees_teacher = uses_gap = shapes = False

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

    def weights(self, distance: Tensor) -> Weights:
        """Return weights of reward alone."""
        return _weights([1.0], [0.0], [0.0], distance)


class Imitation(_Constant):
    """No reward at all: DAgger where the student collects, behaviour cloning where the teacher does."""

    def weights(self, distance: Tensor) -> Weights:
        """Return weights of imitation alone."""
        return _weights([0.0], [0.0], [1.0], distance)


class Advisor(_Constant):
    """Imitate where a student can, earn where it cannot (ADVISOR; Weihs et al., arXiv 2007.12173).

    A second student that only imitates shows where that is possible: the weight of imitation is
    exp(-sharpness * its distance from the teacher), that of reward the rest.
    """

    policies = ("student", "imitator")

    def __init__(self, sharpness: float = 4.0) -> None:
        _check_positive(sharpness=sharpness)
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
        return _weights([1.0, 0.0], [0.0, 0.0], [0.0, 1.0], distance)


class Fixed(_Constant):
    """A constant coefficient.

    Args:
        coefficient: weight of the teacher's word beside reward.
    """

    foresees_teacher = True

    def __init__(self, coefficient: float = 0.3) -> None:
        _check_positive(coefficient=coefficient)
        self.coefficient = coefficient

    def weights(self, distance: Tensor) -> Weights:
        """Return the coefficient beside reward."""
        return _weights([1.0], [self.coefficient], [0.0], distance)

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
        coefficient: float = 0.3,
        target: float = 0.5,
        lr: float = 3e-3,
        low: float = 0.01,
        high: float = 3.0,
    ) -> None:
        super().__init__(coefficient)
        _check_positive(target=target, lr=lr)
        _check_range(coefficient, low, high)
        self.target, self.lr, self.low, self.high = target, lr, low, high

    def step(self, signals: Signals) -> None:
        """Raise the coefficient where the student is farther from its teacher than the target."""
        change = self.lr * (signals.cross_entropy - self.target)
        self.coefficient = _moved(self.coefficient, change, self.low, self.high)

    def state_dict(self) -> dict[str, Any]:
        """Return the coefficient."""
        return {"coefficient": self.coefficient}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.coefficient = state["coefficient"]


class _Guided:
    """A student whose coefficient is steered by how it does against a second one, that sees reward alone."""

    policies: tuple[str, ...] = ("student", "reward")
    needs_teacher, foresees_teacher, uses_gap, shapes = True, True, True, False
    coefficient: float

    def weights(self, distance: Tensor) -> Weights:
        """Return the coefficient for the student, reward alone for the other."""
        return _weights([1.0, 1.0], [self.coefficient, 0.0], [0.0, 0.0], distance)

    def metrics(self) -> dict[str, float]:
        """Return the coefficient."""
        return {"coefficient": self.coefficient}


class Lagrangian(_Guided):
    """TGRL (Shenfeld et al., arXiv 2307.03186): the teacher's word counts as long as it does no harm.

    max_pi J_R(pi) - c * cross-entropy, c = alpha / (1 + lambda), where lambda >= 0 is the multiplier of the
    constraint J_R(pi) >= J_R(pi_R): lambda <- max(0, lambda - lr * (J_R(pi) - J_R(pi_R))).

    Args:
        alpha: largest coefficient.
        coefficient: at first, at most alpha.
        lr: change of lambda per step and unit of return.
    """

    def __init__(self, alpha: float = 3.0, coefficient: float = 0.3, lr: float = 0.1) -> None:
        _check_positive(alpha=alpha, coefficient=coefficient, lr=lr)
        if coefficient > alpha:
            raise UserError(f"balance.coefficient={coefficient}: at most balance.alpha={alpha}")
        self.alpha, self.lr = alpha, lr
        self.multiplier = alpha / coefficient - 1

    @property
    def coefficient(self) -> float:  # type: ignore[override]
        """Weight c of the teacher's word beside reward."""
        return self.alpha / (1 + self.multiplier)

    def step(self, signals: Signals) -> None:
        """Take one step of dual descent."""
        self.multiplier = max(0.0, self.multiplier - self.lr * _gap(signals))

    def metrics(self) -> dict[str, float]:
        """Return coefficient and multiplier."""
        return {"coefficient": self.coefficient, "multiplier": self.multiplier}

    def state_dict(self) -> dict[str, Any]:
        """Return the multiplier."""
        return {"multiplier": self.multiplier}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.multiplier = state["multiplier"]


class LogSteps(_Guided):
    """The same by steps of the coefficient's logarithm, proportional to the gap.

    Args:
        coefficient: at first.
        lr: change of its logarithm per step and unit of return.
        low, high: its bounds.
    """

    def __init__(
        self, coefficient: float = 0.3, lr: float = 3e-2, low: float = 0.01, high: float = 3.0
    ) -> None:
        _check_positive(coefficient=coefficient, lr=lr)
        _check_range(coefficient, low, high)
        self.coefficient, self.lr, self.low, self.high = coefficient, lr, low, high

    def step(self, signals: Signals) -> None:
        """Raise the coefficient while the student does better than reward alone, lower it otherwise."""
        self.coefficient = _moved(self.coefficient, self._change(_gap(signals)), self.low, self.high)

    def _change(self, gap: float) -> float:
        return self.lr * gap

    def state_dict(self) -> dict[str, Any]:
        """Return the coefficient."""
        return {"coefficient": self.coefficient}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.coefficient = state["coefficient"]


class SignSteps(LogSteps):
    """The same by steps of one size, so that the size of rewards does not matter.

    Args:
        coefficient, low, high: see `LogSteps`.
        lr: change of the coefficient's logarithm per step.
    """

    def _change(self, gap: float) -> float:
        return math.copysign(self.lr, gap) if gap else 0.0


def _gap(signals: Signals) -> float:
    return 0.0 if signals.gap is None else signals.gap


def _weights(reward: list[float], teacher: list[float], imitation: list[float], like: Tensor) -> Weights:
    return Weights(*(like.new_tensor(column)[:, None] for column in (reward, teacher, imitation)))


def _moved(coefficient: float, change: float, low: float, high: float) -> float:
    return min(high, max(low, coefficient * math.exp(min(50.0, max(-50.0, change)))))


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise UserError(f"balance.{name}={value}: must be positive and finite")


def _check_range(coefficient: float, low: float, high: float) -> None:
    _check_positive(low=low, high=high)
    if not low <= coefficient <= high:
        raise UserError(f"balance.coefficient={coefficient}: must lie in low..high, {low}..{high}")
