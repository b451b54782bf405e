import io
import logging
import sys

import pytest

from robofb import progress


class Clock:
    """Stand in for `time.time` of tqdm."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def logged_bar(monkeypatch, caplog):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    caplog.set_level(logging.INFO, logger="robofb")
    clock = Clock()

    def make(**settings):
        bar = progress.progress_bar(100, "work", "step", **settings)
        bar._time, bar.start_t, bar.last_print_t = clock, clock.now, clock.now
        return bar

    return make, clock, caplog


def test_log_gets_a_line_with_the_time_left(logged_bar):
    make, clock, caplog = logged_bar
    with make() as bar:
        for _ in range(20):
            clock.now += 2.0
            bar.update()
    # 2 s a step; the first line after 30 s at step 15 (85 steps = 170 s left); the last at close
    assert caplog.messages[0] == "work: 15 of 100 steps, 02:50 left"
    assert caplog.messages[-1].startswith("work: 20 of 100 steps, 02:40 left")


def test_resumed_work_counts_from_where_it_stood(logged_bar):
    make, clock, caplog = logged_bar
    with make(done=60) as bar:
        clock.now += 40.0
        bar.update(20)  # 20 steps in 40 s: the other 20 take 40 s
    assert caplog.messages[0] == "work: 80 of 100 steps, 00:40 left"


def test_short_work_and_unnamed_work_log_nothing(logged_bar):
    make, clock, caplog = logged_bar
    with make() as bar:
        clock.now += 5.0
        bar.update(100)
    with progress.progress_bar(100, None, "step") as bar:
        bar.update(100)
    assert caplog.messages == []


def test_terminal_gets_a_drawn_bar(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.progress_bar(4, "work", "step") as bar:
        bar.update(4)
    assert "work: 100%" in terminal.getvalue()
    assert "4/4" in terminal.getvalue()
