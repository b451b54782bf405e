import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from robofb.stats import SuccessRate, compare_paired, mcnemar_exact, wilson_interval


@pytest.mark.parametrize(
    ("successes", "episodes", "low", "high"),
    [  # R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_equals_newcombes_table(successes, episodes, low, high):
    assert wilson_interval(successes, episodes) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 2000), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_interval_equals_scipy(episodes, share, confidence):
    successes = round(share * episodes)
    oracle = binomtest(successes, episodes).proportion_ci(confidence, method="wilson")
    assert wilson_interval(successes, episodes, confidence) == pytest.approx(tuple(oracle), abs=1e-12)


@given(st.integers(1, 500), st.floats(0, 1))
def test_wilson_interval_mirrors_and_contains_the_rate(episodes, share):
    successes = round(share * episodes)
    low, high = wilson_interval(successes, episodes)
    mirrored_low, mirrored_high = wilson_interval(episodes - successes, episodes)
    assert 0.0 <= low <= successes / episodes <= high <= 1.0
    assert (1 - mirrored_high, 1 - mirrored_low) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize(("successes", "episodes"), [(-1, 5), (6, 5), (1, 0)])
def test_impossible_counts_are_refused(successes, episodes):
    with pytest.raises(ValueError, match="successes must lie between"):
        SuccessRate(successes, episodes)


def test_success_rate_to_dict_and_text():
    rate = SuccessRate(15, 148)
    assert rate.rate == 15 / 148
    assert rate.to_dict() == {"successes": 15, "episodes": 148, "low": rate.low, "high": rate.high}
    assert str(rate) == "10.1 % (15/148, 95 % interval 6.2-16.0)"
    assert math.isnan(SuccessRate(0, 0).rate)
    assert SuccessRate(0, 0).to_dict()["high"] == 1.0


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_scipys_binomial_test(only_first, only_second):
    discordant = only_first + only_second
    expected = binomtest(only_first, discordant, 0.5).pvalue if discordant else 1.0
    assert mcnemar_exact(only_first, only_second) == pytest.approx(expected, abs=1e-12)


def test_compare_paired_by_hand():
    first = [True] * 6 + [False] * 4
    second = [True] * 5 + [False] + [True] * 3 + [False]
    result = compare_paired(first, second)
    assert (result.both, result.only_first, result.only_second, result.neither) == (5, 1, 3, 1)
    assert result.difference == pytest.approx(0.2)
    # one added to each discordant cell: p = 2/12 and 4/12, centre 1/6, variance (1/2 - 1/36) / 12
    half = 1.959964 * math.sqrt((0.5 - 1 / 36) / 12)
    assert (result.low, result.high) == pytest.approx((1 / 6 - half, 1 / 6 + half), abs=1e-6)
    assert result.p_value == pytest.approx(2 * (1 + 4) / 16)


@pytest.mark.parametrize("probabilities", [(0.1, 0.1), (0.3, 0.1), (0.05, 0.4)])
def test_paired_interval_covers_the_true_difference(probabilities):
    """Sum the exact trinomial probability of every outcome of 25 episodes whose interval covers."""
    episodes, (p_first, p_second) = 25, probabilities
    covered = 0.0
    for a, b in product(range(episodes + 1), repeat=2):
        if a + b > episodes:
            continue
        rest = episodes - a - b
        ways = math.factorial(episodes) / (math.factorial(a) * math.factorial(b) * math.factorial(rest))
        probability = ways * p_first**a * p_second**b * (1 - p_first - p_second) ** rest
        result = compare_paired(
            [True] * a + [False] * (episodes - a), [False] * a + [True] * b + [False] * rest
        )
        covered += probability * (result.low <= p_second - p_first <= result.high)
    assert 0.93 <= covered <= 0.995


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_swapping_the_policies_mirrors_the_comparison(pairs):
    first, second = zip(*pairs, strict=True)
    one, other = compare_paired(first, second), compare_paired(second, first)
    assert one.difference == -other.difference
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.p_value == other.p_value


def test_unpaired_episodes_are_refused():
    with pytest.raises(ValueError, match="3 of the first, 2 of the second"):
        compare_paired([True] * 3, [True] * 2)
