"""Images from memory, raw files and chunks: the same windows, and draws that repeat."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from episode_examples import SPEC, make_episode

from robofb.errors import UserError
from robofb.store import frame_cache, image_reading
from robofb.store.episodes import EpisodeStore
from robofb.store.frame_pool import MIN_SLOTS
from robofb.store.image_reading import ImageReading
from robofb.store.mix import Mix
from robofb.store.windows import Windows

LENGTHS = ([37, 5, 130, 16, 1], [64, 90])
FRAME_BYTES = 3 * 4 * 5
SLOT_BYTES = (64 + 1) * FRAME_BYTES  # with a history of two


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder, opened = tmp_path_factory.mktemp("frames"), []
    for name, lengths in zip("ab", LENGTHS):
        with EpisodeStore.create(folder / name, SPEC) as store:
            for number, length in enumerate(lengths):
                store.append(make_episode(1000 * ord(name) + number, length))
        opened.append(EpisodeStore.open(folder / name))
    return opened


def windows(stores, mode, folder, obs_history=2, memory_bytes=10**6, **arguments):
    reading = ImageReading(mode, memory_bytes, folder / "cache", threads=2)
    return Windows(stores, obs_history=obs_history, horizon=4, images=reading, **arguments)


def assert_same_batch(found, expected):
    for key in expected.obs:
        assert torch.equal(found.obs[key], expected.obs[key]), key
    assert torch.equal(found.action, expected.action)
    assert torch.equal(found.mask, expected.mask)


@pytest.mark.parametrize("mode", ["cache", "stream"])
@pytest.mark.parametrize("obs_history", [1, 2, 19])
@pytest.mark.parametrize("episodes", [None, [[0, 2, 4], [1]]])
def test_every_window_is_the_one_that_memory_gives(stores, mode, obs_history, episodes, tmp_path):
    held = windows(stores, "memory", tmp_path, obs_history, episodes=episodes)
    read = windows(stores, mode, tmp_path, obs_history, episodes=episodes)
    index = torch.randperm(len(held), generator=torch.Generator().manual_seed(0))
    assert_same_batch(read.batch(index), held.batch(index))


@pytest.mark.parametrize("obs_history", [1, 2, 19])
def test_windows_sampled_from_the_pool_are_windows_of_the_data(stores, obs_history, tmp_path):
    held = windows(stores, "memory", tmp_path, obs_history)
    pool = windows(stores, "stream", tmp_path, obs_history)
    known = {
        action.numpy().tobytes(): i for i, action in enumerate(held.batch(torch.arange(len(held))).action)
    }
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):  # many times more than the pool's blocks serve
        batch = pool.sample(32, generator)
        index = torch.tensor([known[action.numpy().tobytes()] for action in batch.action])
        assert_same_batch(batch, held.batch(index))


def test_the_cache_draws_what_memory_draws(stores, tmp_path):
    batches = [
        windows(stores, mode, tmp_path).sample(64, torch.Generator().manual_seed(2))
        for mode in ("memory", "cache")
    ]
    assert_same_batch(*batches)


@pytest.mark.parametrize("mix", [None, Mix([1, 3], {"human": 0, "policy": 2})])
def test_a_pool_smaller_than_the_data_draws_every_window_with_its_chance(tmp_path, mix):
    with EpisodeStore.create(tmp_path / "a", SPEC) as store:
        for number in range(30):
            store.append(make_episode(number, 20))
    second = tmp_path / "b"
    shutil.copytree(tmp_path / "a", second)
    stores = [EpisodeStore.open(tmp_path / "a"), EpisodeStore.open(second)]
    pool = windows(stores, "stream", tmp_path, 1, memory_bytes=MIN_SLOTS * 16 * FRAME_BYTES, mix=mix)
    assert pool._pool.num_slots == MIN_SLOTS < 76  # the blocks of 16 steps in twice 600
    generator, draws = torch.Generator().manual_seed(0), 30_000
    for _ in range(draws // 1000):
        pool.sample(1000, generator)
    source = torch.from_numpy(stores[0].read("source")).long()
    factor = torch.tensor([0.0, 2.0, 1.0, 1.0, 1.0] if mix else [1.0] * 5)
    count = source.bincount(minlength=5) * factor
    expected = torch.stack([count / count.sum()] * 2) * torch.tensor([[0.25], [0.75]] if mix else [[0.5]] * 2)
    # Blocks of 16 windows make draws depend on one another: about as sure as 30,000 / 16 free ones.
    torch.testing.assert_close(pool.drawn / draws, expected, atol=0.04, rtol=0)
    assert pool.drawn.sum() == draws


def small_pool(stores, folder):
    return windows(stores, "stream", folder, 1, memory_bytes=MIN_SLOTS * 16 * FRAME_BYTES)


def test_a_restored_pool_goes_on_as_the_saved_one(stores, tmp_path):
    whole, generator = small_pool(stores, tmp_path), torch.Generator().manual_seed(3)
    for _ in range(7):
        whole.sample(40, generator)
    state, moment = whole.state_dict(), generator.get_state()
    rest = [whole.sample(40, generator) for _ in range(7)]
    restored, generator = small_pool(stores, tmp_path), torch.Generator()
    restored.load_state_dict(state)
    generator.set_state(moment)
    for expected in rest:
        assert_same_batch(restored.sample(40, generator), expected)
    assert torch.equal(restored.drawn, whole.drawn)


def test_a_pool_of_another_size_or_way_is_refused(stores, tmp_path):
    larger = windows(stores, "stream", tmp_path, 1)
    larger.sample(8, torch.Generator())
    with pytest.raises(UserError, match=rf"draws from 22 blocks.* now holds {MIN_SLOTS}: raise memory_gb"):
        small_pool(stores, tmp_path).load_state_dict(larger.state_dict())
    with pytest.raises(UserError, match="reads with images=stream"):
        windows(stores, "memory", tmp_path).load_state_dict(larger.state_dict())


def test_a_pool_takes_the_memory_it_is_given(stores, tmp_path):
    with pytest.raises(UserError, match=rf"hold 15 blocks of 64 frames; needs at least {MIN_SLOTS}: "):
        windows(stores, "stream", tmp_path, memory_bytes=MIN_SLOTS * SLOT_BYTES - 1)


def test_auto_takes_the_first_way_that_fits(stores, tmp_path, monkeypatch):
    size = sum(map(sum, LENGTHS)) * FRAME_BYTES
    for memory, free, mode in [
        (size, 0, "memory"),
        (size - 1, 2 * size, "cache"),
        (0, 2 * size - 1, "stream"),
    ]:
        monkeypatch.setattr(image_reading, "free_bytes", lambda folder, free=free: free)
        reading = ImageReading("auto", memory, tmp_path / "none")
        assert reading.chosen(stores, ["front"]).mode == mode
    with pytest.raises(UserError, match="images=memory: they take"):
        ImageReading("memory", size - 1).chosen(stores, ["front"])
    with pytest.raises(UserError, match="images=disk: choose one of auto, memory, cache, stream"):
        ImageReading("disk")


def test_a_filled_cache_stays_the_choice_when_it_has_taken_the_room(stores, tmp_path, monkeypatch):
    size = sum(map(sum, LENGTHS)) * FRAME_BYTES
    windows(stores, "cache", tmp_path)
    monkeypatch.setattr(image_reading, "free_bytes", lambda folder: size)
    assert ImageReading("auto", 0, tmp_path / "cache").chosen(stores, ["front"]).mode == "cache"
    assert ImageReading("auto", 0, tmp_path / "empty").chosen(stores, ["front"]).mode == "stream"


class TestCache:
    @pytest.fixture
    def store(self, tmp_path):
        with EpisodeStore.create(tmp_path / "d", SPEC) as store:
            store.append(make_episode(0, 40))
        return EpisodeStore.open(tmp_path / "d")

    def cached(self, store, folder):
        return frame_cache.CachedFrames(folder / "cache", [store], ["front"], 2)

    def entries(self, folder):
        return sorted(path.name for path in (folder / "cache").iterdir() if path.is_dir())

    def test_is_the_images_byte_for_byte(self, store, tmp_path):
        self.cached(store, tmp_path).close()
        file = tmp_path / "cache" / self.entries(tmp_path)[0] / "front.raw"
        assert file.read_bytes() == store.read("front").tobytes()

    def test_is_filled_once(self, store, tmp_path, monkeypatch):
        fills, fill = [], frame_cache._fill
        monkeypatch.setattr(frame_cache, "_fill", lambda *given: fills.append(given) or fill(*given))
        self.cached(store, tmp_path).close()
        assert fills
        fills.clear()
        self.cached(store, tmp_path).close()
        assert not fills

    def test_goes_on_where_a_killed_process_left_off(self, store, tmp_path, monkeypatch):
        monkeypatch.setattr(frame_cache, "SYNC_BYTES", 1)
        decoded, original = [], frame_cache.FlatArray.decode_chunk

        def dies(array, chunk):
            decoded.append(chunk)
            if decoded == [0, 1]:
                raise KeyboardInterrupt
            return original(array, chunk)

        monkeypatch.setattr(frame_cache.FlatArray, "decode_chunk", dies)
        with pytest.raises(KeyboardInterrupt):
            self.cached(store, tmp_path)
        part = tmp_path / "cache" / self.entries(tmp_path)[0] / "front.part"
        with part.open("ab") as file:
            file.write(b"torn")
        frames = self.cached(store, tmp_path)
        assert decoded == [0, 1, 1, 2]
        found = frames.gather("front", torch.arange(40)[:, None])[:, 0]
        np.testing.assert_array_equal(found.numpy(), store.read("front"))

    def test_of_changed_data_is_made_anew_and_the_old_one_removed(self, store, tmp_path):
        self.cached(store, tmp_path).close()
        old = self.entries(tmp_path)
        with EpisodeStore.open(store.path, "a") as writer:
            writer.append(make_episode(1, 3))
        self.cached(EpisodeStore.open(store.path), tmp_path).close()
        assert len(self.entries(tmp_path)) == 1
        assert self.entries(tmp_path) != old

    def test_in_use_is_never_removed(self, store, tmp_path):
        frames = self.cached(store, tmp_path)
        with EpisodeStore.open(store.path, "a") as writer:
            writer.append(make_episode(1, 3))
        self.cached(EpisodeStore.open(store.path), tmp_path).close()
        assert len(self.entries(tmp_path)) == 2
        frames.gather("front", torch.tensor([[0]]))

    def test_of_other_data_makes_room_only_where_it_must(self, store, tmp_path, monkeypatch):
        self.cached(store, tmp_path).close()
        with EpisodeStore.create(tmp_path / "e", SPEC) as other:
            other.append(make_episode(1, 3))
        self.cached(other, tmp_path).close()
        assert len(self.entries(tmp_path)) == 2
        monkeypatch.setattr(frame_cache, "free_bytes", lambda root: 0)
        with EpisodeStore.create(tmp_path / "f", SPEC) as third:
            third.append(make_episode(2, 3))
        with pytest.raises(
            UserError, match="the disk has 0 GB to spare: set cache_dir to another disk"
        ) as error:
            self.cached(third, tmp_path)
        assert "\n" not in str(error.value)
        assert [name[0] for name in self.entries(tmp_path)] == ["f"]

    def test_unused_for_long_is_removed(self, store, tmp_path):
        self.cached(store, tmp_path).close()
        os.utime(tmp_path / "cache" / self.entries(tmp_path)[0] / frame_cache.USERS_FILE, (0, 0))
        with EpisodeStore.create(tmp_path / "e", SPEC) as other:
            other.append(make_episode(1, 3))
        self.cached(other, tmp_path).close()
        assert [name[0] for name in self.entries(tmp_path)] == ["e"]

    def test_lets_go_when_its_process_is_killed(self, store, tmp_path):
        program = """
