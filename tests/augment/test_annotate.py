"""Marks by rule in a dataset: a copy or in place, whole or not at all."""

import shutil
import signal
import subprocess
import sys

import pytest
from scripted_dataset import task_scene, write_dataset

from robofb.augment.annotate import proposed_marks, write_marked_copy, write_marks
from robofb.errors import UserError
from robofb.store.bottlenecks import BY_PERSON, Bottleneck, load_bottlenecks
from robofb.store.episodes import EpisodeStore
from robofb.store.new_output import copy_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "d")


def marks_of(path):
    with EpisodeStore.open(path) as store:
        return [load_bottlenecks(episode.meta, len(episode)) for episode in store]


def files_of(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_a_copy_holds_the_marks_and_the_input_stays_as_it_is(dataset, tmp_path):
    before = files_of(dataset)
    with EpisodeStore.open(dataset) as store:
        marks = proposed_marks(store, "auto", task_scene())
    write_marked_copy(dataset, tmp_path / "out", marks)
    assert files_of(dataset) == before
    assert marks_of(tmp_path / "out") == list(marks.values()) and all(marks.values())
    after = files_of(tmp_path / "out")
    assert {name for name in before if before[name] != after.get(name)} <= {"index.json", ".writer.lock"}
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_marks_by_a_person_stay_and_older_rules_go(dataset, tmp_path):
    path = tmp_path / "d"
    shutil.copytree(dataset, path)
    person = Bottleneck(3, BY_PERSON, "look here")
    old = Bottleneck(30, "rule", "old")
    write_marks(path, {1: (person, old)})
    with EpisodeStore.open(path) as store:
        marks = proposed_marks(store, "gripper", None)
    write_marks(path, marks)
    found = marks_of(path)[1]
    assert person in found and old not in found and len(found) == 2


def test_an_existing_folder_is_not_overwritten(dataset, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="exists"):
        write_marked_copy(dataset, tmp_path / "out", {})


def test_a_copy_is_not_made_inside_its_source(dataset):
    before = files_of(dataset)
    with pytest.raises(UserError, match="lies in"):
        write_marked_copy(dataset, dataset / "out", {})
    assert files_of(dataset) == before


def test_a_file_that_cannot_be_copied_is_one_line_and_nothing_is_left(dataset, tmp_path):
    path = tmp_path / "d"
    shutil.copytree(dataset, path)
    (path / "data" / "loose").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"out: cannot copy .*: \[Errno 2\] No such file"):
        write_marked_copy(path, tmp_path / "out", {})
    assert [file.name for file in tmp_path.iterdir()] == ["d"]


def test_a_copy_that_cannot_be_finished_leaves_nothing(dataset, tmp_path):
    with pytest.raises(UserError, match="no episode 99"):
        write_marked_copy(dataset, tmp_path / "out", {99: ()})
    assert list(tmp_path.iterdir()) == []


def test_the_copy_of_a_dataset_that_grows_is_sound(dataset, tmp_path):
    """Rows that the copied index does not count, as a writer leaves them for a moment, are cut off."""
    path = tmp_path / "d"
    shutil.copytree(dataset, path)
    index = (path / "index.json").read_bytes()
    with EpisodeStore.open(path, "a") as store:
        episode = store[0]
        store.append(episode)
        copy_dataset(path, tmp_path / "out")  # while the writer holds its lock
    grown = tmp_path / "out"
    (grown / "index.json").write_bytes(index)  # as it was before that episode
    write_marks(grown, {2: (Bottleneck(1, BY_PERSON, "x"),)})
    with EpisodeStore.open(grown) as store:
        assert len(store) == 3
        assert (store[2].obs["state"][-1] == EpisodeStore.open(dataset)[2].obs["state"][-1]).all()


def test_a_dataset_that_another_process_writes_is_not_marked(dataset, tmp_path):
    path = tmp_path / "d"
    shutil.copytree(dataset, path)
    with EpisodeStore.open(path, "a"), pytest.raises(UserError, match="being written"):
        write_marks(path, {})


def test_a_run_killed_while_it_copies_leaves_no_dataset_and_the_next_one_succeeds(dataset, tmp_path):
    code = (
        "import shutil, sys, time\n"
        "from pathlib import Path\n"
        "from robofb.augment import annotate\n"
        "annotate.write_marks = lambda *_: (print('copied', flush=True), time.sleep(60))\n"
        "annotate.write_marked_copy(Path(sys.argv[1]), Path(sys.argv[2]), {})\n"
    )
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", code, dataset, out], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "copied\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    write_marked_copy(dataset, out, {0: (Bottleneck(1, BY_PERSON, "x"),)})
    assert [file.name for file in tmp_path.iterdir()] == ["out"]
    assert [len(marks) for marks in marks_of(out)] == [1, 0, 0]


def test_bottleneck_meta_of_foreign_make_is_refused_by_episode(dataset, tmp_path):
    path = tmp_path / "d"
    shutil.copytree(dataset, path)
    with EpisodeStore.open(path, "a") as store:
        store.update({1: {"meta": {"bottlenecks": "yes"}}})
    with EpisodeStore.open(path) as store, pytest.raises(UserError, match="episode 1"):
        proposed_marks(store, "gripper", None)
