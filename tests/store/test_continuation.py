"""Datasets begun, gone on with, or refused."""

from functools import partial

import pytest
from episode_examples import SPEC, make_episode

from robofb.errors import UserError
from robofb.store.continuation import check_same_settings, open_or_create


def test_what_was_begun_is_gone_on_with(tmp_path):
    for count in range(2):
        with open_or_create(tmp_path / "d", SPEC, {"seed": count}) as store:
            assert len(store) == count and store.meta["seed"] == 0
            store.append(make_episode(count))


def test_a_refused_dataset_is_left_unlocked_and_as_it_was(tmp_path):
    open_or_create(tmp_path / "d", SPEC, {"seed": 0, "more": 1}).close()
    check = partial(check_same_settings, tmp_path / "d", "holds")
    for _ in range(2):
        with pytest.raises(UserError, match="d holds seed 0, not 1: choose another --out"):
            open_or_create(tmp_path / "d", SPEC, {"seed": 1}, partial(check, wanted={"seed": 1}))
    with open_or_create(tmp_path / "d", SPEC, {}, partial(check, wanted={"seed": 0})) as store:
        assert store.meta["more"] == 1
