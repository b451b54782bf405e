"""Hold every policy that has a config to the contract of `interfaces.Policy`."""

from pathlib import Path

import pytest
import torch
import yaml
from hydra.utils import instantiate

from robofb.errors import UserError
from robofb.interfaces import Policy
from robofb.policies.executor import CPU_TILE, ChunkExecutor
from robofb.rng import EpisodeRng, derive_seeds
from robofb.types import ArraySpec, Batch, EnvSpec

SMALL = {  # sizes are no part of the contract, and large ones are slow
    "denoiser": {"channels": [16, 24, 32], "width": 32, "num_layers": 2},
    "regressor": {"width": 32},
    "network": {"channels": [8, 8, 16, 16], "blocks": [1, 1, 1, 1], "group_size": 4},
}
CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "policy"
SPEC = EnvSpec(
    task="contract",
    obs={
        "state": ArraySpec((7,), unit="m", names=(*(f"ee_{i}" for i in range(5)), "gripper_0", "leg_0")),
        "image_front": ArraySpec((3, 84, 84), "uint8"),
        "image_wrist": ArraySpec((3, 84, 84), "uint8"),
    },
    action=ArraySpec((3,), unit="m"),
    control_dt=0.1,
    max_steps=20,
)
BATCH = 5


def build(name, seed=0):
    torch.manual_seed(seed)
    node = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    for part in SMALL.keys() & node.keys():
        shrink(node[part], SMALL[part])
    if "image_encoder" in node:
        shrink(node["image_encoder"]["network"], SMALL["network"])
        node["image_encoder"]["resize"] = [40, 40]
    policy = instantiate(node)(SPEC)
    for parameter in policy.parameters():
        if not parameter.any():  # training starts here at zero, where some inputs have no effect yet
            torch.nn.init.normal_(parameter, std=0.1)
    return policy


def shrink(node, small):
    """Put small sizes in place, as many stages as there are."""
    for key in small.keys() & node.keys():
        value = small[key]
        node[key] = value[: len(node[key])] if isinstance(value, list) else value


def stats():
    generator = torch.Generator().manual_seed(0)
    result = {}
    for key, size in (("state", 7), ("action", 3)):
        low = torch.randn(size, generator=generator)
        high = low + torch.rand(size, generator=generator) + 0.1
        result[key] = {"min": low, "max": high, "mean": (low + high) / 2, "std": (high - low) / 4}
    return result


@pytest.fixture(scope="module", params=sorted(file.stem for file in CONFIGS.glob("*.yaml")))
def policy(request):
    policy = build(request.param)
    policy.set_stats(stats())
    policy.config_name = request.param
    return policy.eval()


def observation(policy, seed=1, count=BATCH):
    generator = torch.Generator().manual_seed(seed)
    obs = {"state": torch.randn(count, policy.obs_history, 7, generator=generator)}
    for key in sorted(set(policy.spec.obs) - {"state"}):
        shape = (count, policy.obs_history, *policy.spec.obs[key].shape)
        obs[key] = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return obs


