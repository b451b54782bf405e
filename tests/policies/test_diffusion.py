import copy
import shutil
import sysconfig
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from robofb.errors import UserError
from robofb.nets.denoiser import Denoiser
from robofb.nets.mlp import MlpDenoiser
from robofb.nets.transformer1d import Transformer1D
from robofb.nets.unet1d import UNet1D
from robofb.policies.diffusion import SMALL_BATCH, DiffusionPolicy
from robofb.policies.flow import FlowSchedule
from robofb.rng import EpisodeRng, derive_seeds
from robofb.train.bc_learner import BcLearner
from robofb.types import ArraySpec, Batch, EnvSpec

SPEC = EnvSpec(
    task="toy",
    obs={
        "state": ArraySpec((2,), unit="m", names=("x", "y")),
        "goal": ArraySpec((1,), unit="m", names=("goal",)),
        "front": ArraySpec((3, 4, 5), "uint8", "sRGB"),
    },
    action=ArraySpec((2,), unit="m", names=("target_x", "target_y")),
    control_dt=0.1,
    max_steps=20,
)


def stats_of(low, high):
    low, high = torch.tensor(low), torch.tensor(high)
    return {"min": low, "max": high, "mean": (low + high) / 2, "std": (high - low) / 4}


STATS = {
    "state": stats_of([0.0, 0.0], [2.0, 4.0]),
    "goal": stats_of([-1.0], [1.0]),
    "action": stats_of([0.0, 10.0], [4.0, 12.0]),
}


class Remember(Denoiser):
    """A network without knowledge: predicts a constant and remembers what it was given."""

    def __init__(self, action_dim, horizon, cond_dim):
        super().__init__()
        self.sizes = (action_dim, horizon, cond_dim)
        self.constant = nn.Parameter(torch.tensor(0.25))
        self.step = self.cond = nn.Identity()

    def context(self, step_features, cond_features):
        pairs = torch.broadcast_shapes(step_features.shape, cond_features.shape[:-1])
        return step_features.expand(pairs), cond_features.expand(*pairs, -1)

    def denoise(self, noisy, context):
        self.noisy, (self.steps, self.seen) = noisy, context
        return self.constant.expand_as(noisy)


def make(denoiser=Remember, **changes):
    policy = DiffusionPolicy(SPEC, denoiser, **{"horizon": 4, "execute": 2, **changes})
    policy.set_stats(STATS)
    return policy


def batch_of(action, state=None, weight=None):
    size = len(action)
    state = torch.zeros(size, 1, 2) if state is None else state
    mask = torch.ones(action.shape[:2], dtype=torch.bool)
    return Batch({"state": state}, action, mask, torch.ones(size) if weight is None else weight)


def test_the_network_is_given_its_sizes():
    policy = make(obs_keys=("state", "goal"), obs_history=3)
    assert policy.denoiser.sizes == (2, 4, 9)


def test_conditioning_by_hand():
    policy = make(obs_keys=("goal", "state"), obs_history=2)
    obs = {
        "state": torch.tensor([[[0.0, 4.0], [2.0, 1.0]]]),  # normalised (-1, 1), (1, -0.5)
        "goal": torch.tensor([[[0.5], [90.0]]]),  # 0.5, and 90 clamped to 3
    }
    expected = torch.tensor([[0.5, 3.0, -1.0, 1.0, 1.0, -0.5]])
    torch.testing.assert_close(policy.encode(obs), expected)


def test_a_known_prediction_comes_back_in_environment_units():
    policy = make()
    chunk = policy.act({"state": torch.zeros(5, 1, 2)}, EpisodeRng(torch.arange(5)))
    # The normalised action 0.25 of ranges [0, 4] and [10, 12].
    torch.testing.assert_close(chunk, torch.tensor([2.5, 11.25]).expand(5, 4, 2))


def test_the_action_is_clipped_to_the_data_but_never_clamped_like_the_state():
    policy = make()
    policy.denoiser.constant.data.fill_(7.0)
    chunk = policy.act({"state": torch.zeros(1, 1, 2)}, EpisodeRng(torch.zeros(1, dtype=torch.int64)))
    torch.testing.assert_close(chunk[0, 0], torch.tensor([4.0, 12.0]))
    far = batch_of(torch.tensor([[[42.0, 11.0]] * 4]))  # normalised 20, 0
    generator = torch.Generator().manual_seed(0)
    policy.denoiser.constant.data.fill_(0.0)
    assert policy.loss(far, generator)[0].item() == pytest.approx(200.0)


def test_loss_of_sample_prediction_by_hand():
    policy = make(prediction="sample")
    action = torch.tensor([[[4.0, 11.0]] * 4, [[2.0, 12.0]] * 4])  # normalised (1, 0) and (0, 1)
    # Each row: ((1 - 0.25)^2 + 0.25^2) / 2 = 0.3125.
    loss, metrics = policy.loss(batch_of(action))
    assert loss.item() == pytest.approx(0.3125)
    assert metrics["loss"].item() == pytest.approx(0.3125)
    assert not metrics["loss"].requires_grad


