"""Deployments in processes of their own: what goes right, and every fault that only processes can have."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from live_conditions import Condition, always, in_mode, running
from live_parts import (
    HZ,
    STEP_S,
    FullRecordSetup,
    SaidCameraSetup,
    SaidTeleopSetup,
    Script,
    alive,
    num_stops,
    run_line,
    say,
    sent_to,
    unsay,
)
from motion_bounds import assert_within
from waiting import until

from robofb.deploy.cameras.synthetic import number_in
from robofb.deploy.limits import Limits
from robofb.deploy.live.draft import FACT_NAMES, FACTS, PLAN
from robofb.deploy.live.records import JUDGED
from robofb.deploy.live.session import Parts
from robofb.deploy.pose import Pose
from robofb.deploy.watch import Watch
from robofb.errors import UserError
from robofb.store.episodes import EpisodeStore
from robofb.types import SOURCE_INTERVENTION, SOURCE_POLICY


def test_what_runs_is_recorded_as_it_was_commanded(tmp_path: Path) -> None:
    data = tmp_path / "data"
    _, outcome = run_line(tmp_path, Script(), data=data, episodes=2, max_steps=12)
    assert [(each.label, each.why) for each in outcome.ended] == [("failure", "time")] * 2
    assert outcome.saved == [0, 1] and outcome.dropped == {} and outcome.restarts == {}
    sent = sent_to(tmp_path)
    with EpisodeStore.open(data) as store:
        assert len(store) == 2
        for number, episode in enumerate(store):
            assert len(episode) == 12 and not episode.success and episode.meta["label"] == "failure"
            assert episode.meta["episode_seed"] == outcome.ended[number].seed
            assert set(episode.source) == {SOURCE_POLICY}
            assert np.median(np.diff(episode.timestamps)) == pytest.approx(STEP_S, rel=0.2)
            for action in episode.action:  # each was really sent
                assert np.nanmin(np.abs(sent["position"] - action[:3]).max(1)) < 1e-6
            facts = dict(zip(FACT_NAMES, episode.obs[FACTS].T, strict=True))
            assert facts["chunks_refused"][-1] == 0 and facts["chunks_passed"][-1] > facts["chunks_passed"][0]
            planned = facts["plan_count"] == 8
            assert planned[1:-2].all()
            np.testing.assert_allclose(  # the plan made from a row begins where the row was seen, 1 cm on
                np.abs(episode.obs[PLAN][planned, 0, 1] - episode.obs["state"][planned, 1]), 0.01, atol=1e-6
            )
    assert_bounded(sent)


def test_bad_chunks_are_refused_or_bounded_and_late_ones_are_cut(tmp_path: Path) -> None:
    """Nonsense three times in a row ends in a fault; leaps and slowness do not."""
    told: dict[str, dict[str, int]] = {}

    def note(name: str) -> Callable[[], None]:
        return lambda: told.update({name: dict(script.session.outcome.counts)})  # type: ignore[union-attr]

    script = Script(
        [
            (always, "start"),
            (running(0), lambda: say(tmp_path, "jump")),
            (running(0, 8), lambda: unsay(tmp_path, "jump")),
            (running(0, 12), lambda: say(tmp_path, "far")),
            (running(0, 17), lambda: unsay(tmp_path, "far")),
            (running(0, 20), lambda: say(tmp_path, "slow")),
            (running(0, 30), lambda: unsay(tmp_path, "slow")),
            (running(0, 33), note("mild")),
            (running(0, 33), lambda: say(tmp_path, "nan")),
            (in_mode("fault"), lambda: unsay(tmp_path, "nan")),
            (in_mode("fault"), "start"),  # acknowledges, and begins the next
            (running(1), lambda: say(tmp_path, "text")),
            (in_mode("fault"), "quit"),
        ]
    )
    data = tmp_path / "data"
    _, outcome = run_line(tmp_path, script, data=data, episodes=3, attended=True, max_steps=200)
    assert [each.label for each in outcome.ended] == ["aborted", "aborted"]
    assert "3 chunks in a row refused: not finite" in outcome.ended[0].why
    assert "3 chunks in a row refused: no array of numbers" in outcome.ended[1].why
    assert told["mild"]["clamped: speed"] > 0 and told["mild"]["clamped: box"] > 0
    assert not any(name.startswith("refused: not") or name == "hold" for name in told["mild"])
    with EpisodeStore.open(data) as store:
        facts = dict(zip(FACT_NAMES, store[0].obs[FACTS].T, strict=True))
    clamped = {name: set(facts[f"chunk_clamped_{name}"]) for name in JUDGED[1:]}
    assert clamped == {"box": {0, 1}, "speed": {0, 1}, "tilt": {0}, "turn": {0}, "gripper": {0}}
    ages_s = facts["followed_plan_age_s"]
    assert ages_s.max() > 0.25 > 2 * np.median(ages_s)  # of those that were late
    refused = facts["chunk_refused"] == 1
    assert refused[-3:].any() and not refused[:-4].any()  # at the third it stopped
    assert 0 < facts["chunks_clamped"][-1] < facts["chunks_passed"][-1]
    assert_bounded(sent_to(tmp_path))


def test_what_an_arm_says_is_never_cleared_by_itself(tmp_path: Path) -> None:
    """Reflex, dead stream and lost link: each ends the episode; a person acknowledges, or arms anew."""
    script = Script(
        [
            (always, "start"),
            (running(0), lambda: say(tmp_path, "reflex")),
            (in_mode("fault"), lambda: unsay(tmp_path, "reflex")),
            (in_mode("fault"), "start"),
            (running(1), lambda: say(tmp_path, "frozen")),
            (in_mode("fault"), lambda: unsay(tmp_path, "frozen")),
            (in_mode("fault"), "start"),
            (running(2), lambda: say(tmp_path, "lost")),
            (session("waiting for a start"), lambda: unsay(tmp_path, "lost")),
            (in_mode("disarmed"), "start"),
            (running(3), "success"),
        ]
    )
    _, outcome = run_line(tmp_path, script, episodes=4, attended=True)
    whys = [each.why for each in outcome.ended]
    assert whys[0] == "the arm says a reflex" and "said nothing new" in whys[1]
    assert whys[2] == "the arm does not answer" and whys[3] == "a person"
    assert [each.label for each in outcome.ended] == ["aborted"] * 3 + ["success"]
    modes = [status["arm"] for status in script.seen]
    first = modes.index("fault")
    assert "policy" not in modes[first : modes.index("ready", first)]
    assert num_stops(tmp_path) >= 3
    assert_bounded(sent_to(tmp_path))


def test_a_person_takes_over_and_the_policy_dies_and_hangs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    script = Script(
        [
            (always, "start"),
            (running(0, 4), lambda: say(tmp_path, "held")),
            (in_mode("human", 8), lambda: unsay(tmp_path, "held")),
            (in_mode("hold"), "start"),
            (running(0, 12), lambda: say(tmp_path, "held")),
            (in_mode("human", 15), lambda: say(tmp_path, "gone")),
            (in_mode("hold"), lambda: unsay(tmp_path, "held")),
            (in_mode("hold"), lambda: unsay(tmp_path, "gone")),
            (in_mode("hold"), "start"),
            (in_mode("policy", 30), lambda: kill(script, "policy", signal.SIGKILL)),
            (in_mode("hold"), "start"),  # asked before it is back: nothing
            (lambda status: status["arm"] == "hold" and ready(script, 1), "start"),
            (in_mode("policy", 50), lambda: kill(script, "policy", signal.SIGSTOP)),
            (lambda status: status["arm"] == "hold" and ready(script, 2), "start"),
            (in_mode("policy", 60), "success"),
        ]
    )
    teleop = SaidTeleopSetup({}, tmp_path)
    _, outcome = run_line(tmp_path, script, data=data, attended=True, max_steps=500, teleop=teleop)
    assert [each.label for each in outcome.ended] == ["success"] and outcome.restarts == {"policy": 2}
    reasons = {status["why"] for status in script.seen if status["arm"] == "hold"}
    assert {"the person let go", "the person's device is silent", "no plan came in time"} <= reasons
    with EpisodeStore.open(data) as store:
        episode = store[0]
        assert episode.success and episode.reward[-1] == 1.0 and episode.reward[:-1].sum() == 0
        sources = episode.source
        assert set(sources) == {SOURCE_POLICY, SOURCE_INTERVENTION}
        changes = int((np.diff(sources) != 0).sum())
        assert changes == 4  # policy, person, policy, person, policy
        heights = episode.action[:, 2][sources == SOURCE_INTERVENTION]
        assert heights.max() - heights.min() > 0.005  # the person pushed upwards
    assert_bounded(sent_to(tmp_path))


def test_a_camera_that_shows_nothing_new_holds_the_arm_and_then_ends_the_episode(tmp_path: Path) -> None:
    """No pictures, the same pixels with new stamps, a dead process; each row has the picture of its time."""
    data = tmp_path / "data"
    script = Script(
        [
            (always, "start"),
            (running(0, 5), lambda: say(tmp_path, "repeating")),
            (in_mode("hold"), lambda: unsay(tmp_path, "repeating")),
            (always, lambda: time.sleep(0.3)),
            (in_mode("hold"), "start"),
            (in_mode("policy", 12), lambda: kill(script, "camera front", signal.SIGKILL)),
            (session("waiting for a start"), "start"),  # it came back too late
            (running(1, 5), lambda: say(tmp_path, "blind")),
            (session("waiting for a start"), lambda: unsay(tmp_path, "blind")),
        ]
    )
    cameras = {"front": SaidCameraSetup("front", {}, 48, 64, tmp_path)}
    _, outcome = run_line(tmp_path, script, data=data, attended=True, episodes=2, cameras=cameras)
    assert [each.label for each in outcome.ended] == ["aborted"] * 2
    assert all("a camera shows nothing new for" in each.why for each in outcome.ended)
    assert outcome.restarts == {"camera front": 1} and outcome.saved == [0, 1]
    with EpisodeStore.open(data) as store:
        for episode in store:
            images = episode.obs["image_front"].transpose(0, 2, 3, 1)
            numbers = [number_in(image) for image in images]
            assert len(set(numbers)) > len(numbers) // 2
            age_s = episode.obs[FACTS][:, FACT_NAMES.index("frames_age_s")]
            assert (age_s < Watch().frozen_s + STEP_S).all()


def test_a_person_keeps_the_arm_without_pictures_and_none_of_that_is_recorded(tmp_path: Path) -> None:
    """Nor is what they drive while a camera repeats itself."""
    data = tmp_path / "data"
    script = Script(
        [
            (always, "start"),
            (running(0, 4), lambda: say(tmp_path, "held")),
            (in_mode("human", 10), lambda: say(tmp_path, "blind")),
            (lambda _: age_s(script) > 0.5, lambda: unsay(tmp_path, "blind")),
            (lambda _: age_s(script) < 0.1, lambda: note()),
            (lambda status: int(status["steps"]) > noted[0] + 5, lambda: say(tmp_path, "repeating")),
            (lambda _: age_s(script) > 0.5, lambda: unsay(tmp_path, "repeating")),
            (lambda _: age_s(script) < 0.1, lambda: note()),
            (lambda status: int(status["steps"]) > noted[1] + 5, "success"),
            (session("coming to rest"), lambda: unsay(tmp_path, "held")),
        ]
    )
    noted: list[int] = []

    def note() -> None:
        noted.append(int(script.seen[-1]["steps"]))

    def age_s(script: Script) -> float:
        tick = script.session.rings.ticks.latest()  # type: ignore[union-attr]
        return float(tick.value["frames_age_s"])  # type: ignore[union-attr]

    cameras = {"front": SaidCameraSetup("front", {}, 48, 64, tmp_path)}
    more = {"teleop": SaidTeleopSetup({}, tmp_path), "max_steps": 500, "abort_s": 20.0}
    _, outcome = run_line(tmp_path, script, data=data, attended=True, cameras=cameras, **more)
    assert [(each.label, each.why) for each in outcome.ended] == [("success", "a person")]
    modes = [status["arm"] for status in script.seen if status["session"] == "running"]
    assert set(modes[modes.index("human") :]) == {"human"}
    with EpisodeStore.open(data) as store:
        episode = store[0]
    assert (episode.obs[FACTS][:, FACT_NAMES.index("frames_age_s")] <= Watch().frozen_s).all()
    assert episode.meta["pauses"] >= 2
    assert (np.sort(np.diff(episode.timestamps))[-2:] > 0.25).all()  # each time more than 0.5 s less 0.2


@pytest.mark.parametrize(
    ("how", "heeds", "says"),
    [
        ("SIGKILL", True, r"died \(-9\); the arm stands still$"),
        ("SIGSTOP", True, r"showed no life for \d+\.\d s; the arm stands still$"),
        ("SIGKILL", False, r"died \(-9\); the arm still moves: press its emergency stop$"),
    ],
)
def test_an_arm_whose_process_dies_or_hangs_is_stopped_by_another(
    tmp_path: Path, how: str, heeds: bool, says: str
) -> None:
    """It would go on by itself, and does where it heeds no stop."""

    def end() -> None:
        kill(script, "arm", signal.Signals[how])
        say(tmp_path, "coasts")
        if not heeds:
            say(tmp_path, "deaf")

    data = tmp_path / "data"
    script = Script(
        [
            (always, "start"),
            (running(0, 4), "success"),
            (session("waiting for a start"), "start"),
            (running(1, 4), end),
        ]
    )
    pids: dict[str, int] = {}
    script.lines.insert(1, (running(0), lambda: pids.update(script.session.crew.pids)))  # type: ignore[union-attr]
    with pytest.raises(UserError, match=f"the process of the arm {says}"):
        run_line(tmp_path, script, data=data, episodes=3, attended=True, arm_hung_s=Parts.arm_hung_s)
    assert num_stops(tmp_path) == 1 + heeds  # after the first episode, and by another process
    assert set(pids) == {"arm", "policy", "recorder"} and not any(map(alive, pids.values()))
    with EpisodeStore.open(data) as store:
        assert len(store) == 1 and store[0].success  # what was complete is kept


def test_an_arm_process_that_stands_still_for_a_while_goes_on_without_a_burst(tmp_path: Path) -> None:
    script = Script(
        [
            (running(0, 5), lambda: kill(script, "arm", signal.SIGSTOP)),
            (always, lambda: time.sleep(0.3)),
            (always, lambda: kill(script, "arm", signal.SIGCONT)),
        ]
    )
    _, outcome = run_line(tmp_path, script, max_steps=20)
    assert outcome.ended[0].label == "failure" and outcome.counts["overrun"] >= 1
    assert np.nanmax(np.diff(sent_to(tmp_path)["wall_s"])) > 0.25
    assert_bounded(sent_to(tmp_path))  # over the gap too: it went on by one period


@pytest.mark.parametrize(
    ("names", "word"), [((), "is not saved"), (("front",), "its pictures cannot be kept: File too large")]
)
def test_what_cannot_be_written_is_dropped_and_control_goes_on(
    tmp_path: Path, names: tuple[str, ...], word: str
) -> None:
    data = tmp_path / "data"
    cameras = {name: SaidCameraSetup(name, {}, 48, 64, tmp_path) for name in names}
    _, outcome = run_line(
        tmp_path,
        Script(),
        data=data,
        episodes=2,
        max_steps=8,
        recorder_kind=FullRecordSetup,
        cameras=cameras,
    )
    assert [each.label for each in outcome.ended] == ["failure"] * 2
    assert outcome.saved == [] and set(outcome.dropped) == {0, 1}
    assert all(word in why for why in outcome.dropped.values())
    assert_bounded(sent_to(tmp_path))


class Interrupter(Script):
    """Press Ctrl-C at the first looks; the arm needs longer to say anything."""

    def __init__(self, presses: int) -> None:
        super().__init__()
        self.presses = presses

    def events(self) -> list[str]:
        if self.presses:
            self.presses -= 1
            raise KeyboardInterrupt
        return super().events()


def test_who_leaves_before_the_arm_is_there_is_heard(tmp_path: Path) -> None:
    person = Interrupter(1)
    _, outcome = run_line(tmp_path, person, attended=True)
    assert outcome.ended == [] and person.seen == []
    assert np.isnan(sent_to(tmp_path)["wall_s"]).all()  # stops alone


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    person = Interrupter(2)
    with pytest.raises(KeyboardInterrupt):
        run_line(tmp_path, person, attended=True)
    assert person.session is not None and not person.session.crew.pids


def test_ctrl_c_at_the_terminal_does_not_kill_processes_that_only_begin(tmp_path: Path) -> None:
    """It reaches all of them: the supervisor alone heeds it, in the first moments too."""
    supervisor = mp.get_context("spawn").Process(target=interrupted, args=(tmp_path,))
    supervisor.start()
    supervisor.join(60.0)
    assert (supervisor.exitcode, (tmp_path / "outcome").read_text()) == (0, "[] {}")


def interrupted(folder: Path) -> None:
    """Send Ctrl-C to the processes of a session as soon as they are started; write down what came of it."""
    script = Interrupter(0)

    def press() -> list[str]:
        assert script.session is not None
        for pid in script.session.crew.pids.values():
            os.kill(pid, signal.SIGINT)
        time.sleep(1.0)  # a process that dies of it is gone by then
        script.session.crew.check()
        return ["quit"]

    script.events = press  # type: ignore[method-assign]
    _, outcome = run_line(folder, script, attended=True)
    (folder / "outcome").write_text(f"{outcome.ended} {outcome.restarts}")


def test_nobody_is_left_behind_where_the_supervisor_is_killed(tmp_path: Path) -> None:
    """Its processes see that it is gone; the arm's brakes first."""
    supervisor = mp.get_context("spawn").Process(target=supervise, args=(tmp_path,))
    supervisor.start()
    until(lambda: len(sent_to(tmp_path)) > 20)
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2 and all(map(alive, pids))
    supervisor.kill()
    supervisor.join()
    until(lambda: not any(map(alive, pids)))
    assert num_stops(tmp_path) >= 1
    sent = sent_to(tmp_path)
    assert_bounded(sent)
    before, last = sent["position"][np.isfinite(sent["wall_s"])][-2:]
    np.testing.assert_allclose(last, before, atol=1e-4)  # at rest


def supervise(folder: Path) -> None:
    """Run a session that never ends, and write the numbers of its processes down."""
    script = Script()

    def write() -> None:
        assert script.session is not None
        (folder / "pids").write_text(" ".join(map(str, script.session.crew.pids.values())))

    script.lines = [(running(0, 1), write)]
    run_line(folder, script, max_steps=10_000)


def session(stage: str) -> Condition:
    return lambda status: status["session"] == stage


def ready(script: Script, restarts: int) -> bool:
    """The policy's process was started again so often, and plans."""
    assert script.session is not None
    crew = script.session.crew
    return crew.restarts["policy"] == restarts and crew.lives("policy")


def kill(script: Script, name: str, what: int) -> None:
    assert script.session is not None
    os.kill(script.session.crew.pids[name], what)


def assert_bounded(sent: np.ndarray) -> None:
    """Hold what the arm got against all limits, from one stop to the next."""
    assert len(sent) > 10
    for part in np.split(sent, np.flatnonzero(np.isnan(sent["wall_s"]))):
        moving = part[np.isfinite(part["wall_s"])]
        if len(moving) > 4:
            poses = [Pose(tuple(row["position"]), tuple(row["turn"])) for row in moving]
            assert_within(poses, Limits(), 1 / HZ)
