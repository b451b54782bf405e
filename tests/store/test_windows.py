from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from episode_examples import SPEC, make_episode
from hypothesis import given, settings
from hypothesis import strategies as st

from robofb.errors import UserError
from robofb.store.episodes import EpisodeStore
from robofb.store.windows import Windows, split_episodes
from robofb.types import ArraySpec, EnvSpec, Episode

COUNTER = EnvSpec("counter", {"state": ArraySpec((1,))}, ArraySpec((1,)), 0.1, 10)


def counting_episode(first, length):
    """Return an episode whose observation t is first + t and whose action t is 100 + first + t."""
    values = np.arange(first, first + length + 1, dtype=np.float32)[:, None]
    return Episode(
        obs={"state": values},
        action=100 + values[:-1],
        reward=np.zeros(length, np.float32),
        terminated=True,
        success=True,
        timestamps=0.1 * np.arange(length + 1),
        source=np.zeros(length, np.uint8),
    )


@pytest.fixture
def counters(tmp_path):
    """Five steps of observations 0..4, then two of 50, 51."""
    with EpisodeStore.create(tmp_path / "d", COUNTER) as store:
        store.append(counting_episode(0, 5))
        store.append(counting_episode(50, 2))
        yield store


def test_every_window_of_five_steps_and_two_by_hand(counters):
    windows = Windows(counters, obs_history=2, horizon=4)
    assert len(windows) == 7
    batch = windows.batch(torch.arange(7))
    assert batch.obs["state"].shape == (7, 2, 1)
    assert batch.obs["state"].squeeze(-1).tolist() == [
        [0, 0], [0, 1], [1, 2], [2, 3], [3, 4],
        [50, 50], [50, 51],
    ]  # fmt: skip
    assert (batch.action.squeeze(-1) - 100).tolist() == [
        [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 4], [3, 4, 4, 4], [4, 4, 4, 4],
        [50, 51, 51, 51], [51, 51, 51, 51],
    ]  # fmt: skip
    assert batch.mask.int().tolist() == [
        [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0],
        [1, 1, 0, 0], [1, 0, 0, 0],
    ]  # fmt: skip
    assert batch.weight.tolist() == [1.0] * 7


def test_no_window_reaches_across_a_leap_of_time(tmp_path):
    times = 0.1 * np.arange(6)
    times[3:] += 2.0  # an arm was held before observation 3
    with EpisodeStore.create(tmp_path / "d", COUNTER) as store:
        store.append(counting_episode(50, 2))
        store.append(replace(counting_episode(0, 5), timestamps=times))
        windows = Windows(store, obs_history=2, horizon=3, episodes=[1])
    batch = windows.batch(torch.arange(5))
    assert batch.obs["state"].squeeze(-1).tolist() == [[0, 0], [0, 1], [1, 2], [3, 3], [3, 4]]
    assert (batch.action.squeeze(-1) - 100).tolist() == [
        [0, 1, 2],
        [1, 2, 2],
        [2, 2, 2],
        [3, 4, 4],
        [4, 4, 4],
    ]
    assert batch.mask.int().tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0]]


def test_chosen_observations_only(tmp_path):
    spec = COUNTER.with_obs({**COUNTER.obs, "image_front": ArraySpec((3, 2, 2), "uint8")})
    episode = counting_episode(0, 5)
    images = {"image_front": np.zeros((6, 3, 2, 2), np.uint8)}
    with EpisodeStore.create(tmp_path / "images", spec) as store:
        store.append(replace(episode, obs={**episode.obs, **images}))
        windows = Windows(store, obs_history=1, horizon=1, obs_keys=["state"])
    assert set(windows.batch(torch.arange(2)).obs) == {"state"}


def test_chosen_episodes_only(counters):
    windows = Windows(counters, obs_history=1, horizon=1, episodes=[1])
    assert len(windows) == 2
    assert windows.batch(torch.tensor([1, 0])).obs["state"].flatten().tolist() == [51, 50]
    both = Windows(counters, obs_history=1, horizon=1, episodes=[1, 0])
    assert both.batch(torch.arange(7)).obs["state"].flatten().tolist() == [0, 1, 2, 3, 4, 50, 51]


