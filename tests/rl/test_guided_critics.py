"""What policies may expect: of choices exactly, of continuous actions by one sample."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from robofb.policies.squashed import SquashedGaussian
from robofb.policies.student import Choices, StudentPolicy
from robofb.rl.guided_critics import ChoiceMath, ContinuousMath, GuidedCritics, Values
from robofb.types import ArraySpec, EnvSpec

CHOICES = ArraySpec((1,), "int64", low=(0,), high=(2,))
BOX = ArraySpec((2,), low=(-2.0, 0.0), high=(2.0, 1.0))


def make_policy(action: ArraySpec, memory: int = 0) -> StudentPolicy:
    spec = EnvSpec("toy", {"state": ArraySpec((3,))}, action, 0.1, 10)
    generator = torch.Generator().manual_seed(0)
    return StudentPolicy(spec, ["state"], num_policies=2, hidden=(8,), memory=memory, generator=generator)


class Table:
    """Critics of two policies, M = 1, three choices, whose values are written down."""

    reward = torch.tensor([[[[1.0, 2.0, 3.0]], [[2.0, 1.0, 9.0]]], [[[0.0, 0.0, 0.0]], [[4.0, 4.0, 4.0]]]])
    teacher = torch.tensor([[[-1.0, -2.0, -9.0]]])

    def __call__(self, features: Tensor, action: Tensor | None = None) -> Values:
        return Values(self.reward, self.teacher)


def test_expectations_over_choices_are_exact() -> None:
    probs = torch.tensor([[[0.5, 0.25, 0.25]], [[1 / 3, 1 / 3, 1 / 3]]])  # two policies at one state
    teacher = torch.tensor([[0.1, 0.8, 0.1]]).log()
    outlook = ChoiceMath().outlook(Table(), torch.zeros(1, 1, 3), Choices(probs.log()), teacher)
    # The lower critic of reward by choice: 1, 1, 3.
    assert outlook.reward[0].item() == pytest.approx(0.5 * 1 + 0.25 * 1 + 0.25 * 3)
    cross = -(0.75 * math.log(0.1) + 0.25 * math.log(0.8))
    assert outlook.cross_entropy[0].item() == pytest.approx(cross)
    assert outlook.teacher[0].item() == pytest.approx(-0.5 - 0.5 - 2.25 - cross)
    assert outlook.teacher[1].item() == 0.0
    assert outlook.entropy[0].item() == pytest.approx(1.5 * math.log(2))
    assert outlook.entropy[1].item() == pytest.approx(math.log(3))
    distance = 0.1 * math.log(0.1 / 0.5) + 0.8 * math.log(0.8 / 0.25) + 0.1 * math.log(0.1 / 0.25)
    assert outlook.distance[0].item() == pytest.approx(distance)


def test_who_does_what_an_undecided_teacher_does_is_at_no_distance() -> None:
    """Else ADVISOR would take a teacher with two equally good moves for one that cannot be followed."""
    answer = torch.tensor([[0.49, 0.49, 0.02]]).log()
    outlook = ChoiceMath().outlook(Table(), torch.zeros(1, 1, 3), Choices(answer.expand(2, 1, 3)), answer)
    assert outlook.distance.abs().max().item() < 1e-6


def test_the_value_of_a_choice_that_was_taken() -> None:
    taken = ChoiceMath().taken(Table(), torch.zeros(1, 1, 3), torch.tensor([2]))
    assert taken.reward[:, :, 0].tolist() == [[3.0, 9.0], [0.0, 4.0]]
    assert taken.teacher.tolist() == [[-9.0]]


def test_the_continuous_teachers_word_is_a_scaled_squared_error() -> None:
    actions = ContinuousMath(0.5, torch.Generator().manual_seed(0))
    word = actions.cross_entropy(torch.tensor([[0.3, -0.1]]), torch.tensor([[0.0, 0.3]]))
    assert word.item() == pytest.approx((0.09 + 0.16) / 0.5)


def test_continuous_expectations_are_of_one_action_each() -> None:
    policy = make_policy(BOX)
    critics = GuidedCritics(
        policy, hidden=(8,), foresees_teacher=True, generator=torch.Generator().manual_seed(1)
    )
    features = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(2))
    wanted = policy.distribution(features)
    assert isinstance(wanted, SquashedGaussian)
    answer = torch.zeros(5, 2)
    outlook = ContinuousMath(0.5, torch.Generator().manual_seed(3)).outlook(critics, features, wanted, answer)
    noise = torch.randn(2, 5, 2, generator=torch.Generator().manual_seed(3))
    action, log_prob = wanted.sample(noise)
    inputs = [torch.cat([features[0], action[index]], -1) for index in range(2)]

    for index in range(2):  # each by itself, through the critics' own networks
        both = torch.stack([_through(critics, 2 * index + k, inputs[index])[:, 0] for k in range(2)])
        torch.testing.assert_close(outlook.reward[index], both.amin(0))
    cross = (action[0] ** 2).sum(-1) / 0.5
    torch.testing.assert_close(outlook.teacher[0], _through(critics, 4, inputs[0])[:, 0] - cross)
    assert not outlook.teacher[1].any()
    torch.testing.assert_close(outlook.entropy, -log_prob)


def _through(critics: GuidedCritics, member: int, x: Tensor) -> Tensor:
    """Compute one member layer by layer, by torch's own functions."""
    last = len(critics.nets.weights) - 1
    for index, (weight, bias) in enumerate(zip(critics.nets.weights, critics.nets.biases, strict=True)):
        x = x @ weight[member] + bias[member]
        if index < last:
            x = torch.relu(torch.nn.functional.layer_norm(x, x.shape[-1:]))
    return x
