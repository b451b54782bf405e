"""Who gives up is believed at once."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
from waiting import until

from robofb.deploy.live.crew import Crew, Job
from robofb.deploy.live.process import Life
from robofb.deploy.live.records import Addresses, Rings
from robofb.deploy.ring import Ring
from robofb.errors import UserError

WORD = "there is no such policy, and what to do about it " + "is a long story, " * 15 + "told to its end"


def give_up_and_linger(setup: None, addresses: Addresses, parent: int) -> None:
    with closing(Ring.attach(addresses.beats["policy"])) as beats:
        Life(beats, parent).last_word(WORD)
        time.sleep(600)


def test_a_process_that_gives_up_need_not_be_gone_yet() -> None:
    with closing(Rings(1, {}, ["policy"])) as rings:
        crew = Crew({"policy": Job(give_up_and_linger, None, 5.0, leave_s=0.0)}, rings.beats, rings.addresses)
        crew.start()
        try:
            with pytest.raises(UserError, match=f"^{WORD}$"):
                watch(crew)
        finally:
            crew.end()


def work_and_tidy_up(folder: Path, addresses: Addresses, parent: int) -> None:
    with closing(Ring.attach(addresses.beats["policy"])) as beats:
        life = Life(beats, parent)
        life.begin(by_order=folder.name == "by_order")
        while not life.over:
            life.beat()
            if (folder / "ordered").exists():
                break
            time.sleep(0.01)
        (folder / "tidy").touch()


def test_who_leaves_tidies_up_first(tmp_path: Path) -> None:
    """Told before it has even begun, too."""
    with closing(Rings(1, {}, ["policy"])) as rings:
        job = Job(work_and_tidy_up, tmp_path, 60.0, leave_s=60.0)
        crew = Crew({"policy": job}, rings.beats, rings.addresses)
        crew.start()
        crew.end()
    assert (tmp_path / "tidy").exists()


def test_who_heeds_orders_is_not_ended_by_a_signal(tmp_path: Path) -> None:
    folder = tmp_path / "by_order"
    folder.mkdir()
    with closing(Rings(1, {}, ["policy"])) as rings:
        job = Job(work_and_tidy_up, folder, 60.0, leave_s=60.0)
        crew = Crew({"policy": job}, rings.beats, rings.addresses)
        crew.start()
        try:
            until(lambda: crew.lives("policy"))
            os.kill(crew.pids["policy"], signal.SIGTERM)
            before = rings.beats["policy"].latest().number
            until(lambda: rings.beats["policy"].latest().number > before + 5)
            assert not (folder / "tidy").exists()
        finally:
            (folder / "ordered").touch()
            crew.end()
    assert (folder / "tidy").exists()


def watch(crew: Crew) -> None:
    """Look for a minute whether all is well."""
    for _ in range(600):
        assert crew.check() == []
        time.sleep(0.1)
