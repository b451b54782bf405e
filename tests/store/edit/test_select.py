from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from episode_examples import SPEC, make_episode
from hypothesis import given, settings
from hypothesis import strategies as st

from edit.examples import assert_same_but_origin, contents, made, make_dataset
from robofb.errors import UserError
from robofb.store.edit.plan import CAME_FROM, check
from robofb.store.edit.select import drop, merge, split
from robofb.store.episodes import EpisodeStore
from robofb.store.windows import split_episodes
from robofb.types import ArraySpec


@settings(max_examples=6)
@given(count=st.integers(3, 5), seed=st.integers(0, 99), parts=st.integers(2, 3))
def test_split_then_merge_gives_every_episode_bit_for_bit(count, seed, parts):
    with TemporaryDirectory() as folder:
        root = Path(folder)
        source = make_dataset(root / "d", range(count), {"robot": "franka"})
        before = contents(source.path)
        stores = [made(plan) for plan in split(source, root / "s", [1 / parts] * parts, (), seed)]
        assert all(len(store) for store in stores)
        again = made(merge(stores, root / "m"))
        numbers = [episode.meta[CAME_FROM][0]["episode"] for episode in again]
        assert sorted(numbers) == list(range(count))
        for store in stores:
            inside = [episode.meta[CAME_FROM][0]["episode"] for episode in store]
            assert inside == sorted(inside)
        for number, episode in zip(numbers, again, strict=True):
            assert_same_but_origin(episode, make_episode(number))
        assert again.meta["robot"] == "franka"
        assert contents(source.path) == before


def test_split_in_two_is_the_split_of_training(tmp_path):
    source = make_dataset(tmp_path / "d", range(10), lengths=[1] * 10)
    train, validation = split(source, tmp_path / "s", [0.8, 0.2], (), seed=3)
    assert (train.out.name, validation.out.name) == ("train", "validation")
    numbers = tuple([piece.episode for piece in plan.pieces] for plan in (train, validation))
    assert numbers == split_episodes(10, 0.2, 3)


@pytest.mark.parametrize(
    ("count", "fractions", "sizes"),
    [
        (10, [0.75, 0.25], [8, 2]),  # 2.5 rounds to the even 2
        (6, [0.25, 0.25, 0.25, 0.25], [2, 1, 1, 2]),  # ends at 1.5, 3, 4.5, 6 from behind
        (3, [0.98, 0.01, 0.01], [1, 1, 1]),  # each at least one
        (5, [0.1, 0.9], [1, 4]),
        (9, [0.999, 0.001], [8, 1]),
    ],
)
def test_sizes_of_the_parts(tmp_path, count, fractions, sizes):
    with EpisodeStore.create(tmp_path / "d", SPEC) as source:
        for _ in range(count):
            source.append(make_episode(0, 1))
    plans = split(source, tmp_path / "s", fractions, [f"p{i}" for i in range(len(fractions))], 0)
    assert [len(plan.pieces) for plan in plans] == sizes
    numbers = [piece.episode for plan in plans for piece in plan.pieces]
    assert sorted(numbers) == list(range(count))


@pytest.mark.parametrize(
    ("fractions", "names", "message"),
    [
        ([1.0], [], "needs two or more"),
        ([0.5, 0.6], [], r"0\.5,0\.6: their sum is 1\.1"),
        ([1.0, 0.0], [], "each above 0 and below 1"),
        ([float("nan"), 0.5], [], "each above 0 and below 1"),
        ([0.5, 0.5], ["a"], "needs 2 different names"),
        ([0.5, 0.5], ["a", "a"], "needs 2 different names"),
        ([0.5, 0.5], ["a", "../b"], "'../b' is not the name of a folder"),
        ([0.5, 0.5], ["a", ".."], "'..' is not the name of a folder"),
        ([0.5, 0.5], ["a", ""], "'' is not the name of a folder"),
        ([0.25] * 4, [], "3 episodes cannot be split into 4 parts"),
    ],
)
def test_mistakes_in_a_split_are_named(tmp_path, fractions, names, message):
    source = make_dataset(tmp_path / "d", range(3))
    with pytest.raises(UserError, match=message):
        split(source, tmp_path / "s", fractions, names, 0)


