"""Tests of robofb.policies.steered."""

from functools import partial

import pytest
import torch
from fakes import POINT_SPEC, UNIT_RANGE, BiasedPolicy, NoisyPolicy

from robofb.errors import UserError
from robofb.nets.mlp import MlpDenoiser
from robofb.policies.diffusion import DiffusionPolicy
from robofb.policies.steered import SteeredPolicy
from robofb.rng import EpisodeRng


def steered(**settings) -> SteeredPolicy:
    return SteeredPolicy(POINT_SPEC, lambda spec: NoisyPolicy(), obs_dim=4, hidden=[8], **settings)


def streams(count: int = 3) -> EpisodeRng:
    return EpisodeRng(torch.arange(count))


OBS = {"state": torch.tensor([[[0.0, 0.0, 0.2, 0.1]]] * 3)}


def test_the_picked_noise_is_what_the_base_starts_from():
    """The base heads for what it sees, (0.2, 0.1), shifted by 0.1 times the first noise row."""
    policy = steered()
    noise = torch.zeros(3, 16)
    noise[:, :2] = torch.tensor([0.7, -0.5])
    chunk = policy.chunk(policy.encode(OBS), noise)
    torch.testing.assert_close(chunk, torch.tensor([0.27, 0.05]).expand(3, 8, 2))
    shared = steered(shared_noise=True)
    assert (policy.noise_dim, shared.noise_dim) == (16, 2)
    torch.testing.assert_close(shared.chunk(policy.encode(OBS), noise[:, :2]), chunk)


def test_acts_by_the_mode_and_explores_around_it():
    policy = steered(shared_noise=True)
    assert torch.equal(policy.act(OBS, streams()), policy.act(OBS, EpisodeRng(torch.arange(3) + 9)))
    chunk, columns = policy.explore(OBS, streams())
    assert torch.equal(chunk, policy.chunk(columns["obs"], columns["action"]))
    assert torch.equal(chunk, policy.explore(OBS, streams())[0])
    assert columns["action"].std() > 0.1
    assert columns["action"].abs().max() <= 1.5


def test_wandering_is_the_base_but_for_the_bound():
    policy = steered(bound=9.0)
    assert torch.equal(policy.wander(OBS, streams())[0], policy.base.act(OBS, streams()))
    assert steered(bound=0.3).wander(OBS, streams())[1]["action"].abs().max() == pytest.approx(0.3)


def test_only_the_actor_learns():
    policy = steered()
    assert {name.split(".")[0] for name, p in policy.named_parameters() if p.requires_grad} == {"actor"}
    assert not policy.train().base.training


def test_a_base_that_starts_from_no_noise_is_refused():
    with pytest.raises(UserError, match="BiasedPolicy makes no chunks from noise: DSRL steers diffusion"):
        SteeredPolicy(POINT_SPEC, lambda spec: BiasedPolicy(), obs_dim=4)


def test_steers_a_real_diffusion_policy():
    """Given the noise that the base would draw it does what the base does; other noise changes the chunk."""
    torch.manual_seed(0)
    network = partial(MlpDenoiser, width=16, num_blocks=1)
    base = DiffusionPolicy(POINT_SPEC, network, horizon=4, execute=2)
    base.set_stats({"state": UNIT_RANGE, "action": {name: values[:2] for name, values in UNIT_RANGE.items()}})
    policy = SteeredPolicy(POINT_SPEC, lambda spec: base, obs_dim=4, hidden=[8], bound=9.0)
    chunk, columns = policy.wander(OBS, streams())
    assert torch.equal(chunk, base.act(OBS, streams()))
    assert columns["action"].shape == (3, 8)
    assert not torch.equal(chunk, policy.chunk(columns["obs"], -columns["action"]))
