"""Many agents at once learn what each would learn alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from robofb.nets.stacked import StackedMlp
from robofb.policies.single_task import SingleTaskAgent, SingleTaskPolicies
from robofb.policies.squashed import SquashedGaussian
from robofb.rl.single_task import ChoiceLearner, ContinuousLearner, log_integral
from robofb.rng import EpisodeRng
from robofb.types import ArraySpec, EnvSpec

STATE = {"state": ArraySpec((1,))}
CHOICES = EnvSpec("toy", STATE, ArraySpec((1,), "int64", low=(0,), high=(2,)), 0.1, 10)
BOX = EnvSpec("toy", STATE, ArraySpec((1,), low=(-2.0,), high=(4.0,)), 0.1, 10)


def make(spec: EnvSpec, num_agents: int) -> SingleTaskPolicies:
    return SingleTaskPolicies(spec, num_agents, hidden=[16], generator=torch.Generator().manual_seed(0))


def choices_batch(count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Return steps in which agent k is paid for choice k; another choice leads on to the same state."""
    action = torch.randint(3, (3, count, 1), generator=generator)
    right = action[..., 0] == torch.arange(3)[:, None]
    state = torch.zeros(3, count, 1)
    return {
        "state": state,
        "next_state": state,
        "action": action,
        "reward": right.float(),
        "discount": 0.5 * (~right).float(),
    }


def test_each_agent_learns_its_own_values() -> None:
    """The right choice ends with 1; any other is worth half of what comes next: 0.5."""
    policies = make(CHOICES, 3)
    learner = ChoiceLearner(policies, lr=1e-2, tau=0.1)
    generator = torch.Generator().manual_seed(1)
    for _ in range(400):
        learner.update(choices_batch(32, generator))
    values = policies(torch.zeros(3, 1, 1))[:, 0]
    expected = 0.5 + 0.5 * torch.eye(3)
    torch.testing.assert_close(values, expected, atol=0.05, rtol=0)


def test_soft_values_are_by_hand() -> None:
    """At 0.5 a wrong choice of three is worth 0.5 V and the right one 1, where V = 0.5 log sum exp(2 Q)."""
    policies = make(CHOICES, 3)
    learner = ChoiceLearner(policies, lr=1e-2, tau=0.1, temperature=0.5)
    generator = torch.Generator().manual_seed(1)
    for _ in range(600):
        learner.update(choices_batch(32, generator))
    worth = 1.0
    for _ in range(100):
        worth = 0.5 * math.log(math.exp(2.0) + 2 * math.exp(2.0 * 0.5 * worth))
    expected = torch.full((3, 3), 0.5 * worth).fill_diagonal_(1.0)
    torch.testing.assert_close(policies(torch.zeros(3, 1, 1))[:, 0], expected, atol=0.05, rtol=0)