def test_loss_of_epsilon_prediction_is_against_the_noise_that_was_added():
    policy = make(prediction="epsilon")
    action = torch.full((64, 4, 2), 2.0) + torch.tensor([0.0, 9.0])  # normalised 0
    loss, _ = policy.loss(batch_of(action), torch.Generator().manual_seed(0))
    seen = policy.denoiser
    noise = seen.noisy / policy.schedule.noise_level[seen.steps][:, None, None]
    assert loss.item() == pytest.approx((noise - 0.25).square().mean().item(), rel=1e-4)
    assert noise.std().item() == pytest.approx(1.0, abs=0.1)
    assert seen.steps.min() >= 0
    assert seen.steps.max() <= 99
    assert len(seen.steps.unique()) > 30


def test_weights_weigh():
    policy = make()
    action = torch.tensor([[[4.0, 12.0]] * 4, [[2.0, 11.0]] * 4])  # errors 0.75^2 and 0.25^2
    loss, _ = policy.loss(batch_of(action, weight=torch.tensor([3.0, 1.0])))
    assert loss.item() == pytest.approx((3 * 0.5625 + 0.0625) / 4)


def test_padded_rows_are_trained_on():
    policy = make()
    action = torch.full((1, 4, 2), 2.0) + torch.tensor([0.0, 9.0])
    padded = batch_of(action)._replace(mask=torch.tensor([[True, False, False, False]]))
    padded.action[0, 1:, 0] = 4.0  # normalised 1
    # One row of 0.25^2, three rows of (0.75^2 + 0.25^2) / 2.
    assert policy.loss(padded)[0].item() == pytest.approx((0.0625 + 3 * 0.3125) / 4)


def test_the_same_generator_gives_the_same_loss():
    torch.manual_seed(0)
    policy = make(partial(MlpDenoiser, width=16))
    batch = batch_of(torch.rand(8, 4, 2))
    losses = [policy.loss(batch, torch.Generator().manual_seed(seed))[0].item() for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("batch", [1, 3, SMALL_BATCH, SMALL_BATCH + 1])
@pytest.mark.parametrize(
    "network",
    [
        partial(MlpDenoiser, width=16),
        partial(UNet1D, channels=(8, 16), groups=4, step_dim=8),
        partial(Transformer1D, width=16, num_layers=2),
    ],
)
def test_contexts_made_together_give_the_chunk_of_step_after_step(network, batch):
    torch.manual_seed(0)
    policy = make(network, num_inference_steps=7, prediction="epsilon")
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    obs = {"state": torch.rand(batch, 1, 2)}
    cond, noise = policy.encode(obs), EpisodeRng(torch.arange(batch)).normal(4, 2)
    expected = policy.schedule.denoise(noise, lambda noisy, step: policy.denoiser(noisy, step, cond))
    found = policy.normalizer(policy.act(obs, EpisodeRng(torch.arange(batch))), "action")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_statistics_must_cover_what_is_observed():
    policy = DiffusionPolicy(SPEC, Remember, obs_keys=["state", "goal"], horizon=4, execute=2)
    with pytest.raises(UserError, match="no statistics of goal; there are: state, action"):
        policy.set_stats({key: STATS[key] for key in ("state", "action")})


def test_what_sampling_keeps_of_the_steps_follows_the_weights():
    """An average is updated in place, a checkpoint loaded, a copy made: each must count at once."""
    torch.manual_seed(0)
    policy, other = (make(partial(MlpDenoiser, width=16, num_blocks=1)) for _ in range(2))
    for module in (policy, other):
        torch.nn.init.normal_(module.denoiser.blocks[0].contract.weight)

    def sample(of):
        return of.act({"state": torch.ones(1, 1, 2)}, EpisodeRng(torch.zeros(1, dtype=torch.int64)))

    before = sample(policy)
    with torch.no_grad():
        torch._foreach_lerp_(list(policy.parameters()), list(other.parameters()), 0.5)
    averaged = sample(policy)
    assert not torch.equal(averaged, before)
    assert torch.equal(sample(copy.deepcopy(policy)), averaged)
    fresh = make(partial(MlpDenoiser, width=16, num_blocks=1))
    sample(fresh)
    fresh.load_state_dict(policy.state_dict())
    assert torch.equal(sample(fresh), averaged)


PYTHONS_HEADER = Path(sysconfig.get_path("include")) / "Python.h"


@pytest.mark.skipif(
    shutil.which("g++") is None or not PYTHONS_HEADER.is_file(),
    reason="torch.compile needs g++ and Python's headers",
)
def test_a_compiled_program_samples_the_same_whatever_becomes_of_the_weights():
    torch.manual_seed(0)
    plain = make(partial(MlpDenoiser, width=8, num_blocks=1), num_inference_steps=2)
    compiled = copy.deepcopy(plain)
    compiled.compile_sampling()
    counters = torch._dynamo.utils.counters["stats"]
    graphs = counters["unique_graphs"]

    def check(policy, batch):
        noise, obs = torch.randn(batch, 4, 2), {"state": torch.rand(batch, 1, 2)}
        expected = plain.act_from_noise(plain.encode(obs), noise)
        found = policy.act_from_noise(policy.encode(obs), noise)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)

    check(compiled, 3)
    check(compiled, 5)
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    copied = copy.deepcopy(compiled)
    copied.load_state_dict(plain.state_dict())
    check(copied, 3)
    with pytest.raises(AssertionError):
        check(compiled, 3)
    compiled.load_state_dict(plain.state_dict())
    check(compiled, 3)
    assert counters["unique_graphs"] > graphs


