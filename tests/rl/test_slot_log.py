"""Everything done is kept, in its order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from robofb.rl.slot_log import SlotLog, Stretch

COLUMNS = {"value": ((), torch.float32)}


def filled(dones: list[list[int]], capacity: int = 8) -> SlotLog:
    """Return a log of 2 agents with 2 envs each; `dones` says which of the 4 envs end in each step."""
    log = SlotLog(capacity, 2, 2, COLUMNS)
    for t, ends in enumerate(dones):
        log.add({"value": 10.0 * t + torch.arange(4), "done": _mask(ends)})
    return log


def _mask(ends: list[int]) -> Tensor:
    return torch.zeros(4, dtype=torch.bool).index_fill(0, torch.tensor(ends, dtype=torch.int64), True)


def test_episodes_come_in_the_order_in_which_they_ended() -> None:
    log = filled([[], [1], [0, 3], [], [1, 2]])
    assert list(log.episodes(0)) == [Stretch(0, 1, 0, 2), Stretch(0, 0, 0, 3), Stretch(0, 1, 2, 5)]
    assert list(log.episodes(1)) == [Stretch(1, 1, 0, 3), Stretch(1, 0, 0, 5)]
    assert log.take("value", Stretch(0, 1, 2, 5)).tolist() == [21.0, 31.0, 41.0]
    assert log.take("value", Stretch(1, 0, 0, 5)).tolist() == [2.0, 12.0, 22.0, 32.0, 42.0]


def test_a_cut_ends_what_runs() -> None:
    log = filled([[], []])
    log.cut()
    log.add({"value": torch.zeros(4), "done": _mask([0])})
    assert list(log.episodes(0)) == [Stretch(0, 0, 0, 2), Stretch(0, 1, 0, 2), Stretch(0, 0, 2, 3)]


def test_each_agent_draws_from_its_own_first_envs() -> None:
    log = filled([[], [], []])
    batch = log.sample(500, 1, torch.Generator().manual_seed(0))
    assert set(batch["value"][0].tolist()) == {0.0, 10.0, 20.0}
    assert set(batch["value"][1].tolist()) == {2.0, 12.0, 22.0}
    both = log.sample(500, 2, torch.Generator().manual_seed(0))
    assert set(both["value"][1].tolist()) == {2.0, 3.0, 12.0, 13.0, 22.0, 23.0}


def test_a_full_log_takes_no_more() -> None:
    log = filled([[]] * 2, capacity=2)
    with pytest.raises(ValueError, match="holds all of its 2 control steps"):
        log.add({"value": torch.zeros(4), "done": _mask([])})


def test_it_is_restored_as_it_was() -> None:
    log, other = filled([[], [1], [0]]), SlotLog(8, 2, 2, COLUMNS)
    other.load_state_dict(log.state_dict())
    assert len(other) == 3 and list(other.episodes(0)) == list(log.episodes(0))
    with pytest.raises(ValueError, match="more steps than fit"):
        SlotLog(2, 2, 2, COLUMNS).load_state_dict(log.state_dict())
    with pytest.raises(ValueError, match="other columns"):
        SlotLog(8, 1, 4, COLUMNS).load_state_dict(log.state_dict())
