import errno
import json
import os
import random
import shutil
import signal
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import zarr
from episode_examples import SPEC, make_episode
from fork_server import committed, end, fork_server, start

from edit.examples import assert_same_but_origin, contents, made, make_dataset
from robofb.errors import UserError
from robofb.store import continuation
from robofb.store.continuation import open_or_create
from robofb.store.doctor.examine import examine
from robofb.store.edit.plan import CAME_FROM, check, describe, make_plan, whole, write
from robofb.store.edit.trim import trim
from robofb.store.episodes import EpisodeStore
from robofb.types import ArraySpec, EnvSpec

NUM_ROUNDS = 4
KILLS_A_ROUND = 5


def copy_plan(store, out, verb="copy", numbers=None):
    chosen = range(len(store)) if numbers is None else numbers
    return make_plan(out, [whole(store, number) for number in chosen], [store], verb, {"n": len(chosen)})


@pytest.fixture
def edit_writer():
    """Start the fork server; yields its process."""
    with fork_server(Path(__file__).with_name("edit_writer.py")) as server:
        yield server


def test_killed_at_random_moments_it_goes_on_and_ends_with_the_very_same_dataset(edit_writer, tmp_path):
    source = make_dataset(tmp_path / "d", range(8), {"robot": "franka"}, lengths=range(20, 28))
    before = contents(source.path)
    start(edit_writer, source.path, tmp_path / "reference")
    begin = time.perf_counter()
    assert end(edit_writer) == "ended 0\n"
    duration_s, expected = time.perf_counter() - begin, contents(tmp_path / "reference")
    chance, num_half_way = random.Random(0), 0
    for number in range(NUM_ROUNDS):
        out = tmp_path / f"out{number}"
        for _ in range(KILLS_A_ROUND):
            wanted = committed(out) + chance.randrange(3)
            writer = start(edit_writer, source.path, out)
            while committed(out) < min(wanted, 8):
                time.sleep(0.0005)
            time.sleep(chance.uniform(0.0, duration_s / 20))
            os.kill(writer, signal.SIGKILL)
            end(edit_writer)
            if (out / "index.json").exists():
                with EpisodeStore.open(out, unfinished=True) as there:
                    for index, episode in enumerate(there):
                        assert len(episode) == 18 + index
                    num_half_way += 0 < len(there) < 8
        start(edit_writer, source.path, out)
        assert end(edit_writer) == "ended 0\n"
        assert contents(out) == expected
    assert num_half_way >= 3  # the kills did strike between episodes
    assert contents(source.path) == before


def test_an_episode_keeps_everything_and_says_where_it_came_from(tmp_path):
    source = make_dataset(tmp_path / "d", [4, 7], {"robot": "franka", "cameras": {"front": {"fx_px": 200.0}}})
    first = made(copy_plan(source, tmp_path / "c"))
    second = made(copy_plan(first, tmp_path / "e", "again", [1]))
    assert second.meta["cameras"] == {"front": {"fx_px": 200.0}}
    assert [edit["verb"] for edit in second.meta["edits"]] == ["copy", "again"]
    assert second[0].meta == {
        "seed": 7,
        "note": "épisode 7",
        CAME_FROM: [
            {"verb": "copy", "dataset": str(tmp_path / "d"), "episode": 1},
            {"verb": "again", "dataset": str(tmp_path / "c"), "episode": 1},
        ],
    }
    assert_same_but_origin(second[0], make_episode(7))


def test_a_finished_edit_is_not_done_again(tmp_path):
    source = make_dataset(tmp_path / "d", range(3))
    plan = copy_plan(source, tmp_path / "c")
    assert write(plan) == 3
    before = contents(tmp_path / "c")
    assert "3 of them are there" not in "\n".join(describe(plan))
    assert "all of them are there already" in describe(plan)[0]
    assert write(plan) == 0
    assert contents(tmp_path / "c") == before


def test_half_an_edit_goes_on_behind_what_is_there(tmp_path, monkeypatch):
    source = make_dataset(tmp_path / "d", range(4))
    plan, appended = copy_plan(source, tmp_path / "c"), []
    append = EpisodeStore.append

    def fail_at_third(self, episode):
        if len(appended) == 2:
            raise KeyboardInterrupt
        appended.append(append(self, episode))
        return appended[-1]

    monkeypatch.setattr(EpisodeStore, "append", fail_at_third)
    with pytest.raises(KeyboardInterrupt):
        write(plan)
    monkeypatch.undo()
    assert check(plan) == 2
    assert "; 2 of them are there already" in describe(plan)[0]
    assert write(plan) == 2
    for number, episode in enumerate(EpisodeStore.open(tmp_path / "c")):
        assert_same_but_origin(episode, make_episode(number))