@pytest.mark.parametrize("name", ["no-such-compiler", "false"])
def test_says_so_where_no_compiler_runs(monkeypatch, name):
    policy = make(partial(MlpDenoiser, width=8, num_blocks=1))
    monkeypatch.setenv("CXX", name)
    with pytest.raises(UserError, match=f"C\\+\\+ compiler and finds no {name} that runs: install it"):
        policy.compile_sampling()


def test_refuses_to_act_before_it_has_statistics():
    policy = DiffusionPolicy(SPEC, Remember, horizon=4, execute=2)
    with pytest.raises(UserError, match="normaliser is empty"):
        policy.act({"state": torch.zeros(1, 1, 2)}, EpisodeRng(torch.zeros(1, dtype=torch.int64)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"obs_keys": ["front"]}, "'front' is not a flat vector in task toy; valid: state, goal"),
        ({"obs_keys": ["state", "pose"]}, "'pose' is not observed in task toy; valid: state, goal"),
        ({"obs_keys": []}, "obs_keys is empty"),
        ({"obs_keys": "state"}, r"obs_keys=state: needs a list: \[state\]"),
        ({"execute": 5}, "execute=5"),
        ({"execute": 0}, "execute=0"),
        ({"obs_history": 0}, "obs_history=0"),
    ],
)
def test_refuses_in_one_line(changes, words):
    with pytest.raises(UserError, match=words) as error:
        make(**changes)
    assert "\n" not in str(error.value)


class TwoModes:
    """Windows of a dataset where half the demonstrations go left and half go right, of radius 0.05.

    The mean of the demonstrations, (0, 0), is what a regression would learn and lies in neither.
    """

    device = torch.device("cpu")
    modes = torch.tensor([[-1.0, 0.5], [1.0, -0.5]])

    def sample(self, batch_size, generator):
        which = torch.randint(2, (batch_size,), generator=generator)
        jitter = 0.025 * torch.randn(batch_size, 1, 2, generator=generator).clamp(-2, 2)
        return batch_of((self.modes[which][:, None] + jitter).expand(-1, 4, -1))


@pytest.mark.parametrize(
    ("way", "num_steps", "near"),
    [
        ({"prediction": "sample", "num_inference_steps": 16}, 300, 0.99),
        ({"prediction": "epsilon", "num_inference_steps": 16}, 800, 0.9),
        ({"schedule": partial(FlowSchedule, num_inference_steps=16)}, 800, 0.9),
        ({"schedule": partial(FlowSchedule, prediction="sample", num_inference_steps=16)}, 300, 0.99),
    ],
)
def test_learns_both_modes_and_not_their_mean(way, num_steps, near):
    torch.manual_seed(0)
    network = partial(MlpDenoiser, width=64, num_blocks=2, step_dim=32)
    policy = make(network, **way)
    policy.set_stats({**STATS, "action": stats_of([-1.05, -0.55], [1.05, 0.55])})
    learner = BcLearner(
        policy,
        TwoModes(),
        batch_size=128,
        lr=3e-3,
        weight_decay=1e-6,
        warmup_steps=50,
        total_steps=num_steps,
        ema_decay=0.99,
        grad_clip=1.0,
        seed=0,
    )
    for _ in range(num_steps):
        learner.step()
    rng = EpisodeRng(derive_seeds(1, torch.arange(400)))
    chunk = learner.ema.model.act({"state": torch.zeros(400, 1, 2)}, rng)
    distance, mode = (chunk[:, :, None] - TwoModes.modes).norm(dim=-1).min(dim=-1)  # (400, 4)

    def share(rows):
        return rows.float().mean().item()

    assert share(distance < 0.2) > near  # the modes are 2.2 apart
    assert share(chunk.norm(dim=-1) < 0.5) < 0.02  # about the mean
    assert share((mode == mode[:, :1]).all(dim=1)) > 0.97  # a chunk keeps to one mode
    assert 0.4 < share(mode[:, 0] == 0) < 0.6
