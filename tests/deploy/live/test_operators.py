"""Keys of a terminal, typed at a pseudo-terminal."""

from __future__ import annotations

import io
import os
import pty
import termios
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import BinaryIO, TextIO

import pytest

from robofb.deploy.live.conductor import EVENTS
from robofb.deploy.live.operators import KEYS, Console, Nobody, has_terminal


def test_every_key_says_something_that_a_session_knows() -> None:
    assert set(KEYS.values()) == set(EVENTS)


@contextmanager
def console_at_a_terminal() -> Iterator[tuple[Console, BinaryIO, TextIO]]:
    """Yield an opened console, a person's end of its terminal and ours."""
    person, ours = pty.openpty()
    with (
        os.fdopen(person, "r+b", buffering=0) as typing,
        os.fdopen(ours, "r") as terminal,
        closing(Console(terminal)) as console,
    ):
        console.open()
        yield console, typing, terminal


def test_keys_come_at_once() -> None:
    with console_at_a_terminal() as (console, person, terminal):
        assert console.events() == []
        person.write(b"g? s")
        assert console.events() == ["start", "stop", "success"]
        assert not termios.tcgetattr(terminal)[3] & (termios.ICANON | termios.ECHO)


def test_the_terminal_is_given_back() -> None:
    person, ours = pty.openpty()
    before = termios.tcgetattr(ours)
    with os.fdopen(ours, "r") as terminal:
        console = Console(terminal)
        console.open()
        assert termios.tcgetattr(ours) != before
        for _ in range(2):
            console.close()
            assert termios.tcgetattr(ours) == before
    os.close(person)


def test_ctrl_s_holds_nothing_up() -> None:
    """Else whoever prints would wait, and with it the one who watches over the arm."""
    with console_at_a_terminal() as (console, person, terminal):
        person.write(b"\x13")
        os.set_blocking(terminal.fileno(), False)
        assert os.write(terminal.fileno(), b"going on") == 8
        assert console.events() == []


def test_a_terminal_that_is_gone_quits_once() -> None:
    with console_at_a_terminal() as (console, person, _):
        person.write(b"p")
        person.close()
        events = [*console.events(), *console.events()]
        assert events[-1] == "quit" and events.count("quit") == 1


def test_output_that_nobody_reads_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unread(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1
            raise BrokenPipeError

    unread = Unread()
    monkeypatch.setattr("sys.stdout", unread)
    nobody = Nobody()
    for arm in ("policy", "policy", "held"):
        nobody.show({"session": "running", "episode": "0 of 2", "arm": arm, "why": ""})
    assert unread.flushed == 2


def test_who_has_no_input_has_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert not has_terminal()


def test_what_changes_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = Nobody()
    for steps in ("1", "2"):
        nobody.show({"session": "running", "episode": "0 of 2", "arm": "policy", "why": "", "steps": steps})
    assert capsys.readouterr().out == "running | 0 of 2 | policy\n"
