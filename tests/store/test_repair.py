import os
import signal
import subprocess
import sys

import pytest
from episode_examples import SPEC, assert_same, make_episode

from robofb.errors import UserError
from robofb.store.atomic import STAGING
from robofb.store.episodes import EpisodeStore
from robofb.store.repair import find_remains, repair


@pytest.fixture
def killed(tmp_path):
    """Return a dataset of one episode of 5 steps, whose second append of 20 died before its commit."""
    folder = tmp_path / "d"
    with EpisodeStore.create(folder, SPEC) as store:
        store.append(make_episode(0, 5))
        index = (folder / "index.json").read_bytes()
        store.append(make_episode(1, 20))
    (folder / "index.json").write_bytes(index)
    (folder / STAGING).mkdir()
    (folder / STAGING / "front-1.0.0.0").write_bytes(b"12345")
    (folder / "index.json.tmp").write_bytes(b"123")
    return folder


def test_every_remain_is_named_and_removed(killed):
    found = find_remains(killed)
    assert "data/action: 20 rows after the last committed episode" in found
    assert "final/state: 1 rows after the last committed episode" in found
    assert "data/front: 1 chunk files behind the last committed episode" in found  # rows 16..24
    assert "meta/episode_ends, the copy of the episode ends, is not up to date" in found
    assert f"{STAGING}: 1 stale files, 5 B" in found
    assert "index.json.tmp: stale file, 3 B" in found
    assert repair(killed) == found
    assert find_remains(killed) == [] == repair(killed)
    assert not (killed / "index.json.tmp").exists()
    with EpisodeStore.open(killed) as store:
        assert len(store) == 1
        assert_same(store[0], make_episode(0, 5))


def test_looking_changes_nothing(killed):
    def state():
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in killed.rglob("*")}

    before = state()
    find_remains(killed)
    assert state() == before


def test_a_sound_dataset_has_nothing_to_mend(tmp_path):
    with EpisodeStore.create(tmp_path / "d", SPEC) as store:
        assert len(store) == 0
    assert find_remains(tmp_path / "d") == []
    with EpisodeStore.open(tmp_path / "d", "a") as store:
        store.append(make_episode(3))
    assert find_remains(tmp_path / "d") == []


def test_a_users_own_file_is_left_alone(killed):
    (killed / "notes.tmp").write_text("mine")
    repair(killed)
    assert (killed / "notes.tmp").read_text() == "mine"


def test_a_living_writer_is_not_disturbed(killed):
    program = (
        "import sys, time; from robofb.store.lock import WriterLock; from pathlib import Path;"
        "lock = WriterLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(killed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout.readline() == "held\n"
            for look in (find_remains, repair):
                with pytest.raises(UserError, match=f"is being written by process {writer.pid}"):
                    look(killed)
        finally:
            os.kill(writer.pid, signal.SIGKILL)
    assert len(repair(killed)) > 0


def test_lost_steps_are_not_called_remains(killed):
    header = killed / "data/action/.zarray"
    header.write_text(header.read_text().replace("25", "4"))
    with pytest.raises(UserError, match="data/action has 4 rows, index.json counts 5"):
        find_remains(killed)
