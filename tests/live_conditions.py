"""Conditions on what a live session shows, for what a `live_parts.Script` says next."""

from __future__ import annotations

from collections.abc import Callable

Condition = Callable[[dict[str, str]], bool]


def always(status: dict[str, str]) -> bool:
    """Hold."""
    return True


def in_mode(mode: str, steps: int = 0, why: str = "") -> Condition:
    """Return what holds where the arm does so, for such a reason, in an episode of so many steps."""
    return lambda status: status["arm"] == mode and why in status["why"] and int(status["steps"]) >= steps


def running(episode: int, steps: int = 3) -> Condition:
    """Return what holds where an episode is under way, and so many steps long."""
    return lambda status: (
        status["session"] == "running"
        and status["episode"].startswith(f"{episode} of")
        and int(status["steps"]) >= steps
    )