def test_what_is_there_must_be_of_the_same_edit_of_the_same_data(tmp_path):
    source = make_dataset(tmp_path / "d", range(4))
    write(copy_plan(source, tmp_path / "c", numbers=[0, 1]))
    before = contents(tmp_path / "c")
    refusal = "already holds another dataset than this"
    with pytest.raises(UserError, match=refusal):
        write(copy_plan(source, tmp_path / "c"))  # another argument
    with pytest.raises(UserError, match=refusal):
        write(copy_plan(source, tmp_path / "c", "another verb", [0, 1]))
    with EpisodeStore.open(source.path, "a") as writer:
        writer.update({3: {"success": True}})
    with pytest.raises(UserError, match=refusal):
        write(copy_plan(EpisodeStore.open(source.path), tmp_path / "c", numbers=[0, 1]))  # other data now
    with pytest.raises(UserError, match=refusal):
        write(copy_plan(source, make_dataset(tmp_path / "foreign", [9]).path))
    assert contents(tmp_path / "c") == before


def test_a_dataset_that_somebody_appended_to_is_not_gone_on_with(tmp_path):
    source = make_dataset(tmp_path / "d", range(2))
    plan = copy_plan(source, tmp_path / "c")
    write(plan)
    with EpisodeStore.open(tmp_path / "c", "a") as store:
        store.append(make_episode(8))
    with pytest.raises(UserError, match="already holds another dataset"):
        write(plan)
    assert len(EpisodeStore.open(tmp_path / "c")) == 3


