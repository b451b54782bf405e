"""What a session asks for next, said by hand for every situation that matters."""

from __future__ import annotations

import pytest

from robofb.deploy.live.conductor import Conductor, Stage
from robofb.deploy.live.records import Order, Seen
from robofb.deploy.modes import Mode
from robofb.rng import derive_seeds

SEED = 7


def seen(mode: Mode, episode: int = 0, **more: object) -> Seen:
    facts = Seen(mode, "", True, True, True, episode, 0, 0.0, "because")
    return facts._replace(**more)


def conductor(attended: bool = False, episodes: int = 2) -> Conductor:
    return Conductor(episodes, SEED, attended=attended, max_steps=50)


def words(orders: list[Order]) -> list[str]:
    return [f"{order.kind} {order.what}".strip() for order in orders]


def step(made: Conductor, look: Seen, *events: str, ready: bool = True, now_s: float = 0.0) -> list[str]:
    return words(made.step(now_s, look, ready, events))


def begun(attended: bool = False) -> Conductor:
    """A conductor whose first episode runs."""
    made = conductor(attended)
    assert step(made, seen(Mode.DISARMED, -1), "start") == ["begin"]
    assert step(made, seen(Mode.DISARMED)) == ["ask arm"]
    assert step(made, seen(Mode.READY)) == ["ask run"]
    assert step(made, seen(Mode.POLICY)) == [] and made.stage is Stage.RUNNING
    return made


def test_an_episode_runs_from_its_begin_to_rest() -> None:
    made = begun()
    assert step(made, seen(Mode.POLICY, steps=50)) == []
    assert step(made, seen(Mode.POLICY, steps=51)) == ["ask hold", "end failure"]
    assert [(each.label, each.why, each.steps) for each in made.ended] == [("failure", "time", 51)]
    assert step(made, seen(Mode.HOLD, -1, at_rest=False)) == []
    assert step(made, seen(Mode.HOLD, -1)) == ["ask disarm"]
    assert step(made, seen(Mode.HOLD, -1)) == []  # once is enough
    assert step(made, seen(Mode.DISARMED, -1)) == [] and made.stage is Stage.WAITING
    orders = made.step(0.0, seen(Mode.DISARMED, -1), True, [])
    assert orders == [Order("begin", "", 1, int(derive_seeds(SEED, 1)))]


def test_it_goes_home_first_where_it_is_not() -> None:
    made = conductor()
    step(made, seen(Mode.DISARMED, -1))
    assert step(made, seen(Mode.DISARMED)) == ["ask arm"]
    assert step(made, seen(Mode.READY, at_home=False)) == ["ask home"]
    assert step(made, seen(Mode.HOMING, at_home=False)) == []
    assert step(made, seen(Mode.READY)) == ["ask run"]


def test_nothing_begins_before_all_is_ready() -> None:
    made = conductor()
    assert step(made, seen(Mode.DISARMED, -1), ready=False) == []
    assert step(made, seen(Mode.DISARMED, -1, linked=False)) == []
    assert step(made, seen(Mode.DISARMED, -1)) == ["begin"]
    assert step(made, seen(Mode.DISARMED, -1)) == []  # the arm's process has not begun it


def test_a_person_who_says_start_early_is_remembered() -> None:
    made = conductor(attended=True)
    assert step(made, seen(Mode.DISARMED, -1)) == []
    assert step(made, seen(Mode.DISARMED, -1), "start", ready=False) == []
    assert step(made, seen(Mode.DISARMED, -1)) == ["begin"]


@pytest.mark.parametrize(
    ("event", "label"), [("success", "success"), ("failure", "failure"), ("discard", "discarded")]
)
def test_a_person_judges(event: str, label: str) -> None:
    made = begun(attended=True)
    assert step(made, seen(Mode.POLICY), event) == ["ask hold", f"end {label}"]
    assert (made.ended[0].label, made.ended[0].why) == (label, "a person")


def test_the_task_judges_first() -> None:
    made = begun()
    assert step(made, seen(Mode.POLICY, verdict="success", steps=51)) == ["ask hold", "end success"]
    assert made.ended[0].why == "the task"


def test_a_hold_ends_the_episode_of_nobody_and_waits_for_a_person() -> None:
    alone, attended = begun(), begun(attended=True)
    assert step(alone, seen(Mode.HOLD)) == ["end aborted"] and alone.ended[0].why == "because"
    assert step(attended, seen(Mode.HOLD)) == []
    assert step(attended, seen(Mode.HOLD), "start", ready=False) == []
    assert step(attended, seen(Mode.HOLD), "start") == ["ask run"]
    assert step(attended, seen(Mode.POLICY), "pause") == ["ask hold"]


