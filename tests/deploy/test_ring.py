"""Rings in shared memory: whole records or none, whoever dies."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import time
from contextlib import closing
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import pytest

from robofb.deploy.ring import Ring
from robofb.errors import UserError

DTYPE = np.dtype([("at_s", np.float64), ("pose", np.float32, (7,)), ("flag", np.uint8)])
WIDE = np.dtype([("values", np.int64, (4096,))])


def write(ring: Ring, value: float) -> int:
    return ring.write(at_s=value, pose=np.full(7, value), flag=int(value) % 256)


def test_records_come_back_with_their_numbers() -> None:
    with closing(Ring(DTYPE, slots=4)) as ring:
        assert ring.latest() is None and ring.since(0) == []
        assert [write(ring, value) for value in (1.5, 2.5)] == [1, 2]
        newest = ring.latest()
        assert newest is not None and newest.number == 2
        assert newest.value["at_s"] == 2.5 and newest.value["flag"] == 2
        np.testing.assert_array_equal(newest.value["pose"], np.full(7, 2.5, np.float32))
        assert [(each.number, float(each.value["at_s"])) for each in ring.since(0)] == [(1, 1.5), (2, 2.5)]
        assert [each.number for each in ring.since(1)] == [2] and ring.since(2) == []


def test_the_oldest_records_are_overwritten_and_a_kept_one_is_not() -> None:
    with closing(Ring(DTYPE, slots=4)) as ring:
        write(ring, 1.0)
        kept = ring.latest()
        for value in range(2, 11):
            write(ring, float(value))
        assert [each.number for each in ring.since(0)] == [8, 9, 10]  # one slot may be under the pen
        assert kept is not None and kept.value["at_s"] == 1.0


def test_another_process_reads_what_is_attached() -> None:
    with closing(Ring(DTYPE)) as ring, closing(Ring.attach(ring.address)) as other:
        write(ring, 3.0)
        newest = other.latest()
        assert newest is not None and newest.value["at_s"] == 3.0
        other.close()  # takes nothing away
        assert ring.latest() is not None


@pytest.mark.parametrize("torn", ["begun", "unfinished"])
def test_a_record_whose_writer_died_over_it_is_none(torn: str) -> None:
    with closing(Ring(DTYPE, slots=2)) as ring:
        for value in (1.0, 2.0, 3.0):
            write(ring, value)
        slot = ring._slots[0]  # of record 3
        slot["value"]["at_s"] = 9.0
        if torn == "begun":
            slot["stamp"]["number"] = -1
        assert ring.latest() is None and ring.since(2) == []
        assert write(ring, 4.0) == 4
        newest = ring.latest()
        assert newest is not None and newest.value["at_s"] == 4.0


def _keep_writing(address: tuple[str, np.dtype, int]) -> None:
    ring = Ring.attach(address)
    for value in range(10**9):
        ring.write(values=value)


def test_readers_never_see_half_a_record_and_outlive_the_writer() -> None:
    with closing(Ring(WIDE, slots=3)) as ring:
        writer = mp.get_context("spawn").Process(target=_keep_writing, args=(ring.address,), daemon=True)
        writer.start()
        until, seen = time.monotonic() + 20, []
        while len(seen) < 500 and time.monotonic() < until:
            if (newest := ring.latest()) is not None:
                values = newest.value["values"]
                assert (values == values[0]).all() and values[0] == newest.number - 1
                seen.append(newest.number)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(10)
        assert len(seen) == 500 and seen == sorted(seen) and seen[-1] > seen[0]
        left = ring.since(0)  # the one under the pen may be lost, not those before
        assert len(left) >= 1 and all((each.value["values"] == each.number - 1).all() for each in left)


def test_who_made_it_removes_it() -> None:
    ring = Ring(DTYPE)
    name = ring.name
    ring.close()
    ring.close()
    with pytest.raises(FileNotFoundError):
        SharedMemory(name)
    with pytest.raises(UserError, match=f"there is no shared memory {name}: whoever made it is gone"):
        Ring.attach((name, DTYPE, 8))


def test_what_does_not_fit_is_refused() -> None:
    with closing(Ring(DTYPE, slots=2)) as ring, pytest.raises(UserError, match=f"{ring.name} has .* bytes"):
        Ring.attach((ring.name, WIDE, 8))
    with pytest.raises(ValueError, match="slots=1"):
        Ring(DTYPE, slots=1)
    with pytest.raises(ValueError, match="plain numbers"):
        Ring(np.dtype([("what", object)]))
