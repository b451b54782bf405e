"""Who stands at the supervisor: a person at a terminal, or nobody, or several."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Protocol, TextIO

from robofb.deploy.live.records import Addresses
from robofb.deploy.live.session import Operator, Parts

KEYS = {
    "g": "start",
    " ": "stop",
    "p": "pause",
    "s": "success",
    "f": "failure",
    "d": "discard",
    "q": "quit",
}
HELP = (
    "keys: g go (acknowledges what is wrong), SPACE stop, p hold, s success, f failure, d discard, q quit; "
    "the stop of this program is no safety function: keep the arm's emergency stop at hand"
)


def has_terminal() -> bool:
    """Return whether a person may type here; a service has not even an input."""
    return sys.stdin is not None and sys.stdin.isatty()


class Nobody:
    """Say nothing, and print what changes. Satisfies `session.Operator`."""

    def __init__(self) -> None:
        self._shown: tuple[str, ...] = ()

    def attach(self, addresses: Addresses, parts: Parts) -> None:
        """Look at nothing but the status."""

    def events(self) -> list[str]:
        """Return nothing."""
        return []

    def show(self, status: Mapping[str, str]) -> None:
        """Print a line where more changed than a count of steps; silently where nobody reads it any more."""
        told = tuple(status[name] for name in ("session", "episode", "arm", "why"))
        if told != self._shown:
            self._shown = told
            with suppress(OSError):
                print(" | ".join(word for word in told if word), flush=True)

    def open(self) -> None:
        """Take nothing over."""

    def close(self) -> None:
        """Let nothing go."""


class Console(Nobody):
    """Read single keys of a terminal: `KEYS`. Satisfies `session.Operator`.

    Args:
        terminal: from which; it is put into a mode without lines until `close`.
    """

    def __init__(self, terminal: TextIO | None = None) -> None:
        super().__init__()
        self._file = (terminal or sys.stdin).fileno()
        self._settings: Any = None
        self._gone = False

    def open(self) -> None:
        """Take the terminal over, and say what the keys do."""
        self._settings = termios.tcgetattr(self._file)
        tty.setcbreak(self._file)
        settings = termios.tcgetattr(self._file)
        settings[0] &= ~termios.IXON  # who pressed Ctrl-S would stop what is printed, and whoever prints
        termios.tcsetattr(self._file, termios.TCSANOW, settings)
        print(HELP, flush=True)

    def events(self) -> list[str]:
        """Return what was typed since the last call; a terminal that is gone says once to quit."""
        typed = ""
        while not self._gone and select.select([self._file], [], [], 0.0)[0]:
            part = self._read()
            self._gone = not part
            typed += part or "q"
        return [KEYS[key] for key in typed if key in KEYS]

    def _read(self) -> str:
        try:
            return os.read(self._file, 64).decode("utf-8", "replace")
        except OSError:
            return ""

    def close(self) -> None:
        """Give the terminal back; safe twice."""
        if self._settings is not None:
            with suppress(termios.error):  # it is gone
                termios.tcsetattr(self._file, termios.TCSANOW, self._settings)
            self._settings = None


class Post(Operator, Protocol):
    """An operator that takes something over."""

    def open(self) -> None:
        """Take it over."""
        ...

    def close(self) -> None:
        """Give it back; safe twice."""
        ...


class Several:
    """Be all of some operators: each is heard and shown everything. Satisfies `session.Operator`.

    Args:
        posts: in the order in which they are opened; closed the other way round.
    """

    def __init__(self, posts: Sequence[Post]) -> None:
        self._posts = tuple(posts)
        self._stack = ExitStack()

    def open(self) -> None:
        """Open all; where one cannot be, those before it stay open until `close`."""
        for post in self._posts:
            self._stack.callback(post.close)
            post.open()

    def attach(self, addresses: Addresses, parts: Parts) -> None:
        """Let each know."""
        for post in self._posts:
            post.attach(addresses, parts)

    def events(self) -> list[str]:
        """Return what any of them said, in their order."""
        return [event for post in self._posts for event in post.events()]

    def show(self, status: Mapping[str, str]) -> None:
        """Show it to each."""
        for post in self._posts:
            post.show(status)

    def close(self) -> None:
        """Close all; safe twice."""
        self._stack.close()
