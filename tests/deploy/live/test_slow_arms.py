"""An arm whose link and whose errors take longer to mend than its process may show no life."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

import pytest
from live_conditions import always, running
from live_parts import Script, run_line, say, unsay
from waiting import until

from robofb.deploy.live.crew import Crew, CrewError, Job
from robofb.deploy.live.fake import DAWDLE_S
from robofb.deploy.live.process import Life
from robofb.deploy.live.records import Addresses, Rings
from robofb.deploy.live.session import Parts
from robofb.deploy.ring import Ring


@pytest.mark.parametrize(("wrong", "mode"), [("lost", "disarmed"), ("reflex", "fault")])
def test_an_arm_may_take_its_time_to_connect_and_to_recover(tmp_path: Path, wrong: str, mode: str) -> None:
    """A lost link is opened anew by itself, an error is cleared by a start; each takes two seconds here."""
    assert Parts.arm_hung_s < DAWDLE_S
    waited = tmp_path / "dawdled"

    def mended(status: dict[str, str]) -> bool:
        return status["arm"] == mode and (wrong == "reflex" or waited.is_file())

    script = Script(
        [
            (always, "start"),
            (running(0), lambda: say(tmp_path, "dawdle")),
            (always, lambda: say(tmp_path, wrong)),
            (mended, lambda: unsay(tmp_path, wrong)),
            (lambda status: status["session"] == "waiting for a start", "start"),
            (running(1), "success"),
        ]
    )
    _, outcome = run_line(
        tmp_path, script, episodes=2, attended=True, max_steps=200, arm_hung_s=Parts.arm_hung_s
    )
    assert [each.label for each in outcome.ended] == ["aborted", "success"]
    assert waited.is_file()


def stand_still(most_s: float, addresses: Addresses, parent: int) -> None:
    """Say that one is busy for so long, and come back no more."""
    with closing(Ring.attach(addresses.beats["arm"])) as beats, Life(beats, parent).busy(most_s):
        time.sleep(600.0)


def test_who_is_busy_for_longer_than_said_hangs() -> None:
    with closing(Rings(1, {}, ["arm"])) as rings:
        job = Job(stand_still, 3.0, hung_s=0.5, again=False, leave_s=0.0)
        crew = Crew({"arm": job}, rings.beats, rings.addresses)
        crew.start()
        try:
            until(lambda: crew.lives("arm"))
            with pytest.raises(CrewError, match=r"the arm showed no life for (\d+\.\d) s") as caught:
                until(lambda: crew.check() != [])
            assert float(str(caught.value).split()[-2]) >= 3.0
        finally:
            crew.end()


def test_who_is_no_longer_busy_may_be_silent_no_longer_than_any() -> None:
    with closing(Rings(1, {}, ["arm"])) as rings:
        life = Life(rings.beats["arm"], os.getppid())
        with life.busy(100.0):
            busy = rings.beats["arm"].latest()
        after = rings.beats["arm"].latest()
        assert busy is not None and after is not None and after.number == busy.number + 1
        assert busy.value["until_s"] == pytest.approx(busy.value["at_s"] + 100.0)
        assert after.value["until_s"] == after.value["at_s"]
