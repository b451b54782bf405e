"""Datasets begun, gone on with, or refused."""

from dataclasses import replace

import pytest
from episode_examples import SPEC, make_episode

from robofb.errors import UserError
from robofb.store.continuation import open_or_create, same_settings
from robofb.store.episodes import EpisodeStore


def begin(path, meta):
    with open_or_create(path, SPEC, meta) as store:
        store.append(make_episode(0))


def test_what_was_begun_is_gone_on_with(tmp_path):
    for count in range(2):
        with open_or_create(tmp_path / "d", SPEC, {"seed": count}) as store:
            assert len(store) == count and store.meta["seed"] == 0
            store.append(make_episode(count))


def test_a_refused_dataset_is_left_unlocked_and_as_it_was(tmp_path):
    path = tmp_path / "d"
    begin(path, {"seed": 0, "more": 1})
    for _ in range(2):
        with pytest.raises(UserError, match="d holds seed 0, not 1: choose another folder"):
            open_or_create(path, SPEC, {"seed": 1}, same_settings(path, "holds", {"seed": 1}))
    with open_or_create(path, SPEC, {}, same_settings(path, "holds", {"seed": 0})) as store:
        assert store.meta["more"] == 1


def test_settings_may_stand_in_a_part_of_the_meta(tmp_path):
    begin(tmp_path / "d", {"part": {"seed": 0}})
    check = same_settings(tmp_path / "d", "was made with", {"seed": 0}, part="part")
    open_or_create(tmp_path / "d", SPEC, {}, check).close()
    check = same_settings(tmp_path / "d", "was made with", {"seed": 0}, part="other")
    with pytest.raises(UserError, match="d was made with seed None, not 0"):
        open_or_create(tmp_path / "d", SPEC, {}, check)


OTHER_SPEC = replace(SPEC, task="another", obs={"state": SPEC.obs["state"]})


@pytest.mark.parametrize("finished", [False, True])
def test_a_dataset_without_an_episode_refuses_nobody(tmp_path, finished):
    """Whether its creation was finished or not, who left it empty had nothing to lose."""
    path = tmp_path / "d"
    open_or_create(path, SPEC, {"seed": 0}).close()
    if not finished:
        (path / ".creating").touch()
        (path / "index.json").unlink()
    with open_or_create(path, OTHER_SPEC, {"seed": 1}, same_settings(path, "holds", {"seed": 1})) as store:
        assert store.spec == OTHER_SPEC and store.meta["seed"] == 1
    assert sorted(file.name for file in (path / "data").iterdir() if file.is_dir()) == [
        "action",
        "reward",
        "source",
        "state",
        "timestamp",
    ]


def test_an_empty_dataset_is_not_replaced_where_something_else_lies_in_it_or_somebody_writes_it(tmp_path):
    path = tmp_path / "d"
    with (
        open_or_create(path, SPEC, {"seed": 0}),
        pytest.raises(UserError, match="is being written by process"),
    ):
        open_or_create(path, OTHER_SPEC, {})
    (path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="d holds task"):
        open_or_create(path, OTHER_SPEC, {})
    assert (path / "notes.txt").read_text() == "mine"
    EpisodeStore.open(path).close()
