"""The newest records of one writer for many readers in other processes, without a lock that one could keep.

A reader that dies takes nothing with it, a writer that dies leaves its last records readable, and nobody ever
waits: a record that is overwritten while it is read is given up, and the next newer one read.
"""

from __future__ import annotations

import threading
import zlib
from multiprocessing.shared_memory import SharedMemory
from typing import NamedTuple

import numpy as np

from robofb.errors import UserError

_TRIES = 8  # a reader that was overtaken so often in a row is too slow for any ring
_STAMP = np.dtype([("number", np.int64), ("check", np.uint32), ("spare", np.uint32)])


class Record(NamedTuple):
    """One record as it was written.

    Attributes:
        number: 1 for a ring's first record, and one more for each after it.
        value: a structured scalar of the ring's dtype, the reader's own copy.
    """

    number: int
    value: np.void


class Ring:
    """A few records of one dtype in shared memory, the oldest overwritten by the newest (a seqlock each).

    A slot is stamped unreadable before its record is written and with its number after, and holds the
    record's checksum (CRC-32), so that a torn record is never taken for a whole one, whatever order a
    processor shows another's writes in. One process writes; `Ring.attach` opens it for the others.

    Args:
        dtype: of a record: structured, of plain numbers of fixed size.
        slots: records that stay readable, 2 at least.
        name: of a block of shared memory that is there; None makes one, which `close` removes.

    Raises:
        UserError: there is no such block, or it is too small.
    """

    def __init__(self, dtype: np.dtype, slots: int = 8, name: str | None = None) -> None:
        if slots < 2:
            raise ValueError(f"slots={slots}: a ring needs two at least")
        if dtype.hasobject or dtype.names is None:
            raise ValueError(f"{dtype}: records hold named plain numbers")
        self.dtype, self.slots, self._makes = dtype, slots, name is None
        layout = np.dtype([("stamp", _STAMP), ("value", dtype)], align=True)
        size = 8 + slots * layout.itemsize
        try:
            self._memory = SharedMemory(name, create=self._makes, size=size if self._makes else 0)
        except FileNotFoundError:
            raise UserError(f"there is no shared memory {name}: whoever made it is gone") from None
        if self._memory.size < size:
            self._memory.close()
            raise UserError(f"shared memory {name} has {self._memory.size} bytes, not {size}")
        self._count = np.ndarray((), np.int64, self._memory.buf)
        self._slots = np.ndarray((slots,), layout, self._memory.buf, offset=8)
        self._fence = threading.Lock()
        if self._makes:
            self._count[...] = 0
            self._slots["stamp"]["number"] = 0

    @property
    def name(self) -> str:
        """By which others `attach`."""
        return self._memory.name

    @property
    def address(self) -> tuple[str, np.dtype, int]:
        """What `attach` needs, to be handed to another process."""
        return self.name, self.dtype, self.slots

    @classmethod
    def attach(cls, address: tuple[str, np.dtype, int]) -> Ring:
        """Open a ring that another process made."""
        name, dtype, slots = address
        return cls(dtype, slots, name)

    def write(self, **values: object) -> int:
        """Append a record of named values; return its number. For one process alone.

        What is not named keeps the value of the record that was in the slot before: name everything.
        """
        number = int(self._count) + 1
        slot = self._slots[(number - 1) % self.slots]
        slot["stamp"]["number"] = -1
        self._between()
        for key, value in values.items():
            slot["value"][key] = value
        slot["stamp"]["check"] = zlib.crc32(slot["value"].tobytes())
        self._between()
        slot["stamp"]["number"] = number
        self._between()
        self._count[...] = number
        return number

    def latest(self) -> Record | None:
        """Return the newest record; None before the first."""
        for _ in range(_TRIES):
            number = int(self._count)
            if number == 0:
                return None
            if (value := self._read(number)) is not None:
                return Record(number, value)
        return None

    def at(self, number: int) -> Record | None:
        """Return the record of this `number`; None where it is not, or no longer, there."""
        value = self._read(number) if number > 0 else None
        return None if value is None else Record(number, value)

    def since(self, number: int) -> list[Record]:
        """Return the records after the one of this `number`, oldest first; those overwritten are left out."""
        newest = int(self._count)
        first = max(number + 1, newest - self.slots + 2)  # the oldest slot may be under the pen
        found = ((each, self._read(each)) for each in range(first, newest + 1))
        return [Record(each, value) for each, value in found if value is not None]

    def close(self) -> None:
        """Let go; whoever made the ring removes it. Safe twice."""
        if hasattr(self, "_slots"):
            del self._count, self._slots
            self._memory.close()
            if self._makes:
                self._memory.unlink()

    def _read(self, number: int) -> np.void | None:
        """Return a copy of record `number`; None where it is not, or no longer, there."""
        slot = self._slots[(number - 1) % self.slots]
        if int(slot["stamp"]["number"]) != number:
            return None
        self._between()
        value, check = slot["value"].copy(), int(slot["stamp"]["check"])
        self._between()
        whole = int(slot["stamp"]["number"]) == number and zlib.crc32(value.tobytes()) == check
        return value if whole else None

    def _between(self) -> None:
        """Keep what is before and after apart: taking a lock is a barrier."""
        with self._fence:
            pass