def test_merge_keeps_the_order_and_the_facts_that_differ(tmp_path):
    a = make_dataset(tmp_path / "a", [3, 1], {"robot": "franka", "seed": 0})
    b = make_dataset(tmp_path / "b", [2], {"robot": "franka", "seed": 5, "noise": 1.0})
    merged = made(merge([b, a], tmp_path / "c"))
    for number, episode in zip([2, 3, 1], merged, strict=True):
        assert_same_but_origin(episode, make_episode(number))
    assert merged.meta["robot"] == "franka" and "seed" not in merged.meta
    origins = merged.meta["edits"][-1]["from"]
    assert [origin["meta"]["seed"] for origin in origins] == [5, 0]
    assert origins[0]["meta"]["noise"] == 1.0
    assert [origin["meta"]["made_with"] for origin in origins] == [merged.meta["made_with"]] * 2


LONGER = replace(SPEC, max_steps=51)
RENAMED = replace(SPEC, action=replace(SPEC.action, names=("a", "b")))


@pytest.mark.parametrize(
    ("spec", "meta", "message"),
    [
        (replace(SPEC, task="other"), {}, "b holds task 'other', not 'example'"),
        (SPEC.only(["state"]), {}, r"b holds observations \['state'\]"),
        (replace(SPEC, control_dt=0.05), {}, r"b holds control_dt 0\.05 s, not 0\.1 s"),
        (RENAMED, {}, r"b holds action with names \('a', 'b'\), not \(\)"),
        (SPEC.with_obs({**SPEC.obs, "state": ArraySpec((4,))}), {}, r"'state' with shape \(4,\)"),
        (LONGER, {}, "b holds max_steps 51, not 50"),
        (replace(SPEC, stages=()), {}, r"b holds stages \(\), not \('reach',\)"),
        (replace(SPEC, action=replace(SPEC.action, low=(-1.0, -1.0))), {}, "bounds of action"),
        (SPEC, {"frames": "world"}, "b holds frames world, not None"),
    ],
)
def test_merge_names_the_first_difference(tmp_path, spec, meta, message):
    a = make_dataset(tmp_path / "a", [0])
    b = EpisodeStore.create(tmp_path / "b", spec, meta)
    with pytest.raises(UserError, match=message):
        merge([a, b], tmp_path / "c")
    b.close()
    assert not (tmp_path / "c").exists()


def test_merge_needs_two_different_datasets(tmp_path):
    a = make_dataset(tmp_path / "a", [0])
    with pytest.raises(UserError, match="two datasets or more, not 1"):
        merge([a], tmp_path / "c")
    with pytest.raises(UserError, match="a is given twice"):
        merge([a, EpisodeStore.open(tmp_path / "a/../a")], tmp_path / "c")


def test_merging_empty_datasets_gives_an_empty_one(tmp_path):
    a, b = make_dataset(tmp_path / "a", []), make_dataset(tmp_path / "b", [])
    plan = merge([a, b], tmp_path / "c")
    assert len(made(plan)) == 0
    assert check(plan) == 0


# Episodes 0..5: success is False for 0 and 3; lengths are as given.
LENGTHS = [5, 9, 10, 11, 20, 30]


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("six") / "d", range(6), lengths=LENGTHS)


@pytest.mark.parametrize(
    ("conditions", "kept"),
    [
        ({"numbers": [1, 4]}, [0, 2, 3, 5]),
        ({"failed": True}, [1, 2, 4, 5]),
        ({"shorter_than": 10}, [2, 3, 4, 5]),
        ({"longer_than": 10}, [0, 1, 2]),
        ({"longer_than": 20, "failed": True, "numbers": [1]}, [2, 4]),
    ],
)
def test_drop_keeps_the_rest(six, tmp_path, conditions, kept):
    plan = drop(six, tmp_path / "c", **conditions)
    assert [piece.episode for piece in plan.pieces] == kept
    assert [len(piece) for piece in plan.pieces] == [LENGTHS[number] for number in kept]


def test_what_drop_keeps_is_exact(six, tmp_path):
    for number, episode in zip([2, 4], made(drop(six, tmp_path / "c", [0, 1, 3, 5])), strict=True):
        assert_same_but_origin(episode, make_episode(number, LENGTHS[number]))


@given(gone=st.sets(st.integers(0, 5), min_size=1, max_size=5))
def test_drop_and_what_it_dropped_make_the_whole(six, gone):
    rest = set(range(6)) - gone
    kept, dropped = (
        [piece.episode for piece in drop(six, Path("c"), numbers).pieces] for numbers in (gone, rest)
    )
    assert (kept, dropped) == (sorted(rest), sorted(gone))


def test_drop_of_nothing_named_or_of_all_is_refused(tmp_path):
    source = make_dataset(tmp_path / "d", [0, 3])
    with pytest.raises(UserError, match="drop needs --episodes"):
        drop(source, tmp_path / "c")
    with pytest.raises(UserError, match="all 2 episodes would be dropped"):
        drop(source, tmp_path / "c", failed=True)
    assert np.all(~source.successes)
