"""Sessions at a terminal that closes, or sends signals, and supervisors that are killed or stand still."""

from __future__ import annotations

import multiprocessing as mp
import os
import pty
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from live_parts import Script, alive, num_stops, run_line, sent_to, state_of
from waiting import until

CTRL_Z, CTRL_BACKSLASH = b"\x1a", b"\x1c"
ALONE_S = 1.0


def supervise(folder: Path, terminal: str) -> None:
    """Lead a session of processes at a terminal, and run one that never ends by itself."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # a job in the background, as these tests may be, ignores them
    if (folder / "nohup").exists():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.open(terminal, os.O_RDWR)  # the first that a leader opens is its own
    script = Script()

    def write() -> None:
        assert script.session is not None
        (folder / "pids").write_text(" ".join(map(str, script.session.crew.pids.values())))
        (folder / "ring").write_text(script.session.rings.ticks.name)

    script.lines = [
        (lambda _: True, "start"),
        (lambda status: status["arm"] == "policy" and int(status["steps"]) > 0, write),
    ]
    _, outcome = run_line(folder, script, max_steps=10_000, alone_s=ALONE_S, attended=True)
    (folder / "labels").write_text(" ".join(each.label for each in outcome.ended))


@contextmanager
def supervised(folder: Path) -> Iterator[tuple[BaseProcess, FileIO]]:
    """Yield a supervisor whose arm follows a policy, and our end of its terminal."""
    ours, theirs = pty.openpty()
    terminal = FileIO(ours, "r+")
    supervisor = mp.get_context("spawn").Process(target=supervise, args=(folder, os.ttyname(theirs)))
    supervisor.start()
    os.close(theirs)
    try:
        until(lambda: (folder / "pids").exists() and len(sent_to(folder)) > 20)
        yield supervisor, terminal
    finally:
        supervisor.kill()
        supervisor.join()
        terminal.close()


def assert_at_rest(folder: Path) -> None:
    """Fail unless the arm was stopped when it had come to rest."""
    sent = sent_to(folder)
    before, last = sent["position"][np.isfinite(sent["wall_s"])][-2:]
    np.testing.assert_allclose(last, before, atol=1e-4)
    assert num_stops(folder) >= 1


ENDS: dict[str, Callable[[BaseProcess, FileIO], object]] = {
    "closed": lambda _, terminal: terminal.close(),
    "ctrl-backslash": lambda _, terminal: terminal.write(CTRL_BACKSLASH),
    "terminated": lambda supervisor, _: supervisor.terminate(),
    "terminated together": lambda supervisor, _: os.killpg(supervisor.pid or 0, signal.SIGTERM),
    "killed": lambda supervisor, _: supervisor.kill(),
}


@pytest.mark.parametrize("how", ENDS)
def test_the_arm_brakes_however_a_session_ends(tmp_path: Path, how: str) -> None:
    """The leader's death would take all processes of its terminal along."""
    with supervised(tmp_path) as (supervisor, terminal):
        ENDS[how](supervisor, terminal)
        pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
        until(lambda: not any(map(alive, pids)))
        supervisor.join(60.0)
        assert supervisor.exitcode is not None
    assert_at_rest(tmp_path)
    if how != "killed":  # who is, leaves shared memory to a process that outlives these tests
        assert (supervisor.exitcode, (tmp_path / "labels").read_text()) == (0, "aborted")
        assert not Path("/dev/shm", (tmp_path / "ring").read_text()).exists()


@pytest.mark.parametrize("how", ["ctrl-z", "hangup"])
def test_ctrl_z_stops_nothing_nor_does_a_closed_terminal_under_nohup(tmp_path: Path, how: str) -> None:
    (tmp_path / "nohup").touch()
    with supervised(tmp_path) as (supervisor, terminal):
        assert supervisor.pid is not None
        if how == "ctrl-z":
            terminal.write(CTRL_Z)
        else:
            os.kill(supervisor.pid, signal.SIGHUP)
        steps = len(sent_to(tmp_path))
        until(lambda: len(sent_to(tmp_path)) > steps + 50)
        pids = [*map(int, (tmp_path / "pids").read_text().split()), supervisor.pid]
        assert "T" not in map(state_of, pids)


def test_an_arm_that_nobody_could_stop_stops_by_itself(tmp_path: Path) -> None:
    """The supervisor stands still: no key, page or limit of steps would be heard."""
    with supervised(tmp_path) as (supervisor, _):
        assert supervisor.pid is not None
        os.kill(supervisor.pid, signal.SIGSTOP)
        until(lambda: num_stops(tmp_path) >= 1)
        assert_at_rest(tmp_path)
        sent = np.isfinite(sent_to(tmp_path)["wall_s"]).sum()
        os.kill(supervisor.pid, signal.SIGCONT)
        assert np.isfinite(sent_to(tmp_path)["wall_s"]).sum() == sent
