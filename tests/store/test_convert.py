"""Conversions to our own format that are killed, stopped, and started again."""

import errno
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from edit.examples import contents
from fork_server import committed, end, fork_server, start
from format_examples import SPEC, dppo, episode

from robofb.errors import UserError
from robofb.store import convert as conversion
from robofb.store.convert import convert
from robofb.store.episodes import EpisodeStore
from robofb.store.foreign import Wishes
from robofb.store.index import INDEX_FILE

NUM_EPISODES = 8
NUM_ROUNDS, KILLS_A_ROUND = 3, 5


@pytest.fixture
def source(tmp_path):
    """A robomimic file whose episodes differ in length and values; its rate is not the declared one."""
    with EpisodeStore.create(tmp_path / "ours", SPEC, {"robot": "franka"}) as store:
        for number in range(NUM_EPISODES):
            store.append(episode(number, 20 + number))
    convert(tmp_path / "ours", tmp_path / "demos.hdf5", target_format="robomimic")
    return tmp_path / "demos.hdf5"


def partial(out):
    return out.parent / f".{out.name}.partial"


def stop_at(monkeypatch, number, error=KeyboardInterrupt):
    """Raise when episode `number` is about to be written."""
    checked, real = [], conversion.check_episode

    def check(*arguments):
        if len(checked) == number:
            raise error
        checked.append(real(*arguments))

    monkeypatch.setattr(conversion, "check_episode", check)


def stopped(source, out, after, wishes=None):
    """Stop a conversion by Ctrl-C after some episodes."""
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, after)
        with pytest.raises(KeyboardInterrupt):
            convert(source, out, wishes=wishes)
    assert not out.exists()
    assert committed(partial(out) / out.name) == after


def test_killed_at_random_moments_it_goes_on_and_ends_with_the_very_same_dataset(source, tmp_path):
    with fork_server(Path(__file__).with_name("convert_writer.py")) as server:
        start(server, source, tmp_path / "reference")
        begin = time.perf_counter()
        assert end(server) == "ended 0\n"
        duration_s, expected = time.perf_counter() - begin, contents(tmp_path / "reference")
        chance, num_half_way = random.Random(0), 0
        for number in range(NUM_ROUNDS):
            out = tmp_path / f"out{number}"
            inner = partial(out) / out.name
            for _ in range(KILLS_A_ROUND):
                wanted = min(committed(inner) + chance.randrange(3), NUM_EPISODES)
                writer = start(server, source, out)
                while committed(inner) < wanted and not out.exists():
                    time.sleep(0.0005)
                time.sleep(chance.uniform(0.0, duration_s / 20))
                os.kill(writer, signal.SIGKILL)
                end(server)
                num_half_way += 0 < committed(inner) < NUM_EPISODES
                if out.exists():
                    break
            if not out.exists():
                start(server, source, out)
                assert end(server) == "ended 0\n"
                assert not partial(out).exists()
            assert contents(out) == expected
    assert num_half_way >= 3  # the kills did strike between episodes


def test_what_is_written_is_not_read_again_and_counts_all_the_same(source, tmp_path, monkeypatch):
    whole = convert(source, tmp_path / "whole", wishes=Wishes(rate_hz=20.0))
    stopped(source, tmp_path / "out", 5, Wishes(rate_hz=20.0))
    lines, checked = [], []
    monkeypatch.setattr(conversion, "check_episode", lambda one, spec: checked.append(len(one)))
    done = convert(source, tmp_path / "out", wishes=Wishes(rate_hz=20.0), tell=lines.append)
    assert lines == ["going on at episode 5 of 8"]
    assert checked == [25, 26, 27]
    assert done.num_steps == whole.num_steps == sum(range(20, 28))
    assert done.off_rate == whole.off_rate == tuple(range(8))  # recorded at 10 Hz
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_it_starts_afresh_where_the_options_are_others(source, tmp_path):
    stopped(source, tmp_path / "out", 3, Wishes(task="one"))
    lines = []
    convert(source, tmp_path / "out", wishes=Wishes(task="two"), tell=lines.append)
    folder = partial(tmp_path / "out")
    assert lines == [
        f"starting afresh: {folder} held an unfinished conversion with another options, spec",
    ]
    convert(source, tmp_path / "whole", wishes=Wishes(task="two"))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("change", ["time", "size", "place"])
def test_it_starts_afresh_where_the_source_is_another(source, tmp_path, change):
    stopped(source, tmp_path / "out", 3)
    lines, named = [], "size and time of the files"
    if change == "time":
        os.utime(source, ns=(0, 1))
    elif change == "size":
        time_ns = source.stat().st_mtime_ns
        with h5py.File(source, "a") as file:
            file["unused"] = np.zeros(1000)
        os.utime(source, ns=(0, time_ns))
    else:
        source = source.rename(tmp_path / "moved.hdf5")
        named = "path, size and time of the files, meta"
    convert(source, tmp_path / "out", tell=lines.append)
    folder = partial(tmp_path / "out")
    assert lines == [f"starting afresh: {folder} held an unfinished conversion with another {named}"]
    convert(source, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_file_beside_the_source_counts_as_part_of_it(tmp_path):
    folder = dppo(tmp_path)
    wishes = Wishes(rate_hz=10.0)
    stopped(folder / "train.npz", tmp_path / "out", 1, wishes)
    os.utime(folder / "normalization.npz", ns=(0, 1))
    lines = []
    convert(folder / "train.npz", tmp_path / "out", wishes=wishes, tell=lines.append)
    assert len(lines) == 1 and "another size and time of the files" in lines[0]


def test_another_format_starts_afresh_and_leaves_nothing_when_it_is_stopped(source, tmp_path, monkeypatch):
    stopped(source, tmp_path / "out", 3)
    stop_at(monkeypatch, 2)
    lines = []
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "out", target_format="lerobot", tell=lines.append)
    assert lines == [f"starting afresh: {partial(tmp_path / 'out')} held an unfinished conversion"]
    assert not partial(tmp_path / "out").exists()


