"""Keys of a terminal, typed at a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import termios
from contextlib import closing

import pytest

from robofb.deploy.live.conductor import EVENTS
from robofb.deploy.live.operators import KEYS, Console, Nobody


def test_every_key_says_something_that_a_session_knows() -> None:
    assert set(KEYS.values()) == set(EVENTS)


def test_keys_come_at_once_and_the_terminal_is_given_back() -> None:
    person, ours = pty.openpty()
    with os.fdopen(ours, "r") as terminal:
        before = termios.tcgetattr(ours)
        with closing(Console(terminal)) as console:
            console.open()
            assert console.events() == []
            os.write(person, b"g? s")
            assert console.events() == ["start", "stop", "success"]
            assert not termios.tcgetattr(ours)[3] & (termios.ICANON | termios.ECHO)
        assert termios.tcgetattr(ours) == before
        console.close()
    os.close(person)


def test_what_changes_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = Nobody()
    for steps in ("1", "2"):
        nobody.show({"session": "running", "episode": "0 of 2", "arm": "policy", "why": "", "steps": steps})
    assert capsys.readouterr().out == "running | 0 of 2 | policy\n"
