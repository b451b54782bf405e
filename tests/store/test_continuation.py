"""Datasets begun, gone on with, or refused."""

import pytest
from episode_examples import SPEC, make_episode

from robofb.errors import UserError
from robofb.store.continuation import open_or_create, same_settings


def test_what_was_begun_is_gone_on_with(tmp_path):
    for count in range(2):
        with open_or_create(tmp_path / "d", SPEC, {"seed": count}) as store:
            assert len(store) == count and store.meta["seed"] == 0
            store.append(make_episode(count))


def test_a_refused_dataset_is_left_unlocked_and_as_it_was(tmp_path):
    path = tmp_path / "d"
    open_or_create(path, SPEC, {"seed": 0, "more": 1}).close()
    for _ in range(2):
        with pytest.raises(UserError, match="d holds seed 0, not 1: choose another --out"):
            open_or_create(path, SPEC, {"seed": 1}, same_settings(path, "holds", {"seed": 1}))
    with open_or_create(path, SPEC, {}, same_settings(path, "holds", {"seed": 0})) as store:
        assert store.meta["more"] == 1


def test_settings_may_stand_in_a_part_of_the_meta(tmp_path):
    open_or_create(tmp_path / "d", SPEC, {"part": {"seed": 0}}).close()
    check = same_settings(tmp_path / "d", "was made with", {"seed": 0}, part="part")
    open_or_create(tmp_path / "d", SPEC, {}, check).close()
    check = same_settings(tmp_path / "d", "was made with", {"seed": 0}, part="other")
    with pytest.raises(UserError, match="d was made with seed None, not 0"):
        open_or_create(tmp_path / "d", SPEC, {}, check)
