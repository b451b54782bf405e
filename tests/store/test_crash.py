"""Writers that are killed, that fail half way, and that run out of disk."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import zarr
from episode_examples import SPEC, assert_same, make_episode
from fork_server import fork_server

from robofb.errors import UserError
from robofb.store import atomic
from robofb.store.episodes import EpisodeStore
from robofb.store.flat_array import CHUNK_ROWS

NUM_KILLS = 50


@pytest.fixture
def crash_writer():
    """Start the fork server; yields its process."""
    with fork_server(Path(__file__).with_name("crash_writer.py")) as server:
        yield server


def run_and_kill(server, folder, num_reports, seconds_more):
    """Kill -9 a writer some time after its n-th append; return the last count it reported, or None.

    Also returns the seconds from its start to each report that was waited for.
    """
    server.stdin.write(f"{folder}\n")
    server.stdin.flush()
    writer = int(server.stdout.readline())
    start, reported, seconds = time.perf_counter(), None, []
    for _ in range(num_reports):
        reported = int(server.stdout.readline())
        seconds.append(time.perf_counter() - start)
    time.sleep(seconds_more)
    os.kill(writer, signal.SIGKILL)
    while (line := server.stdout.readline().strip()) != "dead":
        reported = int(line)
    return reported, seconds


def assert_holds(folder, expected):
    """Fail unless a dataset's steps are exactly those of the expected episodes."""
    with EpisodeStore.open(folder) as store:
        assert len(store) == len(expected)
        assert store.successes.tolist() == [episode.success for episode in expected]
        assert store.episode_lengths.tolist() == [len(episode) for episode in expected]
        if not expected:
            return
        for key in ("state", "front"):
            rows = np.concatenate([episode.obs[key][:-1] for episode in expected])
            np.testing.assert_array_equal(store.read(key), rows)
        np.testing.assert_array_equal(store.read("action"), np.concatenate([e.action for e in expected]))
        np.testing.assert_array_equal(store.finals("timestamp"), [e.timestamps[-1] for e in expected])
        assert_same(store[-1], expected[-1])


def test_kill_9_at_random_moments_loses_only_the_open_episode(crash_writer, tmp_path):
    folder = tmp_path / "dataset"
    EpisodeStore.create(folder, SPEC).close()
    chance = random.Random(0)
    expected, num_interrupted = [], 0
    open_s = append_s = 0.0  # taken from the first writer, so that kills strike home on a busy machine too
    for kill in range(NUM_KILLS):
        num_reports = chance.randrange(4) if kill else 5
        wait = chance.uniform(0.0, 2 * append_s if num_reports else open_s)
        reported, seconds = run_and_kill(crash_writer, folder, num_reports, wait)
        if kill == 0:
            open_s, append_s = seconds[0], (seconds[-1] - seconds[0]) / 4
        floor = len(expected) if reported is None else reported
        with EpisodeStore.open(folder) as store:
            assert len(store) in (floor, floor + 1)
            expected += [make_episode(number) for number in range(len(expected), len(store))]
            rows = zarr.open_array(folder / "data" / "action", mode="r").shape[0]
            staged = list((folder / atomic.STAGING).glob("*"))
            num_interrupted += rows > sum(map(len, expected)) or bool(staged)
        assert_holds(folder, expected)
    assert len(expected) >= NUM_KILLS
    assert num_interrupted >= 5  # the kills did strike in the middle of appends
    with EpisodeStore.open(folder, "a") as store:
        for found, episode in zip(store, expected, strict=True):
            assert_same(found, episode)
        store.append(make_episode(len(expected)))
    assert_holds(folder, [*expected, make_episode(len(expected))])
    ends = zarr.open_group(folder, mode="r")["meta/episode_ends"][:]
    assert (
        ends.tolist() == np.cumsum([len(e) for e in expected] + [len(make_episode(len(expected)))]).tolist()
    )


def test_opening_for_append_removes_uncommitted_rows(tmp_path):
    folder, long = tmp_path / "d", make_episode(1, 2 * CHUNK_ROWS)
    with EpisodeStore.create(folder, SPEC) as store:
        store.append(make_episode(0))
        index = (folder / "index.json").read_bytes()
        store.append(long)
    (folder / "index.json").write_bytes(index)  # as if killed just before the commit of the second
    (folder / atomic.STAGING).mkdir()
    (folder / atomic.STAGING / "left").write_text("over")
    with EpisodeStore.open(folder) as reader:
        assert_same(reader[0], make_episode(0))
    EpisodeStore.open(folder, "a").close()
    root = zarr.open_group(folder, mode="r")
    assert root["meta/episode_ends"][:].tolist() == [len(make_episode(0))]
    assert {array.shape[0] for _, array in root["data"].arrays()} == {len(make_episode(0))}
    assert {array.shape[0] for _, array in root["final"].arrays()} == {1}
    assert [path.name for path in (folder / "data/action").glob("[0-9]*")] == ["0.0"]
    assert not (folder / atomic.STAGING).exists()
    with EpisodeStore.open(folder, "a") as store:
        store.append(make_episode(1))
    assert_holds(folder, [make_episode(0), make_episode(1)])


