"""Keys of a terminal, typed at a pseudo-terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import termios
from contextlib import closing

import pytest

from robofb.deploy.live.conductor import EVENTS
from robofb.deploy.live.operators import KEYS, Console, Nobody, has_terminal


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


def test_ctrl_s_holds_nothing_up() -> None:
    """Else whoever prints would wait, and with it the one who watches over the arm."""
    person, ours = pty.openpty()
    with os.fdopen(ours, "r") as terminal, closing(Console(terminal)) as console:
        console.open()
        os.write(person, b"\x13")
        os.set_blocking(ours, False)
        assert os.write(ours, b"going on") == 8
        assert console.events() == []
    os.close(person)


def test_a_terminal_that_is_gone_quits_once() -> None:
    person, ours = pty.openpty()
    with os.fdopen(ours, "r") as terminal, closing(Console(terminal)) as console:
        console.open()
        os.write(person, b"p")
        os.close(person)
        events = [*console.events(), *console.events()]
        assert events[-1] == "quit" and events.count("quit") == 1


def test_output_that_nobody_reads_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    status = {"session": "running", "episode": "0 of 2", "arm": "policy", "why": ""}
    with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        Nobody().show(status)


def test_who_has_no_input_has_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert not has_terminal()


def test_what_changes_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = Nobody()
    for steps in ("1", "2"):
        nobody.show({"session": "running", "episode": "0 of 2", "arm": "policy", "why": "", "steps": steps})
    assert capsys.readouterr().out == "running | 0 of 2 | policy\n"