def test_out_is_neither_a_source_nor_inside_a_dataset(tmp_path):
    source, other = make_dataset(tmp_path / "d", [0]), make_dataset(tmp_path / "o", [1])
    empty = make_dataset(tmp_path / "empty", [])
    (tmp_path / "link").symlink_to(tmp_path / "d")
    before = contents(tmp_path)
    for out in ("d", "link", "d/../d"):
        with pytest.raises(UserError, match="is the dataset to read from"):
            write(copy_plan(source, tmp_path / out))
    for out in ("d/c", "link/deep/c", "o/c"):
        with pytest.raises(UserError, match="lies inside the dataset"):
            write(copy_plan(source, tmp_path / out))
    with pytest.raises(UserError, match="lies inside the dataset"):
        write(copy_plan(empty, tmp_path / "empty" / "c"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="full is not empty"):
        write(copy_plan(other, tmp_path / "full"))
    (tmp_path / "file").write_text("x")
    for out in ("file", "file/c"):
        with pytest.raises(UserError, match="file"):
            write(copy_plan(other, tmp_path / out))
    with pytest.raises(UserError, match="nnn: cannot create dataset: File name too long"):
        check(copy_plan(other, tmp_path / ("n" * 300)))
    (tmp_path / "full" / "thesis.tex").unlink()
    (tmp_path / "file").unlink()
    assert contents(tmp_path) == before


def test_a_source_with_a_lost_chunk_leaves_the_episodes_before_it(tmp_path):
    source = make_dataset(tmp_path / "d", range(3), lengths=[20, 20, 20])
    shutil.copytree(source.path, tmp_path / "whole")
    (source.path / "data/front/3.0.0.0").unlink()  # rows 48-63, of the third episode
    with pytest.raises(UserError, match=r"data/front/3\.0\.0\.0"):
        write(copy_plan(source, tmp_path / "c"))
    assert len(EpisodeStore.open(tmp_path / "c", unfinished=True)) == 2
    shutil.copy(tmp_path / "whole/data/front/3.0.0.0", source.path / "data/front/3.0.0.0")
    assert write(copy_plan(source, tmp_path / "c")) == 1
    assert_same_but_origin(EpisodeStore.open(tmp_path / "c")[2], make_episode(2, 20))


def test_one_episode_is_held_at_a_time(tmp_path):
    images = ArraySpec((3, 64, 64), "uint8", "sRGB")
    spec = EnvSpec("big", {"image_front": images}, SPEC.action, 0.1, 50)
    with EpisodeStore.create(tmp_path / "d", spec) as store:
        for number in range(12):
            store.append(make_episode(number, 32, spec))
    episode_bytes = 33 * 3 * 64 * 64
    source = EpisodeStore.open(tmp_path / "d")
    write(trim(source, tmp_path / "warm", head=1))  # imports and the like are not counted
    tracemalloc.start()
    write(trim(source, tmp_path / "c", head=1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * episode_bytes  # the dataset has 12 of them


def full_at(monkeypatch, number):
    """Let the disk be full when a file of episode `number` is synced, and not any more later."""
    real = EpisodeStore.append

    def append(store, episode):
        if len(store) < number:
            return real(store, episode)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", raise_full)
            return real(store, episode)

    monkeypatch.setattr(EpisodeStore, "append", append)


def raise_full(handle):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_a_dataset_that_nobody_takes_for_the_whole(tmp_path, monkeypatch):
    source = make_dataset(tmp_path / "d", range(5))
    plan = copy_plan(source, tmp_path / "out")
    with monkeypatch.context() as patch:
        full_at(patch, 2)
        with pytest.raises(UserError, match=r"episode 2 is not saved .*: the disk is full$"):
            write(plan)
    before = contents(plan.out)
    line = (
        f"{plan.out} is unfinished, with 2 of 5 episodes: the same robofb data copy as before goes on with it"
    )
    for refused in (
        lambda: EpisodeStore.open(plan.out),
        lambda: EpisodeStore.open(plan.out, "a"),
        lambda: open_or_create(plan.out, source.spec, plan.meta),
    ):
        with pytest.raises(UserError) as caught:
            refused()
        assert str(caught.value) == line
    (finding,) = (found for found in examine(plan.out).findings if found.episode is None)
    assert (finding.fault, finding.severity, finding.text) == ("unfinished", "error", line)
    assert contents(plan.out) == before
    assert write(plan) == 3
    write(copy_plan(source, tmp_path / "whole"))
    assert contents(plan.out) == contents(tmp_path / "whole")
    assert len(EpisodeStore.open(plan.out)) == 5


def test_a_disk_that_fills_up_with_the_last_episode(tmp_path, monkeypatch):
    """All is there but the mark, which the next run takes away."""
    plan = copy_plan(make_dataset(tmp_path / "d", range(2)), tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr("robofb.store.layout.replace_file", lambda *_: raise_full(0))
        with pytest.raises(UserError):  # no room for the index: vacant still
            write(plan)
    finish = continuation.finish

    def finish_on_full_disk(store):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", raise_full)
            finish(store)

    with monkeypatch.context() as patch:
        patch.setattr("robofb.store.edit.plan.finish", finish_on_full_disk)
        with pytest.raises(UserError, match=r"cannot be marked as finished: the disk is full$"):
            write(plan)
    with pytest.raises(UserError, match="with 2 of 2 episodes"):
        EpisodeStore.open(plan.out)
    assert "all of them are there already" in describe(plan)[0]
    assert write(plan) == 0
    assert len(EpisodeStore.open(plan.out)) == 2


def test_a_mark_that_says_nothing_is_damage(tmp_path):
    make_dataset(tmp_path / "d", range(2)).close()
    attributes = json.loads((tmp_path / "d" / ".zattrs").read_text())
    (tmp_path / "d" / ".zattrs").write_text(json.dumps({**attributes, "unfinished": 3}))
    with pytest.raises(UserError, match=r"holds no sound mark 'unfinished' \(3\)"):
        EpisodeStore.open(tmp_path / "d")
    faults = [found.fault for found in examine(tmp_path / "d").findings if found.episode is None]
    assert faults == ["damaged_file"]


def test_what_a_source_should_not_hold_is_named_with_its_place_there(tmp_path):
    sources = [make_dataset(tmp_path / name, range(2), lengths=[20, 20]) for name in ("a", "b")]
    zarr.open_group(tmp_path / "b", mode="r+")["data/action"][25] = np.nan  # as another tool may
    pieces = [whole(store, number) for store in sources for number in range(2)]
    with pytest.raises(UserError) as caught:
        write(make_plan(tmp_path / "c", pieces, sources, "merge", {}))
    assert str(caught.value) == (
        f"{tmp_path / 'c'}: episode 3 refused: action holds NaN or infinity at step 5"
        f" (episode 1 of {tmp_path / 'b'})"
    )
