"""How much a student listens to its teacher, beside its reward: TGRL's balance."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

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
        soft_values: whether the entropy of later actions counts in the critics' targets, as in soft
            actor-critic; values that are compared, or stand beside a teacher's word, are of reward alone.
    """

    policies: tuple[str, ...]
    needs_teacher: bool
    foresees_teacher: bool
    uses_gap: bool
    shapes: bool
    soft_values: bool

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


class _Guided:
    """A student whose coefficient is steered by how it does against a second one, that sees reward alone."""

    policies: tuple[str, ...] = ("student", "reward")
    needs_teacher, foresees_teacher, uses_gap = True, True, True
    shapes = soft_values = False
    coefficient: float

    def weights(self, distance: Tensor) -> Weights:
        """Return the coefficient for the student, reward alone for the other."""
        return constant_weights([1.0, 1.0], [self.coefficient, 0.0], [0.0, 0.0], distance)

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

    def __init__(self, alpha: float = 1.0, coefficient: float = 0.1, lr: float = 0.3) -> None:
        check_settings(alpha=alpha, coefficient=coefficient, lr=lr)
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
        self, coefficient: float = 0.1, lr: float = 3e-2, low: float = 0.003, high: float = 1.0
    ) -> None:
        check_settings(coefficient=coefficient, lr=lr)
        check_range(coefficient, low, high)
        self.coefficient, self.lr, self.low, self.high = coefficient, lr, low, high

    def step(self, signals: Signals) -> None:
        """Raise the coefficient while the student does better than reward alone, lower it otherwise."""
        self.coefficient = moved(self.coefficient, self._change(_gap(signals)), self.low, self.high)

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


def constant_weights(
    reward: list[float], teacher: list[float], imitation: list[float], like: Tensor
) -> Weights:
    """Return the same weights for all moves, one number a policy, where `like` lives."""
    return Weights(*(like.new_tensor(column)[:, None] for column in (reward, teacher, imitation)))


def moved(coefficient: float, change: float, low: float, high: float) -> float:
    """Return a coefficient after a `change` of its logarithm, within its bounds."""
    return min(high, max(low, coefficient * math.exp(min(50.0, max(-50.0, change)))))


def check_settings(**values: float) -> None:
    """Refuse settings of a balance that are not positive."""
    for name, value in values.items():
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise UserError(f"balance.{name}={value}: must be positive and finite")


def check_range(coefficient: float, low: float, high: float) -> None:
    """Refuse a coefficient outside of its bounds, or bounds that are none."""
    check_settings(low=low, high=high)
    if not low <= coefficient <= high:
        raise UserError(f"balance.coefficient={coefficient}: must lie in low..high, {low}..{high}")