def batch(policy, seed=1):
    generator = torch.Generator().manual_seed(seed)
    action = torch.randn(BATCH, policy.horizon, 3, generator=generator)
    mask = torch.ones(BATCH, policy.horizon, dtype=torch.bool)
    mask[0, policy.horizon // 2 :] = False
    return Batch(observation(policy, seed), action, mask, torch.ones(BATCH))


def rng(count=BATCH, seed=4):
    return EpisodeRng(derive_seeds(seed, torch.arange(count)))


def test_is_a_policy(policy):
    assert isinstance(policy, Policy)
    assert isinstance(policy, torch.nn.Module)
    assert policy.spec == SPEC.only(policy.obs_keys)
    assert 1 <= policy.execute <= policy.horizon
    assert policy.obs_history >= 1


def test_acts_in_chunks_of_environment_units(policy):
    obs = observation(policy)
    before = {key: value.clone() for key, value in obs.items()}
    chunk = policy.act(obs, rng())
    assert chunk.shape == (BATCH, policy.horizon, 3)
    assert chunk.dtype == torch.float32
    assert bool(torch.isfinite(chunk).all())
    assert not chunk.requires_grad
    assert not chunk.is_inference()  # a residual may be trained on it
    low, high = stats()["action"]["min"], stats()["action"]["max"]
    outside = torch.maximum(low - chunk, chunk - high).amax()
    assert outside < (high - low).max()
    assert all(torch.equal(obs[key], value) for key, value in before.items())


def test_acts_the_same_for_the_same_streams_and_otherwise_not(policy):
    obs = observation(policy)
    chunk = policy.act(obs, rng())
    assert torch.equal(policy.act(obs, rng()), chunk)
    other = policy.act(obs, streams := rng(seed=5))
    assert torch.equal(other, chunk) == (not streams.state_dict()["drawn"].any())
    assert not torch.equal(policy.act(observation(policy, seed=2), rng()), chunk)


def test_plans_the_same_to_the_last_bit_whatever_is_planned_beside_it(policy):
    """In calls of one tile, and of two and three."""
    count = 3 * CPU_TILE
    obs = observation(policy, count=count)

    def planned(rows):
        return policy.act({key: value[rows] for key, value in obs.items()}, rng(count).select(rows))

    alone = torch.cat([planned(rows) for rows in torch.arange(count).split(CPU_TILE)])
    for tiles in (2, 3):
        rows = torch.arange(tiles * CPU_TILE)
        assert torch.equal(planned(rows), alone[: len(rows)])


def test_takes_all_randomness_from_the_streams_it_is_given(policy):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    policy.act(observation(policy), rng())
    assert torch.equal(torch.get_rng_state(), before)


def test_acts_without_memory(policy):
    obs = observation(policy)
    weights = {name: value.clone() for name, value in policy.state_dict().items()}
    first = policy.act(obs, rng())
    policy.act(observation(policy, seed=9), rng(seed=9))
    assert torch.equal(policy.act(obs, rng()), first)
    for name, value in policy.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_a_row_does_not_depend_on_the_others(policy):
    obs, streams = observation(policy), rng()
    whole = policy.act(obs, rng())
    rows = torch.tensor([3, 1])
    part = policy.act({key: value[rows] for key, value in obs.items()}, streams.select(rows))
    torch.testing.assert_close(part, whole[rows], rtol=1e-4, atol=1e-4)


def test_loss_is_a_scalar_whose_gradient_reaches_every_weight(policy):
    policy.zero_grad()
    loss, metrics = policy.loss(batch(policy), torch.Generator().manual_seed(0))
    assert loss.shape == ()
    assert bool(torch.isfinite(loss))
    assert all(not value.requires_grad and value.numel() == 1 for value in metrics.values())
    loss.backward()
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
    policy.zero_grad()


def test_loss_takes_all_randomness_from_its_generator(policy):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 1, 2)]
    losses = [policy.loss(batch(policy), generator)[0].item() for generator in generators]
    assert losses[0] == losses[1]
    drawn = not torch.equal(generators[2].get_state(), torch.Generator().manual_seed(2).get_state())
    assert (losses[0] != losses[2]) == drawn
    assert torch.equal(torch.get_rng_state(), before)


def test_loss_changes_neither_batch_nor_weights(policy):
    given = batch(policy)
    weights = {name: value.clone() for name, value in policy.state_dict().items()}
    policy.loss(given, torch.Generator().manual_seed(0))
    assert torch.equal(given.action, batch(policy).action)
    assert all(torch.equal(value, batch(policy).obs[key]) for key, value in given.obs.items())
    for name, value in policy.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_one_step_of_gradient_descent_lowers_the_loss(policy):
    trained = build(policy.config_name)
    trained.set_stats(stats())

    def loss():
        return trained.loss(batch(policy), torch.Generator().manual_seed(0))[0]

    before = loss()
    before.backward()
    with torch.no_grad():
        size = sum(p.grad.square().sum() for p in trained.parameters()).sqrt()
        for parameter in trained.parameters():
            parameter -= 1e-2 * parameter.grad / size
    assert loss() < before


def test_weights_bring_the_statistics_with_them(policy, tmp_path):
    torch.save(policy.state_dict(), tmp_path / "weights.pt")
    fresh = build(policy.config_name, seed=1).eval()
    with pytest.raises(UserError):
        fresh.act(observation(policy), rng())
    fresh.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(fresh.act(observation(policy), rng()), policy.act(observation(policy), rng()))


def test_runs_in_the_executor(policy):
    executor = ChunkExecutor(policy, 2, tile=2)
    executor.reset(torch.ones(2, dtype=torch.bool), torch.tensor([1, 2]))
    obs = {key: value[:2, 0] for key, value in observation(policy).items()}
    actions = [executor.next(obs) for _ in range(policy.execute + 1)]
    assert all(action.shape == (2, 3) for action in actions)
    assert executor.phase.tolist() == [0.0, 0.0]  # planned again
