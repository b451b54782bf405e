"""A session on a real dataset: what is saved is what was marked, and nothing else changes."""

import shutil
from dataclasses import replace

import pytest
from episode_examples import SPEC, assert_same, make_episode

from robofb.errors import UserError
from robofb.store.episodes import EpisodeStore
from robofb.viewer.session import Session


@pytest.fixture
def path(tmp_path):
    with EpisodeStore.create(tmp_path / "d", SPEC) as store:
        for number in range(3):
            store.append(make_episode(number, 6))
    return tmp_path / "d"


def test_marks_are_saved_beside_what_the_episode_knows(path):
    with EpisodeStore.open(path, "a") as store:
        session = Session(store, 1, can_mark=True)
        session.player.seek(4)
        session.mark(" insert ")
        session.go_to(2)
        session.mark("grasp")
        assert session.unsaved == [1, 2]
        assert session.save() == 2 and session.unsaved == [] and session.save() == 0
    with EpisodeStore.open(path) as store:
        assert store[1].meta["bottlenecks"] == [{"step": 4, "by": "person", "why": "insert"}]
        for number in range(3):
            meta = {key: value for key, value in store[number].meta.items() if key != "bottlenecks"}
            assert_same(replace(store[number], meta=meta), make_episode(number, 6))


def test_removing_the_last_mark_removes_the_key(path):
    with EpisodeStore.open(path, "a") as store:
        session = Session(store, can_mark=True)
        session.mark("x")
        session.save()
        session.remove()
        session.save()
    assert "bottlenecks" not in EpisodeStore.open(path)[0].meta


def test_undo_shows_the_episode_that_it_changes(path):
    with EpisodeStore.open(path, "a") as store:
        session = Session(store, can_mark=True)
        session.mark("x")
        session.go_to(2)
        session.undo()
        assert session.number == 0 and session.marks == ()


def test_jumps_go_to_the_nearest_mark_on_either_side(path):
    with EpisodeStore.open(path, "a") as store:
        session = Session(store, can_mark=True)
        for step in (1, 3, 5):
            session.player.seek(step)
            session.mark("x")
        session.player.seek(3)
        session.jump(1)
        assert session.player.step == 5
        with pytest.raises(UserError, match="no bottleneck after step 5"):
            session.jump(1)
        session.jump(-1)
        assert session.player.step == 3


def test_looking_at_a_dataset_needs_no_lock_and_changes_nothing(path):
    with EpisodeStore.open(path, "a"), EpisodeStore.open(path) as reader:
        session = Session(reader)
        for change in (lambda: session.mark("x"), session.remove, session.undo):
            with pytest.raises(UserError, match="--annotate"):
                change()


def test_a_mark_needs_a_reason(path):
    with EpisodeStore.open(path, "a") as store, pytest.raises(UserError, match="why"):
        Session(store, can_mark=True).mark("  ")


@pytest.mark.parametrize("number", [-1, 3])
def test_episodes_that_do_not_exist_are_refused_and_the_session_stays(path, number):
    with EpisodeStore.open(path) as store:
        session = Session(store)
        with pytest.raises(UserError, match=r"valid: 0\.\.2"):
            session.go_to(number)
        assert session.number == 0


def test_an_empty_dataset_is_refused(tmp_path):
    with EpisodeStore.create(tmp_path / "d", SPEC) as store, pytest.raises(UserError, match="no episodes"):
        Session(store)


def test_a_dataset_without_one_of_its_arrays_is_refused(path):
    shutil.rmtree(path / "data" / "front")
    with pytest.raises(UserError, match="damaged"):
        EpisodeStore.open(path)


def test_a_lost_chunk_is_named_and_the_session_stays(path):
    with EpisodeStore.open(path) as store:
        session = Session(store)
        (path / "data" / "front" / "1.0.0.0").unlink()  # rows 16 and later: of episode 2
        with pytest.raises(UserError, match="damaged"):
            session.go_to(2)
        assert session.number == 0 and len(session.episode) == 6


def test_a_save_that_fails_keeps_the_marks_unsaved(path):
    with EpisodeStore.open(path, "a") as store:
        session = Session(store, can_mark=True)
        session.mark("x")
        store.close()
        with pytest.raises(UserError, match="not open for append"):
            session.save()
        assert session.unsaved == [0]


def test_the_speed_stays_from_episode_to_episode(path):
    with EpisodeStore.open(path) as store:
        session = Session(store)
        session.set_speed(4.0)
        assert session.player.speed == 4.0
        session.go_to(1)
        assert session.player.speed == 4.0
