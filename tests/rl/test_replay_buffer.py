"""Tests of robofb.rl.replay_buffer."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robofb.rl.replay_buffer import ReplayBuffer


def buffer(capacity: int = 8, streams: int = 2) -> ReplayBuffer:
    return ReplayBuffer(capacity, {"obs": (1,), "next_obs": (1,)}, streams)


def add(replay: ReplayBuffer, stream: list[int], reward: list[float], done: list[bool], discount=0.5) -> None:
    """Transitions whose observation is their reward and whose next observation is 100 more."""
    values = torch.tensor(reward)
    columns = {"obs": values[:, None], "next_obs": values[:, None] + 100, "reward": values}
    columns["discount"] = torch.full_like(values, discount) if isinstance(discount, float) else discount
    replay.add(torch.tensor(stream), columns, torch.tensor(done))


def test_three_steps_are_summed_along_the_episode_of_their_own_env():
    replay = buffer()
    add(replay, [0, 1], [1.0, 10.0], [False, False])
    add(replay, [1], [20.0], [False])
    add(replay, [0, 1], [2.0, 30.0], [False, True])
    add(replay, [0, 1], [4.0, 99.0], [False, False])  # env 1 in its next episode
    batch = replay.rows(torch.tensor([0, 1, 2, 3]), n_step=3)
    # env 0: 1 + 0.5 * 2 + 0.25 * 4; env 1: 10 + 0.5 * 20 + 0.25 * 30, 20 + 0.5 * 30; env 0: 2 + 0.5 * 4
    assert batch["reward"].tolist() == [3.0, 27.5, 35.0, 4.0]
    assert batch["discount"].tolist() == [0.125, 0.125, 0.25, 0.25]
    assert batch["next_obs"][:, 0].tolist() == [104.0, 130.0, 130.0, 104.0]
    assert batch["obs"][:, 0].tolist() == [1.0, 10.0, 20.0, 2.0]


def test_a_termination_bootstraps_nothing_and_a_time_out_does():
    replay = buffer()
    add(replay, [0, 1], [1.0, 1.0], [False, False])
    add(replay, [0, 1], [2.0, 2.0], [True, True], discount=torch.tensor([0.0, 0.5]))
    batch = replay.rows(torch.tensor([0, 1]), n_step=2)
    assert batch["reward"].tolist() == [2.0, 2.0]
    assert batch["discount"].tolist() == [0.0, 0.25]


def test_the_oldest_make_room_and_no_link_leads_to_what_replaced_them():
    replay = buffer(capacity=3, streams=2)
    add(replay, [0], [1.0], [False])
    for reward in (10.0, 20.0, 30.0):  # env 0's transition is gone now
        add(replay, [1], [reward], [False])
    add(replay, [0], [2.0], [False])
    assert len(replay) == 3
    batch = replay.rows(torch.arange(3), n_step=3)
    assert sorted(batch["obs"][:, 0].tolist()) == [2.0, 20.0, 30.0]
    by_obs = dict(zip(batch["obs"][:, 0].tolist(), batch["reward"].tolist()))
    assert by_obs == {2.0: 2.0, 20.0: 35.0, 30.0: 30.0}


def test_after_a_cut_nothing_follows_what_came_before():
    replay = buffer()
    add(replay, [0], [1.0], [False])
    replay.cut()
    add(replay, [0], [2.0], [False])
    assert replay.rows(torch.tensor([0]), n_step=2)["reward"].tolist() == [1.0]


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=30),
    st.integers(1, 4),
    st.integers(2, 9),
)
def test_agrees_with_plain_lists(calls, n_step, capacity):
    """Each call adds to env 0, env 1 or both, and may end its episode."""
    replay, rows, number = ReplayBuffer(capacity, {"next_obs": ()}, 2), [], 0.0
    episode = [0, 0]
    for first, second, done in calls:
        streams = [index for index, wanted in enumerate((first, second)) if wanted]
        rewards = [number + index for index in range(len(streams))]
        number += len(streams)
        values = torch.tensor(rewards)
        columns = {"reward": values, "discount": torch.full_like(values, 0.5), "next_obs": -values}
        replay.add(torch.tensor(streams, dtype=torch.int64), columns, torch.full((len(streams),), done))
        for stream, reward in zip(streams, rewards):
            rows.append((stream, episode[stream], reward))
            episode[stream] += done
    kept = rows[-capacity:]
    if not kept:
        return
    batch = replay.rows(torch.arange(len(replay)), n_step)
    found = {
        (round(r, 6), round(d, 6), -n)
        for r, d, n in zip(batch["reward"].tolist(), batch["discount"].tolist(), batch["next_obs"].tolist())
    }
    expected = set()
    for index, (stream, number_of, _) in enumerate(kept):
        chain = [row[2] for row in kept[index:] if row[:2] == (stream, number_of)][:n_step]
        total = sum(reward * 0.5**k for k, reward in enumerate(chain))
        expected.add((round(total, 6), round(0.5 ** len(chain), 6), chain[-1]))
    assert found == expected


@pytest.mark.parametrize("before", [2, 5, 11])
def test_a_restored_buffer_goes_on_exactly(before):
    def fill(replay, first, last):
        for n in range(first, last):
            add(replay, [n % 2], [float(n)], [n % 5 == 4])

    whole, part, other = buffer(6), buffer(6), buffer(6)
    fill(whole, 0, 15)
    fill(part, 0, before)
    state = part.state_dict()
    fill(part, before, before + 3)  # the state is a copy
    other.load_state_dict(state)
    fill(other, before, 15)
    for name, column in whole.rows(torch.arange(6), 3).items():
        assert torch.equal(column, other.rows(torch.arange(6), 3)[name]), name
    drawn = [one.sample(32, torch.Generator().manual_seed(1), 2) for one in (whole, other)]
    assert torch.equal(drawn[0]["obs"], drawn[1]["obs"])


def test_draws_every_transition_equally_often_and_only_those_it_holds():
    replay = buffer(capacity=100)
    for n in range(4):
        add(replay, [0], [float(n)], [False])
    drawn = replay.sample(4000, torch.Generator().manual_seed(0))["obs"][:, 0]
    counts = [int((drawn == n).sum()) for n in range(4)]
    assert sum(counts) == 4000
    assert all(900 < count < 1100 for count in counts)


def test_refuses_what_cannot_be():
    with pytest.raises(ValueError, match="capacity 0"):
        buffer(0)
    with pytest.raises(ValueError, match="empty"):
        buffer().sample(1, torch.Generator())
    with pytest.raises(ValueError, match="2 transitions at once exceed the capacity of 1"):
        add(buffer(1), [0, 1], [1.0, 2.0], [False, False])
    with pytest.raises(ValueError, match="another capacity"):
        buffer(5).load_state_dict(buffer(6).state_dict())
