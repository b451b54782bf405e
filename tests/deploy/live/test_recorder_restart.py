"""A recorder that dies and is started again keeps no part of an episode for the whole of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
from episode_examples import make_episode
from live_conditions import always, running
from live_parts import SPEC, DyingRecordSetup, Script, run_line

from robofb.deploy.live import recorder_process
from robofb.deploy.live.bench import SEEN
from robofb.deploy.live.draft import recorded_spec
from robofb.deploy.live.recorder_process import Recorder, RecordSetup
from robofb.deploy.live.records import Rings, said
from robofb.store.continuation import open_or_create
from robofb.store.episodes import EpisodeStore

AGAIN = "the recorder was started again in it"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_an_episode_in_which_the_recorder_dies_or_hangs_is_dropped_and_said(
    tmp_path: Path, how: signal.Signals
) -> None:
    def kill() -> None:
        assert script.session is not None
        os.kill(script.session.crew.pids["recorder"], how)

    def again(status: dict[str, str]) -> bool:
        assert script.session is not None
        return script.session.crew.restarts["recorder"] == 1 and script.session.crew.lives("recorder")

    script = Script(
        [
            (always, "start"),
            (running(0, 4), "success"),
            (lambda status: waiting(status) and status["recorded"] == "1 episodes", "start"),
            (running(1, 4), kill),
            (again, "success"),
            (lambda status: waiting(status) and "episode 1" in status["dropped"], "start"),
            (running(2, 4), "success"),
        ],
        patience_s=120.0,
    )
    data = tmp_path / "data"
    _, outcome = run_line(tmp_path, script, data=data, episodes=3, attended=True, max_steps=1000)
    assert [each.label for each in outcome.ended] == ["success"] * 3
    assert (outcome.saved, outcome.dropped) == ([0, 2], {1: AGAIN})
    with EpisodeStore.open(data) as store:
        assert len(store) == 2


def test_an_episode_is_kept_whose_recorder_dies_before_it_can_say_so(tmp_path: Path) -> None:
    script = Script(
        [
            (always, "start"),
            (running(0, 4), "success"),
            (lambda status: waiting(status) and status["recorded"] == "1 episodes", "start"),
            (running(1, 4), "success"),
        ],
        patience_s=120.0,
    )
    data = tmp_path / "data"
    more = {"recorder_kind": DyingRecordSetup, "episodes": 2, "attended": True, "max_steps": 1000}
    _, outcome = run_line(tmp_path, script, data=data, **more)
    assert (outcome.saved, outcome.dropped, outcome.restarts) == ([0, 1], {}, {"recorder": 1})
    with EpisodeStore.open(data) as store:
        assert [episode.meta["episode_seed"] for episode in store] == [each.seed for each in outcome.ended]


@pytest.mark.parametrize(("number", "saved"), [(0, True), (1, False)])
def test_what_a_recorder_was_writing_as_it_died_is_looked_up(
    tmp_path: Path, number: int, saved: bool
) -> None:
    """Of an earlier session the dataset holds one; the next in it is 0 or 1, and 1 is not there."""
    word = "episode 0" if saved else AGAIN
    setup = RecordSetup(tmp_path / "data", recorded_spec(SPEC))
    with open_or_create(setup.path, setup.spec, {}) as store:
        store.append(make_episode(0, spec=setup.spec))
    with closing(Rings(len(SEEN), {}, [])) as rings:
        order(rings, "begin", [5])
        order(rings, "end", [5])
        rings.writing.write(episode=5, number=number)
        assert told_of(tmp_path, rings) == {5: word}
        assert bool(rings.recorded.latest().value["saved"]) is saved
        assert told_of(tmp_path, rings) == {}


def told_of(folder: Path, rings: Rings) -> dict[int, str]:
    """Let a recorder begin, look and end; return what it said of which episode."""
    before = rings.recorded.latest()
    setup = RecordSetup(folder / "data", recorded_spec(SPEC))
    with ExitStack() as stack:
        store = stack.enter_context(open_or_create(setup.path, setup.spec, {}))
        recorder = Recorder(setup, store, rings.addresses, stack)
        recorder.look()
        recorder.close()
    records = rings.recorded.since(before.number if before is not None else 0)
    return {int(each.value["episode"]): said(bytes(each.value["word"])) for each in records}


def order(rings: Rings, kind: str, episodes: Sequence[int]) -> None:
    for episode in episodes:
        rings.orders.write(kind=kind.encode(), what=b"success", episode=episode, seed=0, reason=b"")


def test_what_was_said_is_not_said_again_and_what_was_in_hand_is_lost(tmp_path: Path) -> None:
    """Of three, 0 was said, 1 was in hand as the recorder died, and 2 was under way."""
    with closing(Rings(len(SEEN), {}, [])) as rings:
        order(rings, "begin", [0, 1])
        order(rings, "end", [0, 1])
        rings.recorded.write(episode=0, saved=True, word=b"episode 0")
        order(rings, "begin", [2])
        order(rings, "end", [2])
        tick(rings, 2)
        assert told_of(tmp_path, rings) == {1: AGAIN, 2: AGAIN}
        assert told_of(tmp_path, rings) == {}


def test_what_was_said_too_long_ago_to_be_read_was_said(tmp_path: Path) -> None:
    """The ring keeps 64 records, of which the oldest may be under the pen: of 80 those from 17 on."""
    with closing(Rings(len(SEEN), {}, [])) as rings:
        order(rings, "begin", range(81))
        order(rings, "end", range(81))
        for episode in range(81):
            if episode != 70:
                rings.recorded.write(episode=episode, saved=True, word=b"saved")
        assert told_of(tmp_path, rings) == {70: AGAIN}


def test_an_episode_that_shows_itself_after_its_end_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would end what begins then: it would take in plans for ever."""
    monkeypatch.setattr(recorder_process, "LINGER_S", 0.0)
    setup = RecordSetup(tmp_path / "data", recorded_spec(SPEC))
    with closing(Rings(len(SEEN), {}, [])) as rings, ExitStack() as stack:
        store = stack.enter_context(open_or_create(setup.path, setup.spec, {}))
        recorder = Recorder(setup, store, rings.addresses, stack)
        order(rings, "begin", [0])
        tick(rings, 0)
        order(rings, "end", [0])
        recorder.look()
        tick(rings, 0)
        recorder.look()
        assert recorder._drafts == {}
        recorder.close()
        assert [int(each.value["episode"]) for each in rings.recorded.since(0)] == [0]


def test_nothing_is_lost_at_the_first_start(tmp_path: Path) -> None:
    with closing(Rings(len(SEEN), {}, [])) as rings:
        tick(rings, -1)
        order(rings, "ask", [-1])
        assert told_of(tmp_path, rings) == {}


def tick(rings: Rings, episode: int) -> None:
    """Say which episode is under way, and nothing else."""
    blank = np.zeros((), rings.ticks.dtype)
    rings.ticks.write(**{**{name: blank[name] for name in blank.dtype.names or ()}, "episode": episode})


def waiting(status: dict[str, str]) -> bool:
    return status["session"] == "waiting for a start"
