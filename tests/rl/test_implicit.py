"""Implicit Q-learning values and prefers what the data holds, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from robofb.policies.single_task import SingleTaskPolicies
from robofb.rl.implicit import ImplicitLearner
from robofb.types import ArraySpec, EnvSpec

STATE = {"state": ArraySpec((1,))}
CHOICES = EnvSpec("toy", STATE, ArraySpec((1,), "int64", low=(0,), high=(2,)), 0.1, 10)
BOX = EnvSpec("toy", STATE, ArraySpec((1,), low=(-2.0,), high=(4.0,)), 0.1, 10)


def make(spec: EnvSpec, num_agents: int, **changes: float) -> ImplicitLearner:
    generator = torch.Generator().manual_seed(0)
    policies = SingleTaskPolicies(spec, num_agents, hidden=[16], generator=generator)
    settings = {"lr": 5e-3, "tau": 0.1, "expectile": 0.9, "advantage_scale": 10.0} | changes
    return ImplicitLearner(policies, generator, **settings)


def batch_of(action: Tensor, reward: Tensor, discount: float = 0.0) -> dict[str, Tensor]:
    """Return steps of one and the same state."""
    state = torch.zeros(*reward.shape, 1)
    return {
        "state": state,
        "next_state": state,
        "action": action,
        "reward": reward,
        "discount": torch.full_like(reward, discount),
    }


def choices_batch(count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Return choices 0, which pays nothing, and 1, which pays 1; nobody ever took 2."""
    action = torch.randint(2, (2, count, 1), generator=generator)
    return batch_of(action, action[..., 0].float())


def test_the_value_of_a_state_is_the_expectile_of_its_actions_values() -> None:
    """Where 0 and 1 are as frequent, e (1 - m) = (1 - e) m gives m = e; with a discount, m / (1 - 0.5)."""
    generator = torch.Generator().manual_seed(1)
    for expectile in (0.5, 0.9):
        learner = make(CHOICES, 2, expectile=expectile)
        for _ in range(600):
            learner.update(choices_batch(64, generator))
        value = learner.v(torch.zeros(2, 1, 1)).flatten()
        torch.testing.assert_close(value, torch.full((2,), expectile), atol=0.03, rtol=0)


def test_values_count_what_comes_later() -> None:
    learner = make(CHOICES, 1, expectile=0.5)
    action = torch.zeros(1, 32, 1, dtype=torch.int64)
    for _ in range(800):  # 1 + 0.5 * (1 + 0.5 * ...) = 2
        learner.update(batch_of(action, torch.ones(1, 32), discount=0.5))
    assert learner.v(torch.zeros(1, 1, 1)).item() == pytest.approx(2.0, abs=0.03)


def test_the_better_choice_is_preferred_and_the_untried_one_is_not() -> None:
    learner, generator = make(CHOICES, 2), torch.Generator().manual_seed(1)
    for _ in range(400):
        learner.update(choices_batch(64, generator))
    chances = learner.policies(torch.zeros(2, 1, 1)).softmax(-1)[:, 0]
    assert (chances[:, 1] > 0.9).all() and (chances[:, 2] < 0.02).all()


def test_imitates_where_advantages_do_not_count() -> None:
    learner, generator = make(CHOICES, 1, advantage_scale=0.0), torch.Generator().manual_seed(1)
    action = (torch.rand(1, 4096, 1, generator=generator) < 0.25).long()
    for _ in range(300):
        learner.update(batch_of(action, action[..., 0].float()))
    share = action.float().mean().item()
    chances = learner.policies(torch.zeros(1, 1, 1)).softmax(-1).flatten()
    assert chances[1].item() == pytest.approx(share, abs=0.02)


def test_continuous_actions_stay_where_the_data_is() -> None:
    """The goals are -0.5, in the middle of the data, and 0.9, which lies far outside."""
    learner, generator = make(BOX, 2), torch.Generator().manual_seed(1)
    goal = torch.tensor([-0.5, 0.9])[:, None, None]
    for _ in range(900):
        action = -1 + 1.2 * torch.rand(2, 128, 1, generator=generator)  # -1 to 0.2
        learner.update(batch_of(action, -((action - goal) ** 2)[..., 0]))
    found = learner.policies.best(learner.policies(torch.zeros(2, 1, 1))).flatten()
    assert found[0].item() == pytest.approx(-0.5, abs=0.12)
    assert 0.0 < found[1].item() < 0.3


@pytest.mark.parametrize("spec", [CHOICES, BOX])
def test_goes_on_where_it_was_saved_and_no_agent_notices_the_others(spec: EnvSpec) -> None:
    def some(generator: torch.Generator, factor: float = 1.0) -> dict[str, Tensor]:
        batch = choices_batch(16, generator)
        if spec is BOX:
            batch["action"] = batch["action"] - 0.5
        batch["reward"][1] *= factor
        return batch

    whole, first, second, other = (make(spec, 2) for _ in range(4))
    for learner, updates, factor in ((whole, 6, 1.0), (other, 6, -2.0), (first, 3, 1.0)):
        generator = torch.Generator().manual_seed(1)
        for _ in range(updates):
            learner.update(some(generator, factor))
    second.policies.load_state_dict(first.policies.state_dict())
    second.load_state_dict(first.state_dict())
    for _ in range(3):
        second.update(some(generator))
    for one, resumed, foreign in zip(
        *(each.policies.net.parameters() for each in (whole, second, other)), strict=True
    ):
        assert torch.equal(one, resumed)
        assert torch.equal(one[0], foreign[0])
    assert not torch.equal(one[1], foreign[1])
