"""Wait for what happens in other processes and threads."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 120.0


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds; fail where it does not come to that."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come to that"
        time.sleep(0.01)