def test_a_fault_ends_the_session_of_nobody_and_waits_for_a_person() -> None:
    alone, attended = begun(), begun(attended=True)
    for made in (alone, attended):
        assert step(made, seen(Mode.FAULT)) == ["end aborted"]
        assert step(made, seen(Mode.FAULT, -1)) == []
    assert alone.stage is Stage.OVER and attended.stage is Stage.WAITING
    assert step(attended, seen(Mode.FAULT, -1)) == []
    assert step(attended, seen(Mode.FAULT, -1), "start") == ["begin"]
    assert step(attended, seen(Mode.FAULT, 1)) == ["ask acknowledge"]  # by the same word
    assert step(attended, seen(Mode.FAULT, 1), now_s=5.0) == []
    assert step(attended, seen(Mode.FAULT, 1), "start", now_s=5.0) == ["ask acknowledge"]


def test_an_arm_that_cannot_be_armed_is_given_up_by_nobody() -> None:
    made = conductor()
    step(made, seen(Mode.DISARMED, -1))
    assert step(made, seen(Mode.DISARMED)) == ["ask arm"]
    assert step(made, seen(Mode.DISARMED), now_s=0.9) == []
    assert step(made, seen(Mode.DISARMED), now_s=1.1) == ["end aborted"]


def test_what_is_wrong_with_a_disarmed_arm_is_acknowledged_by_a_person() -> None:
    made = conductor(attended=True)
    step(made, seen(Mode.DISARMED, -1), "start")
    assert step(made, seen(Mode.DISARMED)) == ["ask arm"]
    assert step(made, seen(Mode.DISARMED), now_s=5.0) == []  # in vain: the arm says a reflex
    assert step(made, seen(Mode.DISARMED), "start", now_s=5.1) == ["ask acknowledge"]
    assert step(made, seen(Mode.READY), now_s=5.2) == ["ask run"]


def test_an_old_picture_aborts() -> None:
    made = begun(attended=True)
    assert step(made, seen(Mode.HOLD, frames_age_s=0.9)) == []
    assert step(made, seen(Mode.HOLD, frames_age_s=1.1)) == ["end aborted"]
    assert made.ended[0].why == "a camera shows nothing new for 1.1 s"


@pytest.mark.parametrize("mode", [Mode.POLICY, Mode.HUMAN, Mode.HOLD, Mode.READY, Mode.HOMING])
def test_stop_comes_before_everything(mode: Mode) -> None:
    made = begun()
    assert step(made, seen(mode, verdict="success"), "success", "stop", "quit") == ["ask stop"]


def test_a_session_that_is_ended_aborts_its_episode_and_rests() -> None:
    made = begun()
    assert step(made, seen(Mode.POLICY), "quit") == ["ask hold", "end aborted"]
    assert step(made, seen(Mode.HOLD, -1)) == ["ask disarm"]
    step(made, seen(Mode.DISARMED, -1))
    step(made, seen(Mode.DISARMED, -1))
    assert made.stage is Stage.OVER and len(made.ended) == 1


def test_who_still_drives_after_the_end_is_waited_for() -> None:
    made = begun(attended=True)
    step(made, seen(Mode.HUMAN), "success")
    assert step(made, seen(Mode.HUMAN, -1)) == []
    assert step(made, seen(Mode.HOLD, -1)) == ["ask disarm"]


def test_who_drives_on_after_a_quit_is_stopped() -> None:
    """A switch that is stuck would keep the arm going, and the session."""
    made = begun(attended=True)
    assert step(made, seen(Mode.HUMAN), "quit", now_s=10.0) == ["ask hold", "end aborted"]
    assert step(made, seen(Mode.HOLD, -1, at_rest=False), now_s=10.1) == []
    assert step(made, seen(Mode.HUMAN, -1), now_s=10.9) == []
    assert step(made, seen(Mode.HUMAN, -1), "quit", now_s=11.1) == ["ask stop"]
    assert step(made, seen(Mode.FAULT, -1), now_s=11.5) == [] and made.stage is Stage.OVER


def test_a_stop_takes_back_a_start_that_waits() -> None:
    made = conductor(attended=True)
    assert step(made, seen(Mode.DISARMED, -1), "start", ready=False) == []
    assert step(made, seen(Mode.DISARMED, -1), "stop", ready=False) == ["ask stop"]
    assert step(made, seen(Mode.DISARMED, -1)) == [] and made.stage is Stage.WAITING


@pytest.mark.parametrize("mode", [Mode.DISARMED, Mode.FAULT])
def test_a_stop_before_the_arm_is_armed_begins_nothing(mode: Mode) -> None:
    """Neither arms nor acknowledges; what was asked before it is stopped behind it."""
    made = conductor(attended=True)
    assert step(made, seen(mode, -1), "start") == ["begin"]
    assert step(made, seen(mode), "start", "stop") == ["ask stop", "end discarded"]
    assert step(made, seen(mode, -1)) == [] and made.stage is Stage.WAITING
    assert step(made, seen(mode, -1)) == []


def test_a_stop_ends_a_session_that_nobody_attends() -> None:
    made = conductor()
    assert step(made, seen(Mode.DISARMED, -1), "stop") == ["ask stop"]
    assert step(made, seen(Mode.DISARMED, -1)) == [] and made.stage is Stage.OVER


def driven(episodes: int = 2) -> Conductor:
    return Conductor(episodes, SEED, attended=True, max_steps=50, driven=True)