class Crash(BaseException):
    """Stands for the death of the process: no handler of the store expects it."""


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_stopping_at_any_system_call_of_an_append_keeps_what_is_committed(call, tmp_path, monkeypatch):
    template = tmp_path / "template"
    before = [make_episode(number) for number in range(3)]
    with EpisodeStore.create(template, SPEC) as store:
        for episode in before:
            store.append(episode)
    real, outcomes = getattr(os, call), []
    for fatal in range(100):
        folder = tmp_path / f"{call}{fatal}"
        shutil.copytree(template, folder)
        calls = iter(range(1000))

        def stop_at(*args, calls=calls, fatal=fatal, **kwargs):
            if next(calls) >= fatal:
                raise Crash
            return real(*args, **kwargs)

        with EpisodeStore.open(folder, "a") as store:
            monkeypatch.setattr(os, call, stop_at)
            try:
                store.append(make_episode(3))
                survived = True
            except Crash:
                survived = False
            monkeypatch.setattr(os, call, real)
            num_in_memory = len(store)
        with EpisodeStore.open(folder) as store:
            outcomes.append(len(store))
            assert len(store) == num_in_memory
        assert_holds(folder, [*before, make_episode(3)][: outcomes[-1]])
        with EpisodeStore.open(folder, "a") as store:
            store.append(make_episode(outcomes[-1]))
        assert_holds(folder, [*before, make_episode(3), make_episode(4)][: outcomes[-1] + 1])
        if survived:
            break
    assert survived
    assert outcomes == sorted(outcomes)  # not committed before one call, committed ever after
    assert outcomes[0] == 3
    assert outcomes[-1] == 4


def test_full_disk_is_one_line_and_the_next_append_works(tmp_path, monkeypatch):
    with EpisodeStore.create(tmp_path / "d", SPEC) as store:
        store.append(make_episode(0))
        files = {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()}

        def full(handle):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(
                UserError, match=r"episode 1 is not saved \(those before it are\): the disk is full$"
            ):
                store.append(make_episode(1))
        assert {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()} == files
        assert store.append(make_episode(1)) == 1
    assert_holds(tmp_path / "d", [make_episode(0), make_episode(1)])


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 1 MiB, where this user may."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_really_full_disk_keeps_committed_episodes(small_disk):
    folder, saved = small_disk / "d", []
    with EpisodeStore.create(folder, SPEC) as store:

        def append_for_ever():
            for number in count():
                store.append(make_episode(number))
                saved.append(make_episode(number))

        with pytest.raises(UserError, match="the disk is full"):
            append_for_ever()
        assert len(saved) > 10
        assert len(store) == len(saved)
    assert_holds(folder, saved)
    EpisodeStore.open(folder, "a").close()


KILLED_CREATION = """
import os, sys
from pathlib import Path
from episode_examples import SPEC
from robofb.store.episodes import EpisodeStore

calls, real = iter(range(100)), os.replace
os.replace = lambda *args: os._exit(9) if next(calls) == int(sys.argv[2]) else real(*args)
EpisodeStore.create(Path(sys.argv[1]), SPEC)
"""


@pytest.mark.parametrize("fatal", [0, 4, 8])
def test_killed_creation_can_be_done_again_and_never_removes_data(tmp_path, fatal):
    folder = tmp_path / "d"
    command = [sys.executable, "-c", KILLED_CREATION, str(folder), str(fatal)]
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    assert subprocess.run(command, env=os.environ | {"PYTHONPATH": path}).returncode == 9
    with pytest.raises(UserError, match=r"not a robofb dataset .*interrupted; it can be made again"):
        EpisodeStore.open(folder)
    with EpisodeStore.create(folder, SPEC) as store:
        store.append(make_episode(0))
    with pytest.raises(UserError, match="already holds a dataset"):
        EpisodeStore.create(folder, SPEC)
    assert_holds(folder, [make_episode(0)])
