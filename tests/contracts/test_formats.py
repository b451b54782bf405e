"""Hold every registered importer and exporter to the same promises."""

import hashlib
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from format_examples import EXAMPLES, LENGTHS, SPEC, episode

from robofb.errors import UserError
from robofb.store import convert as conversion
from robofb.store.convert import convert
from robofb.store.episodes import EpisodeStore
from robofb.store.exporters import exporters, find_exporter
from robofb.store.foreign import Wishes
from robofb.store.importers import find_importer, importers, open_source

IMPORTERS, EXPORTERS = sorted(importers()), sorted(exporters())
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(params=IMPORTERS)
def example(request, tmp_path):
    """Return (name, path, wishes) of a dataset of a format."""
    (tmp_path / "in").mkdir()
    made = EXAMPLES[request.param]
    return request.param, made.make(tmp_path / "in"), Wishes(rate_hz=made.rate_hz)


def target(name: str) -> str:
    """Return a format to convert to that is not the source's."""
    return "robofb" if name != "robofb" else "robomimic"


def tree(path: Path) -> dict:
    """Return the content and time of change of every file at or below a path."""
    files = [path, *path.rglob("*")]
    return {
        str(file): (file.stat().st_mtime_ns, file.is_file() and hashlib.sha1(file.read_bytes()).digest())
        for file in files
    }


def read(name, path, wishes):
    """Return (spec, episodes, notes) as an importer reads them."""
    with ExitStack() as stack:
        _, source = open_source(path, name, wishes, stack)
        return source.spec, list(source.episodes()), source.notes


def assert_equal_episodes(found, expected, but_final_obs_of=()):
    for one, other in zip(found, expected, strict=True):
        for key in other.obs:
            stop = -1 if key in but_final_obs_of else None
            np.testing.assert_array_equal(one.obs[key][:stop], other.obs[key][:stop])
        for field in ("action", "reward", "timestamps", "source"):
            a, b = getattr(one, field), getattr(other, field)
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        assert (one.success, one.terminated) == (other.success, other.terminated)


def test_is_found_by_looking_and_by_no_other(example):
    name, path, _ = example
    assert [label for label, importer in importers().items() if importer.looks_like(path)] == [name]
    assert find_importer(path, "auto")[0] == name
    assert importers()[name].SUMMARY


def test_becomes_a_sound_dataset(example, tmp_path):
    name, path, wishes = example
    done = convert(path, tmp_path / "out", target_format=target(name), wishes=wishes)
    assert (done.source_format, done.source.num_episodes, done.num_steps) == (name, 2, sum(LENGTHS))
    assert done.off_rate == ()
    if name != "robofb":
        assert done.source.notes  # every foreign format needs some assumption
        with EpisodeStore.open(tmp_path / "out") as store:
            assert store.episode_lengths.tolist() == list(LENGTHS)
            assert store.meta["import"] == {
                "format": name,
                "from": path.name,
                "notes": list(done.source.notes),
            }
            assert_equal_episodes(store, read(name, path, wishes)[1])


def test_reading_changes_nothing(example, tmp_path):
    name, path, wishes = example
    before = tree(path)
    convert(path, tmp_path / "out", target_format=target(name), wishes=wishes)
    assert tree(path) == before


def test_dry_run_writes_nothing(example, tmp_path):
    name, path, wishes = example
    before = tree(tmp_path)
    done = convert(path, tmp_path / "out", target_format=target(name), wishes=wishes, dry_run=True)
    assert (done.source.num_episodes, done.num_steps) == (2, sum(LENGTHS))
    assert tree(tmp_path) == before


@pytest.mark.parametrize("asked", ["auto", "by name"])
def test_refuses_what_it_is_not(example, tmp_path, asked):
    name, _, wishes = example
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("x,y\n1,2\n")
    for path in (tmp_path / "empty", tmp_path / "text.txt", tmp_path / "absent"):
        with pytest.raises(UserError) as refused:
            convert(
                path,
                tmp_path / "out",
                source_format="auto" if asked == "auto" else name,
                target_format=target(name),
                wishes=wishes,
            )
        assert path.name in str(refused.value)
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_refuses_a_newer_version_by_name(example, tmp_path):
    name, path, wishes = example
    EXAMPLES[name].make_newer(path)
    with pytest.raises(UserError, match=EXAMPLES[name].version):
        convert(path, tmp_path / "out", source_format=name, target_format=target(name), wishes=wishes)