def test_what_a_person_drives_runs_at_once_at_home() -> None:
    made = driven()
    assert step(made, seen(Mode.DISARMED, -1)) == []  # nobody said start
    assert step(made, seen(Mode.DISARMED, -1), "start") == ["begin"]
    assert step(made, seen(Mode.DISARMED)) == ["ask arm"]
    assert step(made, seen(Mode.READY, at_home=False)) == ["ask home"]
    assert step(made, seen(Mode.HOMING, at_home=False)) == [] and made.stage is Stage.ARMING
    assert step(made, seen(Mode.READY), ready=False) == [] and made.stage is Stage.ARMING
    assert step(made, seen(Mode.READY)) == [] and made.stage is Stage.RUNNING
    for mode in (Mode.READY, Mode.HUMAN, Mode.HOLD, Mode.HUMAN, Mode.HOLD):
        assert step(made, seen(mode), "start") == [] and made.stage is Stage.RUNNING
    assert step(made, seen(Mode.HOLD, steps=51)) == ["end failure"]


def test_who_holds_the_switch_already_waits_for_home_once() -> None:
    made = driven()
    step(made, seen(Mode.DISARMED, -1), "start")
    assert step(made, seen(Mode.HUMAN, at_home=False)) == ["ask hold", "ask home"]
    assert step(made, seen(Mode.HOMING, at_home=False)) == []
    assert step(made, seen(Mode.HUMAN, at_home=False)) == []  # it was at home, and has left already
    assert made.stage is Stage.RUNNING


def test_a_person_drives_until_so_many_episodes_succeeded() -> None:
    made = driven(episodes=1)
    for number, event in enumerate(("failure", "discard", "success")):
        assert step(made, seen(Mode.DISARMED, -1), "start") == ["begin"]
        step(made, seen(Mode.DISARMED, number))
        step(made, seen(Mode.READY, number))
        assert "ask hold" in step(made, seen(Mode.HUMAN, number), event)
        step(made, seen(Mode.DISARMED, -1))
    assert step(made, seen(Mode.DISARMED, -1), "start") == [] and made.stage is Stage.OVER
    assert [each.label for each in made.ended] == ["failure", "discarded", "success"]
    assert (made.successes, made.number) == (1, 3)


def test_a_demonstration_that_was_not_recorded_is_driven_again() -> None:
    made = driven(episodes=1)
    for number in range(2):
        assert step(made, seen(Mode.DISARMED, -1), "start") == ["begin"]
        step(made, seen(Mode.DISARMED, number))
        step(made, seen(Mode.READY, number))
        step(made, seen(Mode.HUMAN, number), "success")
        if number == 0:
            made.lost.add(0)
        step(made, seen(Mode.DISARMED, -1))
    assert step(made, seen(Mode.DISARMED, -1), "start") == [] and made.stage is Stage.OVER
    assert made.successes == 2


def test_a_fault_ends_an_episode_that_a_person_drives_and_the_next_acknowledges_it() -> None:
    made = driven()
    step(made, seen(Mode.DISARMED, -1), "start")
    step(made, seen(Mode.READY))
    assert step(made, seen(Mode.FAULT)) == ["end aborted"]
    step(made, seen(Mode.FAULT, -1))
    assert step(made, seen(Mode.FAULT, -1), "start") == ["begin"]
    assert step(made, seen(Mode.FAULT, 1)) == ["ask acknowledge"]


def test_nobody_drives_unattended() -> None:
    with pytest.raises(ValueError, match="who drives attends"):
        Conductor(1, 0, attended=False, max_steps=5, driven=True)


@pytest.mark.parametrize(
    ("attended", "event", "orders", "over"),
    [
        (True, "quit", [], True),
        (False, "quit", [], True),
        (True, "stop", ["ask stop"], False),
        (False, "stop", ["ask stop"], True),
    ],
)
def test_what_is_said_before_the_arm_says_anything_counts(
    attended: bool, event: str, orders: list[str], over: bool
) -> None:
    made = conductor(attended)
    assert made.wait_for_arm(["start"]) == []
    assert words(made.wait_for_arm([event])) == orders
    assert (made.stage is Stage.OVER) == over and made.ended == []
    if not over:  # it was told to start before it was stopped
        assert step(made, seen(Mode.DISARMED, -1)) == []


def test_a_start_is_remembered_until_the_arm_is_there() -> None:
    made = conductor(attended=True)
    made.wait_for_arm(["start"])
    assert step(made, seen(Mode.DISARMED, -1)) == ["begin"]


@pytest.mark.parametrize(
    ("event", "judged"), [("success", True), ("failure", True), ("discard", False), ("quit", False)]
)
def test_an_episode_in_which_a_person_left_is_not_judged(event: str, judged: bool) -> None:
    made = begun(attended=True)
    step(made, seen(Mode.POLICY), event)
    assert made.ended[0].judged == judged


def test_an_episode_that_the_arm_ended_is_judged() -> None:
    made = begun()
    step(made, seen(Mode.FAULT))
    assert made.ended[0].judged
