from functools import partial

import pytest
import torch
from torch import nn

from policies.test_diffusion import SPEC, STATS, batch_of, stats_of
from robofb.errors import UserError
from robofb.nets.mlp import MlpRegressor
from robofb.policies.mlp_chunk import MlpChunkPolicy
from robofb.rng import EpisodeRng
from robofb.train.bc_learner import BcLearner


class Constant(nn.Module):
    """A network without knowledge: predicts one number and remembers what it was given."""

    def __init__(self, action_dim, horizon, cond_dim):
        super().__init__()
        self.sizes = (action_dim, horizon, cond_dim)
        self.constant = nn.Parameter(torch.tensor(0.25))

    def forward(self, cond):
        self.cond = cond
        return self.constant.expand(len(cond), self.sizes[1], self.sizes[0])


def make(regressor=Constant, **changes):
    policy = MlpChunkPolicy(SPEC, regressor, **{"horizon": 4, "execute": 2, **changes})
    policy.set_stats(STATS)
    return policy


def act(policy, state):
    return policy.act({"state": state}, EpisodeRng(torch.arange(len(state))))


def test_the_network_is_given_its_sizes_and_normalised_histories():
    policy = make(obs_keys=("state", "goal"), obs_history=2)
    assert policy.regressor.sizes == (2, 4, 6)
    obs = {"state": torch.tensor([[[0.0, 4.0], [2.0, 1.0]]]), "goal": torch.tensor([[[0.5], [-1.0]]])}
    policy.act(obs, EpisodeRng(torch.zeros(1, dtype=torch.int64)))
    torch.testing.assert_close(policy.regressor.cond, torch.tensor([[-1.0, 1.0, 1.0, -0.5, 0.5, -1.0]]))


def test_acts_in_environment_units_within_the_clip():
    policy = make()
    # The normalised action 0.25 of ranges [0, 4] and [10, 12].
    torch.testing.assert_close(act(policy, torch.zeros(3, 1, 2)), torch.tensor([2.5, 11.25]).expand(3, 4, 2))
    policy.regressor.constant.data.fill_(7.0)
    torch.testing.assert_close(act(policy, torch.zeros(1, 1, 2))[0, 0], torch.tensor([4.0, 12.0]))


@pytest.mark.parametrize(("error", "expected"), [("l1", (0.75 + 0.25) / 2), ("l2", (0.5625 + 0.0625) / 2)])
def test_loss_by_hand(error, expected):
    action = torch.tensor([[[4.0, 11.0]] * 4])  # normalised (1, 0)
    loss, metrics = make(error=error).loss(batch_of(action))
    assert loss.item() == pytest.approx(expected)
    assert metrics["loss"].item() == pytest.approx(expected)


def test_weights_weigh_and_padded_rows_are_trained_on():
    action = torch.tensor([[[4.0, 12.0]] * 4, [[2.0, 11.0]] * 4])  # errors 0.75 and 0.25
    batch = batch_of(action, weight=torch.tensor([3.0, 1.0]))
    padded = batch._replace(mask=torch.tensor([[True, False, False, False]] * 2))
    for given in (batch, padded):
        assert make().loss(given)[0].item() == pytest.approx((3 * 0.75 + 0.25) / 4)


class OneInThree:
    """Windows without a clue, whose normalised action is 0, 0 or 0.9."""

    device = torch.device("cpu")

    def sample(self, batch_size, generator):
        number = torch.randint(3, (batch_size, 1, 1), generator=generator)
        return batch_of((0.9 * (number == 2)).float().expand(-1, 4, 2))


@pytest.mark.parametrize(("error", "expected"), [("l1", 0.0), ("l2", 0.3)])
def test_learns_the_median_or_the_mean(error, expected):
    torch.manual_seed(0)
    policy = make(partial(MlpRegressor, width=16, num_blocks=1), error=error)
    policy.set_stats({**STATS, "action": stats_of([-1.0, -1.0], [1.0, 1.0])})
    learner = BcLearner(
        policy,
        OneInThree(),
        batch_size=128,
        lr=1e-2,
        weight_decay=0.0,
        warmup_steps=10,
        total_steps=150,
        ema_decay=0.9,
        grad_clip=1.0,
        seed=0,
    )
    for _ in range(150):
        learner.step()
    torch.testing.assert_close(
        act(learner.ema.model, torch.zeros(1, 1, 2)), torch.full((1, 4, 2), expected), rtol=0, atol=0.04
    )


def test_refuses_in_one_line():
    with pytest.raises(UserError, match="error 'l3' is unknown; valid: l1, l2"):
        make(error="l3")
    with pytest.raises(UserError, match="clip=None: needs a number above 0"):
        make(clip=None)
    with pytest.raises(UserError, match="execute=5"):
        make(execute=5)
