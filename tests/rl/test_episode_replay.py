"""Episodes in a ring: drawn by the step and as sequences, forgotten whole, saved and restored."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robofb.rl.episode_replay import EpisodeReplay


def make_replay(capacity: int = 100, num_streams: int = 2, max_steps: int = 4) -> EpisodeReplay:
    states = {"obs": ((), torch.float32)}
    moves = {"action": ((), torch.int64), "reward": ((), torch.float32)}
    return EpisodeReplay(capacity, states, moves, num_streams, max_steps)


def play(replay: EpisodeReplay, lengths: list[int], ends: list[bool]) -> list[tuple[int, int, bool]]:
    """Play episodes (length, terminated) one after the other in stream 0; stream 1 never ends within 4.

    State t of episode e is 100 e + t, its action t, its reward 1000 e + t.
    """
    for number, (length, terminated) in enumerate(zip(lengths, ends, strict=True)):
        for t in range(length):
            done = torch.tensor([t == length - 1])
            replay.add(
                {"obs": torch.tensor([100.0 * number + t])},
                {"action": torch.tensor([t]), "reward": torch.tensor([1000.0 * number + t])},
                {"obs": torch.tensor([100.0 * number + t + 1])},
                done & terminated,
                done,
            )
    return [(e, n, end) for e, (n, end) in enumerate(zip(lengths, ends, strict=True))]


def test_moves_know_their_step_their_end_and_what_follows() -> None:
    replay = make_replay(num_streams=1)
    play(replay, [3, 2], [True, False])
    assert (replay.num_episodes, replay.num_moves) == (2, 5)
    batch = replay.sample_moves(400, torch.Generator().manual_seed(0))
    expected = {  # obs: t, next, reward, terminated, cut
        0.0: (0, 1.0, 0.0, False, False),
        1.0: (1, 2.0, 1.0, False, False),
        2.0: (2, 3.0, 2.0, True, False),
        100.0: (0, 101.0, 1000.0, False, False),
        101.0: (1, 102.0, 1001.0, False, True),
    }
    columns = [batch[name].tolist() for name in ("t", "next_obs", "reward", "terminated", "cut")]
    seen = dict(zip(batch["obs"].tolist(), zip(*columns, strict=True), strict=True))
    assert seen == expected
    counts = [(batch["obs"] == obs).sum().item() for obs in expected]
    assert min(counts) > 50  # 80 each in the mean, deviation 8: uniform over moves, not over episodes


def test_sequences_are_padded_and_say_so() -> None:
    replay = make_replay(num_streams=1)
    play(replay, [3, 2], [True, False])
    batch = replay.sample_episodes(50, torch.Generator().manual_seed(1))
    assert batch["obs"].shape == (50, 4)
    assert batch["action"].shape == batch["valid"].shape == (50, 3)
    first, second = (int((batch["obs"][:, 0] == start).nonzero()[0]) for start in (0.0, 100.0))
    assert batch["obs"][first].tolist() == [0, 1, 2, 3]
    assert batch["obs"][second].tolist() == [100, 101, 102, 102]  # the last state again
    assert batch["valid"][second].tolist() == [True, True, False]
    assert batch["cut"][second].tolist() == [False, True, False]
    assert batch["terminated"][first].tolist() == [False, False, True]
    assert not batch["cut"][first].any() and not batch["terminated"][second].any()


def test_running_episodes_cannot_be_drawn_and_streams_do_not_mix() -> None:
    replay = make_replay(num_streams=2)
    for t in range(3):
        done = torch.tensor([t == 2, False])
        obs = torch.tensor([10.0 + t, 20.0 + t])
        move = {"action": torch.tensor([t, t]), "reward": torch.zeros(2)}
        replay.add({"obs": obs}, move, {"obs": obs + 1}, done, done)
    assert replay.num_moves == 3
    batch = replay.sample_episodes(4, torch.Generator().manual_seed(0))
    assert batch["obs"][0].tolist() == [10, 11, 12, 13]


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=30))
def test_what_can_be_drawn_is_the_newest_whole_episodes(episodes: list[tuple[int, bool]]) -> None:
    """A plain list of all episodes is the oracle."""
    replay = make_replay(capacity=13, num_streams=1)
    played = play(replay, [n for n, _ in episodes], [end for _, end in episodes])
    drawn = replay.sample_episodes(200, torch.Generator().manual_seed(0))
    seen = {}
    for row in range(200):
        steps = int(drawn["valid"][row].sum())
        number = int(drawn["obs"][row, 0]) // 100
        assert drawn["obs"][row, : steps + 1].tolist() == [100.0 * number + t for t in range(steps + 1)]
        seen[number] = (number, steps, bool(drawn["terminated"][row].any()))
    kept = sorted(seen)
    assert kept == list(range(kept[0], len(played)))  # the newest, without gaps
    assert [seen[number] for number in kept] == played[kept[0] :]
    assert sum(played[number][1] + 1 for number in kept) <= 13
    if kept[0] > 0:  # as many as fit, but for what is lost where the ring closes
        assert sum(n + 1 for _, n, _ in played[kept[0] - 1 :]) > 13 - 5


def test_it_goes_on_exactly_after_a_save() -> None:
    replay, other = make_replay(num_streams=1), make_replay(num_streams=1)
    play(replay, [3, 4, 2], [True, False, True])
    move = {"action": torch.tensor([7]), "reward": torch.tensor([7.0])}
    replay.add({"obs": torch.tensor([70.0])}, move, {}, torch.tensor([False]), torch.tensor([False]))
    other.load_state_dict(replay.state_dict())
    for one in (replay, other):
        end = torch.tensor([True])
        one.add({"obs": torch.tensor([71.0])}, move, {"obs": torch.tensor([72.0])}, end, end)
    a, b = (one.sample_moves(100, torch.Generator().manual_seed(3)) for one in (replay, other))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert 70.0 in b["obs"].tolist()


def test_another_shape_or_too_little_room_is_refused() -> None:
    replay = make_replay(num_streams=1)
    with pytest.raises(ValueError, match="other streams"):
        replay.load_state_dict(make_replay(num_streams=2).state_dict())
    with pytest.raises(ValueError, match="do not fit"):
        make_replay(capacity=9, num_streams=2)
    with pytest.raises(ValueError, match="no whole episode"):
        replay.sample_moves(1, torch.Generator())
    with pytest.raises(ValueError, match="longer than max_steps=4"):
        play(replay, [5], [True])


def test_forgotten_runs_leave_no_trace() -> None:
    replay = make_replay(num_streams=1)
    no, yes = torch.tensor([False]), torch.tensor([True])
    move = {"action": torch.tensor([0]), "reward": torch.tensor([0.0])}
    replay.add({"obs": torch.tensor([1.0])}, move, {}, no, no)
    replay.forget_running()
    replay.add({"obs": torch.tensor([2.0])}, move, {"obs": torch.tensor([3.0])}, yes, yes)
    batch = replay.sample_episodes(1, torch.Generator())
    assert batch["obs"].tolist() == [[2.0, 3.0]]