def test_a_file_cut_off_anywhere_is_refused_or_does_not_matter(example):
    name, path, wishes = example
    expected = read(name, path, wishes)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    refused = 0
    for file in files:
        content = file.read_bytes()
        for length in (0, len(content) // 2, max(len(content) - 3, 0)):
            if length == len(content):
                continue
            file.write_bytes(content[:length])
            try:
                episodes = read(name, path, wishes)[1]
            except UserError:
                refused += 1
            else:
                assert_equal_episodes(episodes, expected[1])
        file.write_bytes(content)
    assert refused >= 3
    assert_equal_episodes(read(name, path, wishes)[1], expected[1])


def test_a_lost_file_is_refused_or_does_not_matter(example):
    name, path, wishes = example
    if path.is_file():
        return
    expected = read(name, path, wishes)
    for file in [file for file in path.rglob("*") if file.is_file()]:
        content = file.read_bytes()
        file.unlink()
        try:
            spec, episodes, notes = read(name, path, wishes)
        except UserError:
            pass
        else:  # what is read must be the same, unless a note tells of it
            if notes == expected[2] and spec.obs == expected[0].obs and len(episodes) == len(expected[1]):
                assert_equal_episodes(episodes, expected[1])
        file.write_bytes(content)


def test_an_action_that_is_not_there_is_refused(example):
    name, path, wishes = example
    with pytest.raises(UserError, match="no action 'torque'; it has: "):
        read(name, path, Wishes(rate_hz=wishes.rate_hz, action="torque"))


def test_ctrl_c_leaves_nothing_that_looks_whole(example, tmp_path, monkeypatch):
    """What is kept of a conversion to our own format is gone on with: see tests/store/test_convert.py."""
    name, path, wishes = example
    checked = []

    def strike(*arguments):
        checked.append(arguments)
        if len(checked) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "check_episode", strike)
    with pytest.raises(KeyboardInterrupt):
        convert(path, tmp_path / "out", target_format=target(name), wishes=wishes)
    kept = [".out.partial"] if find_exporter(target(name)).GOES_ON else []
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [*kept, "in"]


@pytest.mark.parametrize("name", [name for name in EXPORTERS if name != "robofb"])
def test_comes_back_bit_for_bit(name, tmp_path):
    source = EXAMPLES["robofb"].make(tmp_path)
    convert(source, tmp_path / "there", target_format=name)
    assert find_importer(tmp_path / "there", "auto")[0] == name
    convert(tmp_path / "there", tmp_path / "back")
    with EpisodeStore.open(tmp_path / "back") as store:
        assert store.spec == SPEC
        assert store.meta["robot"] == "franka"
        originals = [episode(number, steps) for number, steps in enumerate(LENGTHS)]
        lost = store.spec.obs if any("repeated" in note for note in store.meta["import"]["notes"]) else ()
        assert_equal_episodes(store, originals, but_final_obs_of=lost)
        for found, original in zip(store, originals, strict=True):
            assert {key: found.meta[key] for key in original.meta if original.meta[key]} == {
                key: value for key, value in original.meta.items() if value
            }


@pytest.mark.parametrize("name", EXPORTERS)
def test_writes_what_any_importer_reads(name, tmp_path):
    """A foreign source reaches a foreign target without a stop in between."""
    source = EXAMPLES["juicer"].make(tmp_path)
    convert(source, tmp_path / "there", target_format=name)
    spec, episodes, _ = read(name, tmp_path / "there", Wishes())
    expected_spec, expected, _ = read("juicer", source, Wishes())
    assert spec.obs == expected_spec.obs
    assert spec.task == "one_leg"
    assert_equal_episodes(episodes, expected)


@pytest.mark.parametrize("name", EXPORTERS)
def test_a_taken_place_is_refused_and_kept(name, tmp_path):
    source = EXAMPLES["juicer"].make(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("keep")
    for out in (tmp_path / "out", tmp_path / "out/mine.txt"):
        with pytest.raises(UserError, match="exists: choose another place"):
            convert(source, out, target_format=name)
    with pytest.raises(UserError, match="lies in .*juicer.zarr: choose a place outside"):
        convert(source, source / "inner", target_format=name)
    assert (tmp_path / "out/mine.txt").read_text() == "keep"


@pytest.mark.parametrize("name", EXPORTERS)
def test_video_is_refused_where_the_format_has_none(name, tmp_path):
    if find_exporter(name).TAKES_VIDEO:
        return
    with pytest.raises(UserError, match=f"'{name}' stores no video"):
        convert(
            EXAMPLES["juicer"].make(tmp_path), tmp_path / "o", target_format=name, wishes=Wishes(video=True)
        )


KILLED = """
import os, sys
from pathlib import Path
from robofb.store import convert as conversion
from robofb.store.exporters import exporters
for name in sorted(exporters()):
    child = os.fork()
    if child == 0:
        seen = []
        def strike(*arguments):
            seen.append(arguments)
            if len(seen) == 2:
                os._exit(9)
        conversion.check_episode = strike
        conversion.convert(Path(sys.argv[1]), Path(sys.argv[2], name), target_format=name)
    os.waitpid(child, 0)
"""


def test_a_killed_conversion_leaves_nothing_that_looks_whole_and_the_next_one_succeeds(tmp_path):
    source = EXAMPLES["juicer"].make(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(source), str(tmp_path)]
    subprocess.run(command, env=environment, check=True, timeout=120)
    for name in EXPORTERS:
        assert not (tmp_path / name).exists()
        assert (tmp_path / f".{name}.partial").exists()
        done = convert(source, tmp_path / name, target_format=name)
        assert done.num_steps == sum(LENGTHS)
        assert not (tmp_path / f".{name}.partial").exists()
        assert_equal_episodes(read(name, tmp_path / name, Wishes())[1], read("juicer", source, Wishes())[1])
