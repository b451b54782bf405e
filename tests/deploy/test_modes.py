"""Who may change what an arm does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from robofb.deploy.modes import ARMED, COMMANDING, WAYS, Ask, Mode, Modes


def walk(asks: list[Ask]) -> list[Mode]:
    modes = Modes()
    found = [modes.mode]
    for ask in asks:
        before = modes.mode
        changed = modes.ask(ask, "a test")
        assert changed == (before in WAYS[ask][0])
        assert modes.mode is (WAYS[ask][1] if changed else before)
        found.append(modes.mode)
    return found


def test_an_episode_with_a_takeover_and_a_fault() -> None:
    asks = [Ask.ARM, Ask.HOME, Ask.ARRIVED, Ask.RUN, Ask.TAKE, Ask.RELEASE, Ask.RUN, Ask.STOP, Ask.AT_REST]
    asks += [Ask.ACKNOWLEDGE, Ask.DISARM]
    expected = "disarmed ready homing ready policy human hold policy stopping fault ready disarmed"
    assert [mode.value for mode in walk(asks)] == expected.split()


@given(st.lists(st.sampled_from(Ask), max_size=30))
def test_nothing_leaves_a_fault_but_a_person_or_a_lost_link(asks: list[Ask]) -> None:
    found = walk(asks)
    for ask, before, after in zip(asks, found, found[1:], strict=False):
        if before is Mode.FAULT and after is not Mode.FAULT:
            assert ask in (Ask.ACKNOWLEDGE, Ask.DISARM, Ask.LOSE)
        if before is Mode.STOPPING:  # it can only end in a fault
            assert after in (Mode.STOPPING, Mode.FAULT) or ask is Ask.LOSE
        if before is Mode.DISARMED and after is not before:
            assert ask in (Ask.ARM, Ask.ACKNOWLEDGE)  # a person's
        if before is Mode.HUMAN and after is not before:  # letting go never hands back to the policy
            assert after in (Mode.HOLD, Mode.STOPPING, Mode.FAULT) or ask is Ask.LOSE
        if after is Mode.POLICY and before is not after:
            assert ask is Ask.RUN


def test_whatever_moves_can_be_stopped_and_fail() -> None:
    moving = {Mode.HOMING, Mode.POLICY, Mode.HUMAN}
    assert moving <= ARMED == WAYS[Ask.STOP][0]
    assert {*moving, Mode.STOPPING} <= COMMANDING == WAYS[Ask.FAIL][0]


def test_what_is_not_possible_changes_nothing_and_keeps_its_reason() -> None:
    modes = Modes()
    assert modes.ask(Ask.ARM, "by the person") and not modes.ask(Ask.RELEASE, "no")
    assert (modes.mode, modes.reason) == (Mode.READY, "by the person")
