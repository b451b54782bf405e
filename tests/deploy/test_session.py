"""A session against a cell and a device whose every number is known; the clock is a fake."""

import numpy as np
import pytest

from robofb.deploy.cell import Cell
from robofb.deploy.session import Session
from robofb.deploy.teleop.fake import FAKE_SPEC, FakeCell, FakeTeleop
from robofb.deploy.tool_target import ToolTarget
from robofb.errors import DeviceLostError, UserError
from robofb.store.episodes import EpisodeStore
from robofb.types import SOURCE_HUMAN, TeleopCommand

GO = TeleopCommand(np.array([0.2, 0, 0, 0, 0, 0]), 0.0, True)
STAY = TeleopCommand(np.zeros(6), 0.0, True)
FREE = TeleopCommand(np.array([0.2, 0, 0, 0, 0, 0]), 1.0, False)  # deflected, but nobody holds the switch
LOST = DeviceLostError("the fake is gone")


def say(event):
    return TeleopCommand(np.zeros(6), 0.0, False, event)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self):
        self.time_s = 100.0

    def now(self):
        return self.time_s

    def sleep(self, wait_s):
        assert wait_s > 0
        self.time_s += wait_s


class Driven:
    """One finished session with everything that took part in it."""

    def __init__(self, tmp_path, commands, episodes=9, before=None, **settings):
        self.clock = Clock()
        cell_settings = {
            key: settings.pop(key) for key in ("follow", "goal_x_m", "rewinds") if key in settings
        }
        self.cell = FakeCell(self.clock.now, self.clock.sleep, **cell_settings)
        self.teleop = FakeTeleop(commands)
        self.teleop.connect()
        if before:
            before(self)
        self.path = tmp_path / "d"
        target = ToolTarget(FAKE_SPEC.action)
        with EpisodeStore.create(self.path, FAKE_SPEC) as store:
            self.session = Session(
                self.cell,
                self.teleop,
                store,
                target,
                episodes=episodes,
                now=self.clock.now,
                sleep=self.clock.sleep,
                **settings,
            )
            try:
                self.result = self.session.run()
            finally:
                self.store = EpisodeStore.open(self.path)

    def states(self):
        return [status["state"] for status in self.teleop.shown]


def test_the_fake_is_a_cell():
    assert isinstance(FakeCell(lambda: 0.0, lambda wait_s: None), Cell)


def test_records_the_steps_of_a_success_with_true_times(tmp_path):
    driven = Driven(tmp_path, [say("start"), GO, GO, GO, say("success"), say("success")])
    (episode,) = driven.store
    np.testing.assert_allclose(episode.action[:, 0], [0.02, 0.04, 0.06], atol=1e-6)
    np.testing.assert_allclose(episode.obs["state"][:, 0], [0, 0.02, 0.04, 0.06], atol=1e-6)
    np.testing.assert_allclose(episode.timestamps, [100.1, 100.2, 100.3, 100.4])
    assert episode.success and episode.terminated and (episode.source == SOURCE_HUMAN).all()
    assert episode.meta["success_by"] == "person"
    assert episode.meta["late_steps"] == 0
    assert (driven.result.kept, driven.result.discarded) == (1, 0)


def test_nothing_moves_and_nothing_is_recorded_without_the_dead_man(tmp_path):
    driven = Driven(tmp_path, [say("start"), FREE, FREE, GO, FREE, FREE, FREE, GO, say("success")])
    assert len(driven.cell.actions) == 2
    (episode,) = driven.store
    assert len(episode) == 2
    assert (episode.action[:, 9] == -1).all()  # the gripper too
    # the state from which the second step starts was seen just before it, not before the break
    np.testing.assert_allclose(episode.timestamps, [100.3, 100.7, 100.8])


def test_taking_hold_never_jumps(tmp_path):
    """The arm lags far behind its target; on the next hold the target is where the arm is."""

    def seen_by(driven):
        step = driven.cell.step

        def check(action):
            if len(driven.cell.actions) in (3, 7):  # first steps of a new hold
                np.testing.assert_allclose(action[:3], driven.cell.position_m, atol=1e-6)
            return step(action)

        driven.cell.step = check

    commands = [say("start"), GO, GO, GO, FREE, STAY, GO, GO, GO, say("pause"), say("pause"), STAY]
    driven = Driven(tmp_path, commands, before=seen_by, follow=0.1)
    assert len(driven.cell.actions) == 8


def test_a_success_of_the_task_is_saved_after_its_time_of_grace(tmp_path):
    wait = [FREE] * 12
    driven = Driven(tmp_path, [say("start"), GO, GO, GO, *wait], goal_x_m=0.05, grace_s=1.0)
    solved = [index for index, state in enumerate(driven.states()) if state == "solved"]
    assert solved == list(range(3, 3 + len(solved))) and len(solved) in (11, 12)  # 1 s and its ends
    assert driven.store[0].meta["success_by"] == "task" and len(driven.store[0]) == 3


@pytest.mark.parametrize("last", ["start", "success", "quit"])
def test_a_success_of_the_task_is_saved_at_once_when_the_person_goes_on(tmp_path, last):
    driven = Driven(tmp_path, [say("start"), GO, GO, GO, say(last)], goal_x_m=0.05, grace_s=60)
    assert driven.result.kept == 1