def test_half_a_dataset_that_nothing_vouches_for_is_not_gone_on_with(source, tmp_path):
    """As a kill leaves it that strikes while an earlier conversion is cleared away."""
    stopped(source, tmp_path / "out", 3)
    (partial(tmp_path / "out") / "out.settings").unlink()
    (partial(tmp_path / "out") / "out" / "data/state/0.0").unlink()
    lines = []
    convert(source, tmp_path / "out", tell=lines.append)
    assert lines == [f"starting afresh: {partial(tmp_path / 'out')} held an unfinished conversion"]
    convert(source, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_full_disk_keeps_what_is_converted(source, tmp_path, monkeypatch):
    convert(source, tmp_path / "whole")
    real = EpisodeStore.append

    def append(store, recorded):
        if len(store) < 3:
            return real(store, recorded)
        raise UserError("not saved") from OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(EpisodeStore, "append", append)
        with pytest.raises(UserError) as caught:
            convert(source, tmp_path / "out")
    assert str(caught.value) == (
        f"{tmp_path / 'out'}: nothing is converted yet: the disk is full; "
        f"the same command goes on with what is in {partial(tmp_path / 'out')}"
    )
    assert not (tmp_path / "out").exists() and committed(partial(tmp_path / "out") / "out") == 3
    lines = []
    convert(source, tmp_path / "out", tell=lines.append)
    assert lines == [f"going on at episode 3 of {NUM_EPISODES}"]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not partial(tmp_path / "out").exists()


def test_a_full_disk_leaves_nothing_of_another_format(source, tmp_path, monkeypatch):
    """No episode of it is committed before the end, so nothing can be gone on with."""
    stop_at(monkeypatch, 3, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(UserError, match="out: nothing is converted: the disk is full$"):
        convert(source.parent / "ours", tmp_path / "out", target_format="diffusion_policy")
    assert not partial(tmp_path / "out").exists() and not (tmp_path / "out").exists()


def test_an_error_leaves_nothing(source, tmp_path, monkeypatch):
    stopped(source, tmp_path / "out", 3)
    stop_at(monkeypatch, 2, UserError("damaged"))
    with pytest.raises(UserError, match="episode 5: damaged"):
        convert(source, tmp_path / "out")
    assert not partial(tmp_path / "out").exists() and not (tmp_path / "out").exists()


def test_one_at_a_time(source, tmp_path):
    stopped(source, tmp_path / "out", 3)
    output = conversion.NewOutput(tmp_path / "out", "nothing", {})
    with output, pytest.raises(UserError, match="is being written by process"):
        convert(source, tmp_path / "out")
    assert (source.parent / "ours" / INDEX_FILE).exists()


def test_a_source_that_changes_while_it_is_read_gives_nothing(source, tmp_path, monkeypatch):
    real = conversion.check_episode

    def check(*arguments):
        os.utime(source, ns=(0, 1))
        return real(*arguments)

    monkeypatch.setattr(conversion, "check_episode", check)
    with pytest.raises(UserError, match="demos.hdf5 changed while it was read: nothing is converted"):
        convert(source, tmp_path / "out")
    assert not partial(tmp_path / "out").exists() and not (tmp_path / "out").exists()


def test_a_link_to_an_empty_folder_is_refused_before_anything_is_read(source, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    stop_at(monkeypatch, 0, AssertionError("reads"))
    with pytest.raises(UserError, match="link exists: choose another place"):
        convert(source, tmp_path / "link")


def test_a_link_to_itself_is_no_source(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match="loop: no such file or folder"):
        convert(tmp_path / "loop", tmp_path / "out")


@pytest.mark.parametrize("content", ["[1, 2]", "3", "{"])
def test_settings_that_are_none_count_for_nothing(source, tmp_path, content):
    stopped(source, tmp_path / "out", 3)
    (partial(tmp_path / "out") / "out.settings").write_text(content)
    lines = []
    convert(source, tmp_path / "out", tell=lines.append)
    assert lines == [f"starting afresh: {partial(tmp_path / 'out')} held an unfinished conversion"]
    assert committed(tmp_path / "out") == NUM_EPISODES


def test_video_of_no_images_is_refused(tmp_path):
    spec = SPEC.with_obs({"state": SPEC.obs["state"]})
    with EpisodeStore.create(tmp_path / "ours", spec) as store:
        whole = episode(0, 5)
        store.append(replace(whole, obs={"state": whole.obs["state"]}))
    with pytest.raises(UserError, match="--video: .*ours holds no images"):
        convert(tmp_path / "ours", tmp_path / "out", target_format="lerobot", wishes=Wishes(video=True))
