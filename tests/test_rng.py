import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from robofb.rng import EpisodeRng, derive_seeds, splitmix64

INT64 = st.integers(-(2**63), 2**63 - 1)
MASK = 2**64 - 1


def splitmix64_by_definition(x):
    """Hash one integer with Python's unbounded integers, as Steele et al. (2014) print it."""
    z = (x + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_splitmix64_gives_the_published_first_value_of_seed_zero():
    assert splitmix64(torch.tensor([0])).item() & MASK == 0xE220A8397B1DCDAF


@given(st.lists(INT64, min_size=1, max_size=20))
def test_splitmix64_equals_its_definition(values):
    hashed = splitmix64(torch.tensor(values)).tolist()
    assert [value & MASK for value in hashed] == [splitmix64_by_definition(value & MASK) for value in values]


def test_derived_seeds_differ_by_seed_and_by_index():
    seeds = torch.stack([derive_seeds(seed, torch.arange(1000)) for seed in range(20)])
    assert len(seeds.flatten().unique()) == 20_000
    assert derive_seeds(1, 2).item() != derive_seeds(2, 1).item()
    assert derive_seeds(3, 7).item() == seeds[3, 7].item()
    assert torch.equal(derive_seeds(torch.arange(20), 7), seeds[:, 7])


def draw(rng, plan):
    """Make a series of draws: (normal?, count) each."""
    return [rng.normal(count) if normal else rng.uniform(count) for normal, count in plan]


PLANS = st.lists(st.tuples(st.booleans(), st.integers(1, 5)), min_size=1, max_size=5)


@settings(deadline=None)
@given(seeds=st.lists(INT64, min_size=1, max_size=6, unique=True), plan=PLANS, data=st.data())
def test_a_row_draws_the_same_in_any_batch_and_order(seeds, plan, data):
    together = draw(EpisodeRng(torch.tensor(seeds)), plan)
    order = data.draw(st.permutations(range(len(seeds))))
    shuffled = draw(EpisodeRng(torch.tensor(seeds)[order]), plan)
    row = data.draw(st.sampled_from(range(len(seeds))))
    alone = draw(EpisodeRng(torch.tensor([seeds[row]])), plan)
    for a, b, c in zip(together, shuffled, alone, strict=True):
        assert torch.equal(a[order], b)
        assert torch.equal(a[row], c[0])


@settings(deadline=None)
@given(plan=PLANS, skipped=st.integers(0, 4))
def test_selected_rows_advance_alone(plan, skipped):
    seeds = torch.arange(5)
    rng, oracle = EpisodeRng(seeds), EpisodeRng(seeds)
    rows = torch.tensor([row for row in range(5) if row != skipped])
    for a, b in zip(draw(rng.select(rows), plan), draw(oracle, plan), strict=True):
        assert torch.equal(a, b[rows])
    assert torch.equal(rng.uniform(2)[rows], oracle.uniform(2)[rows])  # both stand at the same draw
    assert torch.equal(
        rng.uniform(1)[skipped], EpisodeRng(seeds).uniform(3)[skipped, 2:]
    )  # three draws in all


def test_selection_of_a_selection_and_of_nothing():
    rng = EpisodeRng(torch.arange(6))
    inner = rng.select(torch.tensor([5, 3, 1])).select(torch.tensor([2, 0]))
    assert len(inner) == 2
    assert torch.equal(inner.uniform(4), EpisodeRng(torch.tensor([1, 5])).uniform(4))
    nothing = rng.select(torch.tensor([], dtype=torch.int64))
    assert len(nothing) == 0
    assert nothing.uniform(3).shape == (0, 3)
    assert nothing.normal(2, 2).shape == (0, 2, 2)


def test_reseeding_restarts_only_the_given_rows():
    for rows in (torch.tensor([1]), torch.tensor([False, True, False])):
        rng, undisturbed = EpisodeRng(torch.arange(3)), EpisodeRng(torch.arange(3))
        rng.uniform(4), undisturbed.uniform(4)
        rng.reseed(rows, torch.tensor([77]))
        drawn, expected = rng.normal(2), undisturbed.normal(2)
        assert torch.equal(drawn[[0, 2]], expected[[0, 2]])
        assert torch.equal(drawn[1], EpisodeRng(torch.tensor([77])).normal(2)[0])


def test_the_caller_keeps_its_seeds():
    seeds = torch.arange(3)
    EpisodeRng(seeds).reseed(torch.tensor([0]), torch.tensor([9]))
    assert seeds.tolist() == [0, 1, 2]


@given(plan=PLANS)
@settings(deadline=None)
def test_streams_continue_from_a_checkpoint(plan):
    rng = EpisodeRng(torch.arange(4))
    draw(rng, plan)
    state = rng.state_dict()
    expected = rng.normal(3)
    restored = EpisodeRng(torch.zeros(4, dtype=torch.int64))
    restored.load_state_dict(state)
    assert torch.equal(restored.normal(3), expected)


def test_streams_can_be_taken_over_where_they_are():
    ahead = EpisodeRng(torch.arange(4))
    ahead.uniform(3)
    rng = EpisodeRng(torch.zeros(5, dtype=torch.int64))
    rng.take_over(torch.tensor([4, 1]), ahead, slice(2, 4))
    expected = EpisodeRng(torch.tensor([2, 3])).uniform(5)[:, 3:]
    torch.testing.assert_close(rng.uniform(2)[[4, 1]], expected, rtol=0, atol=0)
    torch.testing.assert_close(ahead.uniform(2)[2:], expected, rtol=0, atol=0)  # which goes on as well


def test_shapes_and_types():
    rng = EpisodeRng(torch.arange(3))
    assert rng.uniform().shape == (3,)
    assert rng.uniform(2, 4).shape == (3, 2, 4)
    assert rng.normal(5).dtype == torch.float32
    assert len(rng) == 3


@pytest.mark.parametrize("axis", ["along a stream", "across consecutive seeds"])
def test_distributions(axis):
    shape = (1, 50_000) if axis == "along a stream" else (50_000, 1)
    uniform = EpisodeRng(torch.arange(shape[0])).uniform(shape[1]).flatten()
    normal = EpisodeRng(torch.arange(shape[0])).normal(shape[1]).flatten()
    assert float(uniform.min()) >= 0.0
    assert float(uniform.max()) < 1.0
    assert stats.kstest(uniform.numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(normal.numpy(), "norm").pvalue > 1e-3
    assert torch.isfinite(normal).all()
    for series in (uniform, normal):
        centred = series - series.mean()
        correlation = float((centred[1:] * centred[:-1]).mean() / centred.square().mean())
        assert abs(correlation) < 4.0 / math.sqrt(len(series))


def test_uniform_is_the_top_24_bits_of_the_hash():
    seed, number = 5, 2
    bits = splitmix64_by_definition(seed ^ splitmix64_by_definition(number))
    assert EpisodeRng(torch.tensor([seed])).uniform(3)[0, number].item() == (bits >> 40) / 2**24