def test_a_discarded_episode_leaves_no_trace(tmp_path):
    driven = Driven(tmp_path, [say("start"), GO, GO, GO, say("discard"), say("quit")], goal_x_m=0.05)
    assert (len(driven.store), driven.result.discarded) == (0, 1)
    assert (driven.path / "data/action").is_dir() and len(driven.store.read("action")) == 0


def test_a_success_can_be_undone_and_driven_again(tmp_path):
    commands = [say("start"), GO, GO, GO, say("undo"), GO, GO, GO, GO]
    driven = Driven(tmp_path, commands, goal_x_m=0.05, undo_s=0.2)
    (episode,) = driven.store
    np.testing.assert_allclose(episode.obs["state"][:, 0], [0, 0.02, 0.04, 0.06], atol=1e-6)
    assert episode.meta["undone_before_steps"] == [1]
    assert (np.diff(episode.timestamps) >= 0).all()


def test_undo_goes_back_to_the_start_at_most(tmp_path):
    driven = Driven(tmp_path, [say("start"), GO, say("undo"), say("undo"), GO, GO, say("success")])
    (episode,) = driven.store
    assert len(episode) == 2
    np.testing.assert_allclose(episode.obs["state"][:, 0], [0, 0.02, 0.04], atol=1e-6)


def test_undo_without_rewinding_goes_on_from_where_the_arm_is(tmp_path):
    commands = [say("start"), GO, GO, GO, say("undo"), GO, say("success")]
    driven = Driven(tmp_path, commands, rewinds=False, undo_s=0.2)
    (episode,) = driven.store
    np.testing.assert_allclose(episode.obs["state"][:, 0], [0, 0.06, 0.08], atol=1e-6)
    assert episode.meta["undone_before_steps"] == [1]


def test_nothing_is_recorded_while_paused(tmp_path):
    commands = [say("start"), GO, say("pause"), GO, GO, say("pause"), GO, say("success")]
    driven = Driven(tmp_path, commands)
    assert len(driven.cell.actions) == 2 and len(driven.store[0]) == 2


def test_a_lost_device_holds_the_arm_until_the_person_goes_on(tmp_path):
    commands = [say("start"), GO, LOST, LOST, GO, GO, say("pause"), GO, say("success")]
    driven = Driven(tmp_path, commands)
    assert driven.states()[2:6] == ["paused"] * 4
    assert len(driven.cell.actions) == 2 and len(driven.store[0]) == 2
    assert "the fake is gone" in driven.teleop.shown[2]["message"]


def test_a_device_that_stays_lost_ends_the_session_and_keeps_what_succeeded(tmp_path):
    with pytest.raises(UserError, match="the fake is gone; gave up after 2 s"):
        Driven(tmp_path, [say("start"), GO, GO, GO, *[LOST] * 50], goal_x_m=0.05, patience_s=2.0, grace_s=60)
    assert len(EpisodeStore.open(tmp_path / "d")) == 1


def test_ctrl_c_keeps_what_succeeded(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        Driven(tmp_path, [say("start"), GO, GO, GO, KeyboardInterrupt()], goal_x_m=0.05, grace_s=60)
    assert len(EpisodeStore.open(tmp_path / "d")) == 1


@pytest.mark.parametrize(
    "bad",
    [
        TeleopCommand(np.array([np.nan, 0, 0, 0, 0, 0]), 0.0, True),
        TeleopCommand(np.array([0, 0, np.inf, 0, 0, 0]), 0.0, True),
        TeleopCommand(np.zeros(6), np.nan, True),
        TeleopCommand(np.zeros(5), 0.0, True),
    ],
)
def test_an_unsound_command_holds_the_arm(tmp_path, bad):
    driven = Driven(tmp_path, [say("start"), GO, bad, say("success")])
    assert len(driven.cell.actions) == 1 and len(driven.store[0]) == 1


def test_ends_by_itself_once_there_are_enough(tmp_path):
    commands = [say("start"), GO, GO, GO, say("start"), GO, GO, GO, say("start"), GO, GO]
    driven = Driven(tmp_path, commands, episodes=2, goal_x_m=0.05)
    assert driven.result.kept == len(driven.store) == 2
    assert len({episode.meta["episode_seed"] for episode in driven.store}) == 2


def test_a_late_period_is_counted_and_not_caught_up(tmp_path):
    def slow(driven):
        step = driven.cell.step

        def late(action):
            driven.clock.time_s += 0.25 if len(driven.cell.actions) == 1 else 0.0
            return step(action)

        driven.cell.step = late

    driven = Driven(tmp_path, [say("start"), *[GO] * 4, say("success")], before=slow)
    (episode,) = driven.store
    np.testing.assert_allclose(np.diff(episode.timestamps), [0.1, 0.35, 0.1, 0.1], atol=1e-9)
    assert episode.meta["late_steps"] == 1


def test_success_and_discard_mean_nothing_where_nothing_is_recorded(tmp_path):
    events = ["success", "discard", "undo", "pause", "start", "success", "discard"]
    driven = Driven(tmp_path, [say(event) for event in events])
    assert (len(driven.store), driven.result.kept, driven.result.discarded) == (0, 0, 0)


def test_driving_without_recording_is_practice(tmp_path):
    driven = Driven(tmp_path, [GO, GO, say("start"), GO, say("success")])
    assert len(driven.cell.actions) == 3 and len(driven.store[0]) == 1
    assert driven.store[0].obs["state"][0, 0] == 0  # start brought the cell back