def naive_window(episode, step, obs_history, horizon):
    """Build one window with a Python loop, as a per-item dataset would."""
    obs = {
        key: np.stack([rows[max(step - back, 0)] for back in reversed(range(obs_history))])
        for key, rows in episode.obs.items()
    }
    last = len(episode) - 1
    action = np.stack([episode.action[min(step + ahead, last)] for ahead in range(horizon)])
    mask = [step + ahead <= last for ahead in range(horizon)]
    return obs, action, mask


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    obs_history=st.integers(1, 4),
    horizon=st.integers(1, 9),
    data=st.data(),
)
def test_equals_a_naive_per_item_dataset(lengths, obs_history, horizon, data):
    episodes = [make_episode(number, length) for number, length in enumerate(lengths)]
    chosen = data.draw(st.lists(st.sampled_from(range(len(lengths))), min_size=1, unique=True))
    with TemporaryDirectory() as folder, EpisodeStore.create(Path(folder, "d"), SPEC) as store:
        for episode in episodes:
            store.append(episode)
        windows = Windows(store, obs_history=obs_history, horizon=horizon, episodes=chosen)
    steps = [(episodes[number], step) for number in sorted(chosen) for step in range(lengths[number])]
    assert len(windows) == len(steps)
    index = torch.tensor(data.draw(st.lists(st.sampled_from(range(len(steps))), min_size=1, max_size=20)))
    batch = windows.batch(index)
    assert batch.obs["front"].dtype == torch.uint8
    assert batch.action.dtype == torch.float32
    for row, number in enumerate(index.tolist()):
        obs, action, mask = naive_window(*steps[number], obs_history, horizon)
        for key in obs:
            np.testing.assert_array_equal(batch.obs[key][row].numpy(), obs[key])
        np.testing.assert_array_equal(batch.action[row].numpy(), action)
        assert batch.mask[row].tolist() == mask


def test_sample_repeats_with_its_generator_and_covers_every_step(counters):
    windows = Windows(counters, obs_history=1, horizon=3)
    first = windows.sample(256, torch.Generator().manual_seed(3))
    again = windows.sample(256, torch.Generator().manual_seed(3))
    other = windows.sample(256, torch.Generator().manual_seed(4))
    assert torch.equal(first.obs["state"], again.obs["state"])
    assert not torch.equal(first.obs["state"], other.obs["state"])
    assert sorted(set(first.obs["state"].flatten().tolist())) == [0, 1, 2, 3, 4, 50, 51]


def test_a_batch_is_a_copy(counters):
    windows = Windows(counters, obs_history=1, horizon=1)
    windows.batch(torch.tensor([0])).obs["state"].fill_(-1)
    assert windows.batch(torch.tensor([0])).obs["state"].item() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"episodes": []}, "no episodes to train on"),
        ({"episodes": [2]}, r"episode 2 is not in .*; valid: 0\.\.1"),
        ({"episodes": [-1]}, "episode -1 is not in"),
        ({"episodes": [1, 1]}, "given twice"),
        ({"horizon": 0}, r"horizon \(0\) must be at least 1"),
        ({"obs_history": 0}, r"obs_history \(0\)"),
    ],
)
def test_mistakes_are_named(counters, arguments, message):
    with pytest.raises(UserError, match=message):
        Windows(counters, **{"obs_history": 1, "horizon": 1, **arguments})


def test_an_empty_store_is_refused(tmp_path):
    with EpisodeStore.create(tmp_path / "d", COUNTER) as store:
        with pytest.raises(UserError, match="no episodes to train on"):
            Windows(store, obs_history=1, horizon=1)
        with pytest.raises(UserError, match="no episodes to take statistics of"):
            store.stats()


@given(
    num_episodes=st.integers(1, 300),
    fraction=st.floats(0.0, 0.99),
    seed=st.integers(0, 2**31),
    extra=st.integers(0, 9),
)
def test_split_is_a_partition_that_repeats(num_episodes, fraction, seed, extra):
    train, validation = split_episodes(num_episodes, fraction, seed)
    assert sorted(train + validation) == list(range(num_episodes))
    assert train == sorted(train)
    assert len(train) >= 1
    assert abs(len(validation) - fraction * num_episodes) <= 1
    assert (len(validation) > 0) == (fraction > 0 and num_episodes > 1)
    assert split_episodes(num_episodes, fraction, seed) == (train, validation)
    if fraction == 0.0:
        return
    grown = split_episodes(num_episodes + extra, fraction, seed)[1]
    assert len(set(validation) - set(grown)) <= extra + 1  # growing the dataset moves few across


def test_split_depends_on_the_seed_and_refuses_nonsense():
    assert split_episodes(100, 0.1, 0) != split_episodes(100, 0.1, 1)
    with pytest.raises(UserError, match="no episodes to split"):
        split_episodes(0, 0.1, 0)
    with pytest.raises(UserError, match=r"validation_fraction=1\.0: valid"):
        split_episodes(10, 1.0, 0)


class PerItem(torch.utils.data.Dataset):
    """The plain way: one window per __getitem__, from episodes in memory."""

    def __init__(self, episodes, obs_history, horizon):
        self.steps = [(episode, step) for episode in episodes for step in range(len(episode))]
        self.sizes = (obs_history, horizon)

    def __len__(self):
        return len(self.steps)

    def __getitem__(self, index):
        return naive_window(*self.steps[index], *self.sizes)
