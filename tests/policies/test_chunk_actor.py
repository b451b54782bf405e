"""Tests of robofb.policies.chunk_actor."""

import pytest
import torch
from fakes import AimingPolicy, BiasedPolicy

from robofb.errors import UserError
from robofb.policies.chunk_actor import ChunkActorCritic
from robofb.rl.ppo_losses import gaussian_kl
from robofb.rng import EpisodeRng

OBS = {"state": torch.tensor([[[0.0, 0.0, 0.2, 0.1]]] * 2000)}


def around(policy, learn_std: bool = False) -> ChunkActorCritic:
    return ChunkActorCritic(policy, 4, hidden=[8], init_log_std=-2.0, learn_std=learn_std)


def test_explores_the_executed_rows_around_the_policys_own_chunk():
    policy = AimingPolicy()
    networks = around(policy)
    rng = EpisodeRng(torch.arange(2000))
    chunk, columns = networks.explore(OBS, rng)
    own = policy.act(OBS, rng)
    assert chunk.shape == (2000, policy.execute, 2)
    torch.testing.assert_close(chunk.mean(0), own[0, : policy.execute], atol=0.015, rtol=0)
    torch.testing.assert_close(chunk.std(0), torch.full((4, 2), torch.tensor(-2.0).exp()), atol=0.01, rtol=0)
    expected = torch.distributions.Normal(columns["mean"], torch.tensor(-2.0).exp())
    torch.testing.assert_close(columns["log_prob"], expected.log_prob(columns["action"]).sum(1))


def test_is_clipped_as_the_policy_is():
    policy = AimingPolicy()
    policy.clip = 0.1
    chunk, columns = around(policy).explore(OBS, EpisodeRng(torch.arange(2000)))
    assert chunk.max() == pytest.approx(0.1)
    assert columns["action"].max() > 0.3  # what was drawn


def test_the_frozen_copy_stays_while_the_policys_own_network_learns():
    policy = AimingPolicy().requires_grad_(False)
    networks = around(policy, learn_std=True)
    cond = policy.encode(OBS)
    assert torch.equal(networks.distribution(cond).mean, networks.reference(cond).mean)
    optimizer = torch.optim.SGD(networks.actor.parameters(), lr=0.1)
    networks.distribution(cond).mean.sum().backward()
    optimizer.step()
    now, before = networks.distribution(cond), networks.reference(cond)
    assert not torch.equal(policy.act(OBS, EpisodeRng(torch.arange(2000))), AimingPolicy().act(OBS, None))
    # The same deviation on both sides: half the squared shift over the variance, summed.
    shift = (now.mean - before.mean)[0]
    expected = 0.5 * (shift**2).sum() / torch.tensor(-4.0).exp()
    kl = gaussian_kl(now.mean, now.log_std, before.mean, before.log_std)
    torch.testing.assert_close(kl[0], expected)


def test_a_policy_that_is_no_regression_is_refused():
    with pytest.raises(UserError, match="BiasedPolicy predicts no chunk by itself: direct PPO trains"):
        around(BiasedPolicy())
