import pytest
import torch

from robofb.errors import UserError
from robofb.store.mix import Draws, Mix
from robofb.types import SOURCE_INTERVENTION, SOURCE_POLICY

DATASET = torch.tensor([0, 0, 1, 1, 1, 1])
SOURCE = torch.tensor([SOURCE_POLICY, SOURCE_INTERVENTION, *[SOURCE_POLICY] * 4], dtype=torch.uint8)


def shares(mix, dataset=DATASET, source=SOURCE):
    chances = mix.chances(dataset, source, ["a", "b"])
    return (chances / chances.sum()).tolist()


def test_shares_of_datasets_by_hand():
    # 3/4 on two windows, 1/4 on four.
    assert shares(Mix([3, 1])) == pytest.approx([3 / 8, 3 / 8, 1 / 16, 1 / 16, 1 / 16, 1 / 16])


def test_factors_of_sources_by_hand():
    # 1 + 2 + 4 x 1 = 7 parts.
    assert shares(Mix(None, {"intervention": 2})) == pytest.approx([1 / 7, 2 / 7, *[1 / 7] * 4])


def test_a_source_factor_moves_draws_within_its_datasets_share():
    # The first dataset keeps 1/2, of which its intervention gets two thirds.
    expected = [1 / 6, 1 / 3, 1 / 8, 1 / 8, 1 / 8, 1 / 8]
    assert shares(Mix([1, 1], {"intervention": 2})) == pytest.approx(expected)


def test_no_weights_leave_the_draws_as_they_were():
    assert Mix().chances(DATASET, SOURCE, ["a", "b"]) is None
    drawn = Draws(6, None).draw(50, torch.Generator().manual_seed(4))
    assert torch.equal(drawn, torch.randint(6, (50,), generator=torch.Generator().manual_seed(4)))


def test_draws_follow_the_chances_and_never_take_what_has_none():
    chances = torch.tensor([0.0, 1.0, 0.0, 3.0, 4.0, 0.0], dtype=torch.float64)
    drawn = Draws(6, chances).draw(40_000, torch.Generator().manual_seed(0))
    counts = drawn.bincount(minlength=6)
    assert counts[[0, 2, 5]].tolist() == [0, 0, 0]
    # Five standard deviations of a binomial of 40,000 draws at 1/2 are 500.
    assert (counts - 40_000 * chances / 8).abs().max() < 500


@pytest.mark.parametrize("chances", [None, torch.tensor([1.0, 3.0, 0.0, 2.0, 2.0, 4.0], dtype=torch.float64)])
def test_draws_within_ranges_stay_there_and_follow_the_chances(chances):
    first = torch.tensor([0, 3]).repeat(20_000)
    stop = torch.tensor([3, 5]).repeat(20_000)
    drawn = Draws(6, chances).draw_within(first, stop, torch.Generator().manual_seed(0))
    counts = drawn.unflatten(0, (-1, 2)).T
    expected = (
        [[1 / 3, 1 / 3, 1 / 3], [1 / 2, 1 / 2]] if chances is None else [[1 / 4, 3 / 4, 0], [1 / 2, 1 / 2]]
    )
    assert (counts[0].bincount(minlength=3) / 20_000).tolist() == pytest.approx(expected[0], abs=0.02)
    assert ((counts[1] - 3).bincount(minlength=2) / 20_000).tolist() == pytest.approx(expected[1], abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1, -1],), r"data_weights\[1\]=-1: needs a number of at least 0"),
        (([0, 0],), "at least one must be above 0"),
        ((None, {"robot": 2}), "source_weights.robot: no such source; valid: human, policy, intervention"),
        ((None, {"human": "much"}), "source_weights.human=much: needs a number"),
        ((None, {"human": float("nan")}), "source_weights.human=nan"),
        ((None, {"human": True}), "source_weights.human=True"),
    ],
)
def test_refuses_weights_without_meaning(arguments, words):
    with pytest.raises(UserError, match=words):
        Mix(*arguments)


def test_refuses_what_leaves_nothing_to_draw():
    with pytest.raises(UserError, match="needs one for each of 2 datasets"):
        Mix([1, 2, 3]).chances(DATASET, SOURCE, ["a", "b"])
    with pytest.raises(UserError, match=r"data_weights\[1\]=1: source_weights leave nothing to draw from b"):
        Mix([1, 1], {"policy": 0}).chances(DATASET, SOURCE, ["a", "b"])
    with pytest.raises(UserError, match="nothing to draw from a, b"):
        Mix(None, {"policy": 0, "intervention": 0}).chances(DATASET, SOURCE, ["a", "b"])


def test_a_source_that_chose_nothing_is_warned_of(caplog):
    """Of the six steps all are of the policy or an intervention; both may be weighed, a script may not."""
    Mix(None, {"policy": 2, "intervention": 3}).chances(DATASET, SOURCE, ["a", "b"])
    assert caplog.messages == []
    Mix(None, {"intervention": 3, "scripted": 2}).chances(DATASET, SOURCE, ["a", "b"])
    assert caplog.messages == [
        "source_weights.scripted: no step of it to train on; a, b: policy, intervention alone"
    ]
