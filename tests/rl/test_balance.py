"""How each balance moves and weighs, by hand-worked numbers."""

from __future__ import annotations

import math

import pytest
import torch

from robofb.errors import UserError
from robofb.rl.balance import Lagrangian, LogSteps, Signals, SignSteps
from robofb.rl.balance_baselines import Advisor, Cosil, Fixed, Imitation, RewardOnly, Shaping

DISTANCE = torch.tensor([[0.5, 2.0], [0.0, 1.0]])  # two policies at two states


def test_the_multiplier_takes_dual_steps_and_never_falls_below_zero() -> None:
    balance = Lagrangian(alpha=2.0, coefficient=0.5, lr=0.1)
    assert balance.multiplier == 3.0  # 2 / (1 + 3) = 0.5
    balance.step(Signals(gap=-10.0, cross_entropy=0.0))  # the teacher does harm
    assert balance.multiplier == pytest.approx(4.0)
    assert balance.coefficient == pytest.approx(2 / 5)
    balance.step(Signals(gap=100.0, cross_entropy=0.0))
    assert (balance.multiplier, balance.coefficient) == (0.0, 2.0)
    balance.step(Signals(gap=None, cross_entropy=0.0))
    assert balance.coefficient == 2.0


def test_logarithmic_steps_are_proportional_to_the_gap_and_bounded() -> None:
    balance = LogSteps(coefficient=0.3, lr=0.01, low=0.1, high=1.0)
    balance.step(Signals(gap=20.0, cross_entropy=0.0))
    assert balance.coefficient == pytest.approx(0.3 * math.exp(0.2))
    balance.step(Signals(gap=1e9, cross_entropy=0.0))
    assert balance.coefficient == 1.0
    balance.step(Signals(gap=-1e9, cross_entropy=0.0))
    assert balance.coefficient == 0.1


def test_steps_by_sign_do_not_know_the_size_of_the_gap() -> None:
    large, small = (SignSteps(coefficient=0.3, lr=0.05) for _ in range(2))
    large.step(Signals(gap=-1e6, cross_entropy=0.0))
    small.step(Signals(gap=-1e-6, cross_entropy=0.0))
    assert large.coefficient == small.coefficient == pytest.approx(0.3 * math.exp(-0.05))
    small.step(Signals(gap=0.0, cross_entropy=0.0))
    assert small.coefficient == large.coefficient


def test_cosil_steers_to_its_cross_entropy() -> None:
    balance = Cosil(coefficient=0.3, target=1.0, lr=0.1)
    balance.step(Signals(gap=None, cross_entropy=3.0))
    assert balance.coefficient == pytest.approx(0.3 * math.exp(0.2))
    balance.step(Signals(gap=None, cross_entropy=0.0))
    assert balance.coefficient == pytest.approx(0.3 * math.exp(0.1))


def test_a_guided_student_weighs_both_and_its_rival_reward_alone() -> None:
    weights = Lagrangian(alpha=1.0, coefficient=0.25).weights(DISTANCE)
    assert weights.reward.tolist() == [[1.0], [1.0]]
    assert weights.teacher.tolist() == [[0.25], [0.0]]
    assert weights.imitation.tolist() == [[0.0], [0.0]]


def test_baselines_weigh_as_they_are_defined() -> None:
    one = DISTANCE[:1]
    assert [w.item() for w in RewardOnly().weights(one)] == [1.0, 0.0, 0.0]
    assert [w.item() for w in Imitation().weights(one)] == [0.0, 0.0, 1.0]
    assert [w.item() for w in Fixed(0.5).weights(one)] == [1.0, 0.5, 0.0]
    shaping = Shaping().weights(DISTANCE)
    assert shaping.reward.tolist() == [[1.0], [0.0]]
    assert shaping.imitation.tolist() == [[0.0], [1.0]]


def test_advisor_imitates_where_the_imitator_can() -> None:
    weights = Advisor(sharpness=2.0).weights(DISTANCE)
    able = [1.0, math.exp(-2.0)]  # the imitator's distances are 0 and 1
    assert weights.imitation[0].tolist() == pytest.approx(able)
    assert weights.reward[0].tolist() == pytest.approx([1 - x for x in able])
    assert weights.imitation[1].tolist() == [1.0, 1.0]
    assert weights.reward[1].tolist() == [0.0, 0.0]
    assert not weights.teacher.any()


@pytest.mark.parametrize("kind", [Lagrangian, LogSteps, SignSteps, Cosil])
def test_a_restored_balance_goes_on_where_it_was(kind: type) -> None:
    balance, other = kind(), kind()
    balance.step(Signals(gap=-7.0, cross_entropy=2.0))
    other.load_state_dict(balance.state_dict())
    assert other.coefficient == balance.coefficient != kind().coefficient


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (
            Lagrangian,
            {"coefficient": 4.0, "alpha": 3.0},
            "balance.coefficient=4.0: at most balance.alpha=3.0",
        ),
        (Lagrangian, {"lr": 0.0}, "balance.lr=0.0: must be positive"),
        (LogSteps, {"coefficient": 5.0}, "balance.coefficient=5.0: must lie in low..high"),
        (Fixed, {"coefficient": float("nan")}, "balance.coefficient=nan: must be positive"),
        (Advisor, {"sharpness": -1.0}, "balance.sharpness=-1.0: must be positive"),
    ],
)
def test_senseless_settings_are_refused(kind: type, values: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        kind(**values)
