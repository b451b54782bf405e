"""Tests of robofb.rl.iql."""

import pytest
import torch

from robofb.policies.gaussian import relu_mlp
from robofb.rl.iql import IQL, expectile_loss
from robofb.rl.q_ensemble import QEnsemble


def test_expectile_loss_by_hand():
    """0.8 * 2^2 and 0.2 * (-3)^2, the mean of both."""
    assert expectile_loss(torch.tensor([2.0, -3.0]), 0.8).item() == pytest.approx((3.2 + 1.8) / 2)


@pytest.mark.parametrize(("expectile", "expected"), [(0.5, 0.25), (0.9, 0.75)])
def test_the_expectile_is_where_the_loss_is_least(expectile, expected):
    """Of 1 with chance p = 1/4 and else 0: e p / (e p + (1 - e) (1 - p)), where the loss is flat."""
    assert expected == pytest.approx(expectile * 0.25 / (expectile * 0.25 + (1 - expectile) * 0.75))
    values = torch.tensor([1.0, 0.0, 0.0, 0.0])
    grid = torch.linspace(0, 1, 1001)
    losses = torch.stack([expectile_loss(values - m, expectile) for m in grid])
    assert grid[losses.argmin()].item() == pytest.approx(expected, abs=1e-3)


def make_iql(seed: int = 0, **settings) -> IQL:
    generator = torch.Generator().manual_seed(seed)
    q = QEnsemble(1, 1, hidden=[16], generator=generator)
    return IQL(q, relu_mlp(1, [16], 1, out_bias=True, generator=generator), lr=3e-3, tau=0.1, **settings)


def batch_of(seed: int) -> dict[str, torch.Tensor]:
    """One decision and the episode ends: it pays 1 for the action 1 and nothing for -1, drawn alike."""
    action = torch.randint(2, (64, 1), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1.0
    batch = {"obs": torch.zeros(64, 1), "next_obs": torch.zeros(64, 1), "discount": torch.zeros(64)}
    return batch | {"action": action, "reward": (action[:, 0] > 0).float()}


@pytest.mark.parametrize("expectile", [0.5, 0.9])
def test_q_tells_good_from_bad_and_v_is_the_expectile_between(expectile):
    iql = make_iql(expectile=expectile)
    for seed in range(900):
        iql.update(batch_of(seed))
    q = iql.q(torch.zeros(2, 1), torch.tensor([[1.0], [-1.0]])).mean(0)
    assert q.tolist() == pytest.approx([1.0, 0.0], abs=0.05)
    assert iql.v(torch.zeros(1, 1)).item() == pytest.approx(expectile, abs=0.07)  # p = 1/2: e itself


def test_a_restored_learner_goes_on_exactly():
    first, second = make_iql(), make_iql(seed=1)
    for seed in range(3):
        first.update(batch_of(seed))
    second.q.load_state_dict(first.q.state_dict())
    second.v.load_state_dict(first.v.state_dict())
    second.load_state_dict(first.state_dict())
    for seed in range(3, 6):
        metrics = [iql.update(batch_of(seed)) for iql in (first, second)]
        assert metrics[0] == metrics[1]
