"""Look at chunks before zarr decodes them: Blosc reads beyond the end of a chunk that was cut off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BLOSC_HEADER_BYTES = 16


def check_blosc(data: bytes, name: str) -> None:
    """Raise ValueError unless a Blosc chunk is as long as its header says (its last four bytes)."""
    said = int.from_bytes(data[12:BLOSC_HEADER_BYTES], "little")
    if len(data) < BLOSC_HEADER_BYTES or said != len(data):
        raise ValueError(f"chunk '{name}' is cut off")


def checked_store(store: Any, is_blosc: Callable[[str], bool]) -> Any:
    """Return a zarr store that refuses chunks which were cut off.

    Args:
        store: where the chunks are.
        is_blosc: whether the chunk of a key was written by Blosc.
    """
    from zarr.storage import WrapperStore  # slow to import

    class CheckedStore(WrapperStore):
        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            value = await super().get(key, prototype, byte_range)
            is_header = key.rpartition("/")[2].startswith((".z", "zarr.json"))
            if value is not None and byte_range is None and not is_header and is_blosc(key):
                check_blosc(value.to_bytes(), key)
            return value

    return CheckedStore(store)
