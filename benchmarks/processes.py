"""Processes, by what Linux says of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path


def children_of(pid: int) -> list[int]:
    """Return the processes that the main thread of one has started and that are there."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def memory_mb(pid: int) -> float | None:
    """Return what a process holds of its own [MB]; None where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    sizes = [int(line.split()[1]) for line in lines if line.startswith("RssAnon")]
    return sizes[0] / 1024 if sizes else None


def go_on(pid: int) -> None:
    """Wake a process, if it is still there."""
    if memory_mb(pid) is not None:
        os.kill(pid, signal.SIGCONT)
