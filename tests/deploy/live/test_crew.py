"""Who gives up is believed at once."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

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


def watch(crew: Crew) -> None:
    """Look for a minute whether all is well."""
    for _ in range(600):
        assert crew.check() == []
        time.sleep(0.1)