import os, signal, sys
from pathlib import Path
from robofb.store.episodes import EpisodeStore
from robofb.store.frame_cache import CachedFrames
CachedFrames(Path(sys.argv[1]), [EpisodeStore.open(sys.argv[2])], ["front"], 1)
os.kill(os.getpid(), signal.SIGKILL)
"""
        subprocess.run([sys.executable, "-c", program, str(tmp_path / "cache"), str(store.path)], check=False)
        assert len(self.entries(tmp_path)) == 1
        with EpisodeStore.open(store.path, "a") as writer:
            writer.append(make_episode(1, 3))
        self.cached(EpisodeStore.open(store.path), tmp_path).close()
        assert len(self.entries(tmp_path)) == 1


def test_a_damaged_chunk_is_named(tmp_path):
    with EpisodeStore.create(tmp_path / "d", SPEC) as store:
        store.append(make_episode(0, 300))
    chunk = Path(tmp_path / "d" / "data" / "front" / "3.0.0.0")
    chunk.write_bytes(chunk.read_bytes()[:20])
    store = EpisodeStore.open(tmp_path / "d")
    pool, generator = windows([store], "stream", tmp_path, 1), torch.Generator()
    draws = (pool.sample(100, generator) for _ in range(50))  # sooner or later it draws that chunk
    with pytest.raises(UserError, match=r"dataset is damaged: cannot read .*3\.0\.0\.0"):
        list(draws)
    with pytest.raises(UserError, match=r"dataset is damaged: cannot read .*3\.0\.0\.0"):
        windows([store], "cache", tmp_path)
