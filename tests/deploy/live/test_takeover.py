"""A person takes over by real devices, each in the device's process of a live session."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from chromium import opened
from live_conditions import always, in_mode
from live_devices import UNPLUGGED, handled, node_of
from live_parts import Script, run_line, say, sent_to, unsay
from waiting import until

from robofb.deploy.arms.ideal import HOME
from robofb.deploy.live.deployment import plain
from robofb.deploy.live.device_processes import TeleopSetup
from robofb.deploy.live.draft import FACT_NAMES, FACTS
from robofb.deploy.live.session import Outcome, Parts
from robofb.interfaces import Teleop
from robofb.store.episodes import EpisodeStore
from robofb.types import SOURCE_INTERVENTION, SOURCE_POLICY

PATIENCE_S = 150.0  # on a machine with other things to do


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes show no life for long before they are started again."""
    jobs = Parts.jobs
    monkeypatch.setattr(
        Parts,
        "jobs",
        lambda self: {name: job._replace(hung_s=max(job.hung_s, 30.0)) for name, job in jobs(self).items()},
    )


def driven(steps: int) -> Callable[[dict[str, str]], bool]:
    """Return what holds once a person has driven for so many steps since it was first asked in vain."""
    seen: list[int] = []

    def holds(status: dict[str, str]) -> bool:
        if status["arm"] != "human":
            return False
        seen.append(int(status["steps"]))
        return seen[-1] - seen[0] >= steps

    return holds


@pytest.mark.parametrize("name", ["gamepad", "keyboard", "web"])
def test_who_takes_over_drives_and_is_recorded(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Start, take hold, drive up, close the gripper, undo twice, let go, go on, judge: all at the device."""

    def told(*words: str) -> Callable[[], object]:
        return lambda: [say(tmp_path, word) for word in words]

    def untold(*words: str) -> Callable[[], object]:
        return lambda: [unsay(tmp_path, word) for word in words]

    script = Script(
        [
            (lambda _: shown(tmp_path), told("start")),
            (in_mode("policy", 4), untold("start")),
            (in_mode("policy", 5), told("deadman", "up")),
            (driven(3), told("close", "undo")),
            (driven(3), untold("close", "undo")),
            (driven(2), told("undo")),
            (driven(2), untold("deadman", "up", "undo")),
            (in_mode("hold"), told("start")),
            (in_mode("policy", 20), told("success")),
        ],
        PATIENCE_S,
    )
    data = tmp_path / "data"
    with caplog.at_level(logging.WARNING):
        _, outcome = run_line(
            tmp_path, script, data=data, attended=True, max_steps=500, teleop=handled(name, tmp_path)
        )
    assert [(each.label, each.why) for each in outcome.ended] == [("success", "a person")]
    assert outcome.restarts == {} and outcome.saved == [0]
    whys = [status["why"] for status in script.seen]
    assert "a person took over" in whys and "the person let go" in whys
    assert sum("undo" in record.getMessage() for record in caplog.records) == 1
    with EpisodeStore.open(data) as store:
        episode = store[0]
    assert set(episode.source) == {SOURCE_POLICY, SOURCE_INTERVENTION}
    (took, let_go) = np.flatnonzero(np.diff(episode.source)) + 1  # policy, person, policy
    assert 4 <= took < let_go - 5
    heights = episode.action[:, 2]
    assert (np.diff(heights[took:let_go]) > -1e-6).all() and heights[let_go - 1] - heights[took] > 0.01
    assert episode.action[took, 9] < 0 < episode.action[let_go - 1, 9]  # the gripper was closed
    modes = episode.obs[FACTS][:-1, FACT_NAMES.index("mode")]
    assert len(set(modes[episode.source == SOURCE_INTERVENTION])) == 1
    assert set(modes[episode.source == SOURCE_INTERVENTION]).isdisjoint(modes[:took])


def test_a_gamepad_that_is_pulled_out_holds_the_arm_and_says_so(tmp_path: Path) -> None:
    """Plugged in again, it takes over again."""
    script = Script(
        [
            (always, "start"),
            (in_mode("policy", 3), lambda: say(tmp_path, "deadman")),
            (in_mode("human", 5), lambda: say(tmp_path, UNPLUGGED)),
            (in_mode("hold"), lambda: unsay(tmp_path, "deadman")),
            (
                lambda _: "the gamepad is unplugged" in shown(tmp_path),
                lambda: unsay(tmp_path, UNPLUGGED),
            ),
            (lambda _: "unplugged" not in shown(tmp_path), lambda: say(tmp_path, "deadman")),
            (in_mode("human", 8), lambda: unsay(tmp_path, "deadman")),
            (in_mode("hold"), "success"),
        ],
        PATIENCE_S,
    )
    setup = handled("gamepad", tmp_path)
    _, outcome = run_line(tmp_path, script, attended=True, max_steps=500, teleop=setup)
    assert [each.label for each in outcome.ended] == ["success"] and outcome.restarts == {}
    assert "the person's device is silent" in {status["why"] for status in script.seen}


@dataclass(frozen=True)
class PageSetup(TeleopSetup):
    """The web page, which writes down where it is."""

    folder: Path = field(default_factory=Path)

    def make(self) -> Teleop:
        device: Any = super().make()
        connect = device.connect

        def connect_and_say() -> None:
            connect()
            (self.folder / "url").write_text(device.url)

        device.connect = connect_and_say
        return device


@pytest.fixture
def tab() -> Iterator[Any]:
    with opened() as chromium:
        yield chromium.new_page()


@pytest.mark.slow
def test_a_tab_that_is_closed_while_it_drives_holds_the_arm(tab: Any, tmp_path: Path) -> None:
    """It is closed with the dead-man switch held down: nobody says any more that it was let go."""
    script = Script(
        [
            (always, "start"),
            (in_mode("human"), lambda: None),
            (in_mode("hold"), lambda: say(tmp_path, "holds")),
            (lambda _: (tmp_path / "seen").exists(), "failure"),
        ],
        PATIENCE_S,
    )
    teleop, outcomes = PageSetup(plain(node_of("web")), tmp_path), list[Outcome]()
    more = {"attended": True, "max_steps": 100_000, "teleop": teleop}
    thread = Thread(target=lambda: outcomes.append(run_line(tmp_path, script, **more)[1]))
    thread.start()
    try:
        until((tmp_path / "url").exists)
        tab.goto((tmp_path / "url").read_text())
        tab.wait_for_selector("#link.on")
        until(lambda: script.seen and script.seen[-1]["arm"] == "policy")
        tab.keyboard.down("Space")
        tab.keyboard.down("KeyE")
        until(lambda: sent_to(tmp_path)["position"][-1, 2] > HOME.position_m[2] + 0.005)  # driven up
        tab.close(run_before_unload=False)
        until((tmp_path / "holds").exists)
        sent = len(sent_to(tmp_path))
        until(lambda: len(sent_to(tmp_path)) > sent + 50)  # it is held there
        rest = sent_to(tmp_path)["position"][sent + 30 :]
        np.testing.assert_allclose(rest, rest[:1].repeat(len(rest), 0), atol=1e-6)
    finally:
        say(tmp_path, "seen")
        thread.join()
    assert [each.label for each in outcomes[0].ended] == ["failure"] and outcomes[0].restarts == {}
    assert {"human", "hold"} <= {status["arm"] for status in script.seen}


def shown(folder: Path) -> str:
    """Return what the device was shown last."""
    return (folder / "shown").read_text() if (folder / "shown").exists() else ""