def box_batch(count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Return single steps that pay agent k for being near its own of three places."""
    action = 2 * torch.rand(3, count, 1, generator=generator) - 1
    goal = torch.tensor([-0.5, 0.0, 0.5])[:, None, None]
    state = torch.zeros(3, count, 1)
    return {
        "state": state,
        "next_state": state,
        "action": action,
        "reward": -((action - goal) ** 2)[..., 0],
        "discount": torch.zeros(3, count),
    }


def test_each_continuous_agent_finds_its_own_place() -> None:
    policies = make(BOX, 3)
    learner = ContinuousLearner(
        policies,
        torch.Generator().manual_seed(2),
        lr=5e-3,
        tau=0.1,
        temperature=1e-3,
        target_entropy=None,
    )
    generator = torch.Generator().manual_seed(1)
    for _ in range(600):
        learner.update(box_batch(64, generator))
    found = policies.best(policies(torch.zeros(3, 1, 1)))[:, 0, 0]
    torch.testing.assert_close(found, torch.tensor([-0.5, 0.0, 0.5]), atol=0.1, rtol=0)
    torch.testing.assert_close(
        policies.scale.to_env(torch.tensor([[-1.0], [0.5]])), torch.tensor([[-2.0], [2.5]])
    )


def test_the_integral_over_actions_is_that_of_a_value_one_can_integrate() -> None:
    """Q = w a and w' a: the integral of exp Q over [-1, 1] is 2 sinh(w) / w; the estimate has no bias."""
    slopes = torch.tensor([1.5, -0.5])
    critics = StackedMlp([2, 1], 2)
    with torch.no_grad():
        critics.weights[0].copy_(torch.stack([torch.zeros(2), slopes], 1)[..., None])
        critics.biases[0].zero_()
    generator = torch.Generator().manual_seed(3)

    def draw(state: Tensor) -> tuple[Tensor, Tensor]:
        wide = SquashedGaussian(torch.full(state.shape, 0.3), torch.zeros(state.shape), 1.0)
        return wide.sample(torch.randn(state.shape, generator=generator))

    states = torch.zeros(1, 4000, 1)
    found = log_integral(critics, {"state": states, "next_state": states}, draw, 1, generator)
    expected = 2 * slopes.sinh() / slopes
    torch.testing.assert_close(found.exp().mean((0, 2)), expected, rtol=0.02, atol=0)


def test_conservatism_keeps_continuous_actions_where_the_data_is() -> None:
    """Data lie in the lower half; values rise towards the upper end, where nothing contradicts them."""
    found = {}
    for weight in (0.0, 1.0):
        policies, generator = make(BOX, 3), torch.Generator().manual_seed(1)
        learner = ContinuousLearner(
            policies,
            torch.Generator().manual_seed(2),
            lr=5e-3,
            tau=0.1,
            temperature=1e-2,
            target_entropy=None,
            conservatism=weight,
        )
        for _ in range(300):
            batch = box_batch(64, generator)
            batch["action"] = batch["action"] * 0.4 - 0.5  # -0.9 to -0.1
            batch["reward"] = batch["action"][..., 0]
            learner.update(batch)
        found[weight] = policies.best(policies(torch.zeros(3, 1, 1))).flatten()
    assert (found[0.0] > 0.5).all()
    assert (found[1.0] < 0.1).all() and (found[1.0] > -0.9).all()


@pytest.mark.parametrize("spec", [CHOICES, BOX])
def test_no_agent_notices_the_others(spec: EnvSpec) -> None:
    """Whatever the third one is paid, the first two end up with the same weights."""
    weights = []
    for factor in (1.0, -3.0):
        policies = make(spec, 3)
        learner = (
            ChoiceLearner(policies, lr=1e-2, tau=0.1)
            if spec is CHOICES
            else ContinuousLearner(
                policies,
                torch.Generator().manual_seed(2),
                lr=1e-2,
                tau=0.1,
                temperature=0.1,
                target_entropy=-1.0,
            )
        )
        generator = torch.Generator().manual_seed(1)
        for _ in range(5):
            batch = (choices_batch if spec is CHOICES else box_batch)(16, generator)
            batch["reward"][2] *= factor
            learner.update(batch)
        weights.append([weight.detach().clone() for weight in policies.net.parameters()])
    assert all(torch.equal(one[:2], other[:2]) for one, other in zip(*weights, strict=True))
    assert not torch.equal(weights[0][-1][2], weights[1][-1][2])


@pytest.mark.parametrize("spec", [CHOICES, BOX])
def test_a_learner_goes_on_where_it_was_saved(spec: EnvSpec) -> None:
    def learner_of(policies: SingleTaskPolicies) -> ChoiceLearner | ContinuousLearner:
        if spec is CHOICES:
            return ChoiceLearner(policies, lr=1e-2, tau=0.1)
        generator = torch.Generator().manual_seed(2)
        return ContinuousLearner(policies, generator, lr=1e-2, tau=0.1, temperature=0.1, target_entropy=-1.0)

    batch = choices_batch if spec is CHOICES else box_batch
    whole, first, second = (make(spec, 3) for _ in range(3))
    whole_learner, first_learner, second_learner = (learner_of(each) for each in (whole, first, second))
    generator, again = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    for _ in range(6):
        whole_learner.update(batch(8, generator))
    for _ in range(3):
        first_learner.update(batch(8, again))
    second.load_state_dict(first.state_dict())
    second_learner.load_state_dict(first_learner.state_dict())
    for _ in range(3):
        second_learner.update(batch(8, again))
    for one, other in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_exploring_choices_are_drawn_as_often_as_said() -> None:
    policies = make(CHOICES, 2)
    out = torch.tensor([5.0, 0.0, 0.0]).expand(2, 5000, 3)
    rng = EpisodeRng(torch.arange(10_000))
    drawn = policies.explored(out, rng, 0.3)
    share = (drawn != 0).float().mean().item()
    assert share == pytest.approx(0.3 * 2 / 3, abs=0.02)
    assert (policies.explored(out, rng, 0.0) == 0).all()


def test_an_agent_acts_in_the_envs_of_its_own_task() -> None:
    policies = make(CHOICES, 2)
    with torch.no_grad():
        for weight in policies.net.parameters():
            weight.zero_()
        policies.net.biases[-1][0, 0, 1] = 1.0  # the first agent always takes 1, the second one 2
        policies.net.biases[-1][1, 0, 2] = 1.0
    action = SingleTaskAgent(policies, 6).next({"state": torch.zeros(6, 1)})
    assert action.flatten().tolist() == [1, 1, 1, 2, 2, 2]
    with pytest.raises(ValueError, match="5 envs cannot be shared evenly by 2 policies"):
        SingleTaskAgent(policies, 5)
