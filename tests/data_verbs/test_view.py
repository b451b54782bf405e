"""`robofb data view` and `robofb data annotate` as typed."""

import shutil

import pytest
from episode_examples import SPEC, make_episode
from scripted_dataset import write_dataset

from robofb.cli import run
from robofb.store.bottlenecks import load_bottlenecks
from robofb.store.episodes import EpisodeStore


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "d")


def counts(path):
    with EpisodeStore.open(path) as store:
        return [len(load_bottlenecks(episode.meta, len(episode))) for episode in store]


def test_annotate_prints_first_and_writes_where_it_is_told(dataset, tmp_path, capsys):
    assert run(["data", "annotate", str(dataset), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "episode 2: 13 gripper has reached leg" in said and "8 bottlenecks in 3 episodes found" in said
    assert run(["data", "annotate", str(dataset), "--out", str(tmp_path / "out")]) == 0
    assert (counts(dataset), counts(tmp_path / "out")) == ([0, 0, 0], [2, 3, 3])
    path = tmp_path / "copy"
    shutil.copytree(dataset, path)
    assert run(["data", "annotate", str(path), "--in-place", "--rule", "gripper"]) == 0
    assert counts(path) == [1, 1, 1]


@pytest.mark.parametrize("words", [[], ["--dry-run", "--in-place"], ["--in-place", "--out", "x"]])
def test_annotate_wants_one_place_to_write(dataset, words, capsys):
    assert run(["data", "annotate", str(dataset), *words]) == 2
    assert "needs one of --dry-run, --out FOLDER and --in-place" in capsys.readouterr().err


def test_a_dataset_without_states_is_annotated_by_what_it_has_and_says_so(tmp_path, capsys):
    path = write_dataset(tmp_path / "d", 1, ("state",))
    assert run(["data", "annotate", str(path), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "contacts could not be recomputed: no 'sim_state' is recorded" in said
    assert "gripper is told to close" in said and "touches" not in said
    assert run(["data", "annotate", str(path), "--dry-run", "--rule", "contact"]) == 2
    assert "needs 'sim_state'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["view"], ["annotate", "--dry-run"]])
def test_what_is_no_dataset_is_one_line(tmp_path, words, capsys):
    assert run(["data", *words, str(tmp_path / "none")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_view_refuses_what_it_cannot_show_in_one_line(tmp_path, capsys):
    with EpisodeStore.create(tmp_path / "d", SPEC) as store:
        assert run(["data", "view", str(tmp_path / "d")]) == 2
        assert "holds no episodes" in capsys.readouterr().err
        store.append(make_episode(0))
        assert run(["data", "view", str(tmp_path / "d"), "--episode", "3"]) == 2
        assert "valid: 0..0" in capsys.readouterr().err
        assert run(["data", "view", str(tmp_path / "d"), "--annotate"]) == 2  # the store above writes
        assert "being written" in capsys.readouterr().err
        assert run(["data", "view", str(tmp_path / "d"), "--port", "99999"]) == 2
        assert "needs 0 (a free one) to 65535" in capsys.readouterr().err
